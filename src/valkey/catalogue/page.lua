#!lua flags=no-writes
-- Reads a page of a topic's stream.
-- KEYS: the stream; the position of the newest message; what was said of the topic.
-- ARGV: 'asc' or 'desc'; the position where the page before ended, '' for none, 'foreign' for one
-- that says nothing here; at most so many messages; at most so many bytes of them, but at least one.
-- Returns the messages kept, whether more stand behind those of the page, the position up to which
-- was looked, then position and stored part of each message; nothing when there is no such topic.
local log, last = KEYS[1], KEYS[2]
local is_ascending, cursor = ARGV[1] == 'asc', ARGV[2]
local count_max, bytes_max = tonumber(ARGV[3]), tonumber(ARGV[4])
-- Expired messages are passed over: in one go so many, or so many bytes of them.
local PASSED_MAX = 1000
local PASSED_BYTES_MAX = bytes_max

local kept = redis.call('XLEN', log)
if kept == 0 and redis.call('EXISTS', KEYS[3]) == 0 then
  return false
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function numbers(position)
  local millis, counter = string.match(position, '^(%d+)%-(%d+)$')
  return tonumber(millis), tonumber(counter)
end

local function is_above_newest(position)
  local entry = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
  local newest = redis.call('GET', last) or entry and entry[1] or '0-0'
  local millis, counter = numbers(position)
  local newest_millis, newest_counter = numbers(newest)
  return millis > newest_millis or (millis == newest_millis and counter > newest_counter)
end

-- A cursor from elsewhere stands at the old end of what is kept.
if cursor == 'foreign' or (cursor ~= '' and is_above_newest(cursor)) then
  if not is_ascending then
    return { kept, 0, '0-0' }
  end
  cursor = ''
end

local page = { kept, 0, '0-0' }
local messages, bytes, passed, passed_bytes = 0, 0, 0, 0

-- How many to ask for: few first, since each may be large, then what those let expect.
local function share()
  local wanted = count_max - messages + 1
  local looked, looked_bytes = messages + passed, bytes + passed_bytes
  if looked == 0 then
    return math.min(wanted, 4)
  end
  local fitting = math.floor((bytes_max - bytes) * looked / math.max(looked_bytes, 1)) + 1
  return math.max(1, math.min(wanted, fitting))
end

-- Whether the page can take more.
local function take(entry)
  local ttl, part = nil, ''
  for at = 1, #entry[2], 2 do
    local field, value = entry[2][at], entry[2][at + 1]
    if field == 't' then
      ttl = tonumber(value)
    elseif field == 'd' then
      part = value
    end
  end
  local stored = numbers(entry[1])
  if ttl and stored + ttl * 1000 <= now then
    passed = passed + 1
    passed_bytes = passed_bytes + #part
  elseif messages > 0 and (messages == count_max or bytes + #part > bytes_max) then
    return false
  else
    messages = messages + 1
    bytes = bytes + #part
    page[#page + 1] = entry[1]
    page[#page + 1] = part
  end
  page[3] = entry[1]
  return passed < PASSED_MAX and passed_bytes < PASSED_BYTES_MAX
end

local command = is_ascending and 'XRANGE' or 'XREVRANGE'
local from = is_ascending and '-' or '+'
local to = is_ascending and '+' or '-'
if cursor ~= '' then
  from = '(' .. cursor
end
while true do
  local asked = share()
  local found = redis.call(command, log, from, to, 'COUNT', asked)
  for _, entry in ipairs(found) do
    if not take(entry) then
      page[2] = 1
      return page
    end
    from = '(' .. entry[1]
  end
  if #found < asked then
    return page
  end
end

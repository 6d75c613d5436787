#!lua flags=no-writes
-- Reads a topic's stream on behind a position.
-- KEYS: the stream; the position of the newest message.
-- ARGV: the position; at most so many messages; at most so many bytes of them, but at least one.
-- Returns the entries (position, predecessor, ttl in seconds or 0, stored part each), whether more
-- stand behind them, the newest position, the time in milliseconds.
local log, last = KEYS[1], KEYS[2]
local behind, count_max, bytes_max = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local entries, bytes = {}, 0

-- How many to ask for: few first, since each may be large, then what those let expect.
local function share()
  local wanted = count_max - #entries + 1
  if #entries == 0 then
    return math.min(wanted, 4)
  end
  local fitting = math.floor((bytes_max - bytes) / (bytes / #entries)) + 1
  return math.max(1, math.min(wanted, fitting, 256))
end

local function read()
  while true do
    local asked = share()
    local found = redis.call('XRANGE', log, '(' .. behind, '+', 'COUNT', asked)
    for _, entry in ipairs(found) do
      local fields = { p = '0-0', t = '0', d = '' }
      for at = 1, #entry[2], 2 do
        fields[entry[2][at]] = entry[2][at + 1]
      end
      local fits = #entries < count_max and bytes + #fields.d <= bytes_max
      if #entries > 0 and not fits then
        return 1
      end
      entries[#entries + 1] = { entry[1], fields.p, fields.t, fields.d }
      bytes = bytes + #fields.d + 1
      behind = entry[1]
    end
    if #found < asked then
      return 0
    end
  end
end

local has_more = read()
local newest = redis.call('GET', last) or behind
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
return { entries, has_more, newest, now }

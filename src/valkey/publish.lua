#!lua
-- Appends messages to a topic's stream and tells the topic's channel of each.
-- KEYS: the stream; the position of the newest message.
-- ARGV: the channel; messages and milliseconds that the stream keeps; milliseconds that the newest
-- position is kept; then of each message its token, its ttl in seconds or 0, its stored part.
-- Returns the positions of the messages.
local log, last = KEYS[1], KEYS[2]
local channel, kept_max, retention, life = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
-- Positions have 22 bits of counter.
local COUNTER_MAX = 4194303

-- The key of the newest position outlives the stream; without either the topic is new.
local newest = redis.call('GET', last)
if not newest then
  local entry = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
  newest = entry and entry[1] or '0-0'
end
local millis, counter = string.match(newest, '^(%d+)%-(%d+)$')
millis, counter = tonumber(millis), tonumber(counter)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local positions = {}
for at = 5, #ARGV, 3 do
  -- Not XADD's own `*`: it knows neither how wide the counter may be nor what stood in a stream
  -- that has expired.
  if now > millis then
    millis, counter = now, 0
  elseif counter < COUNTER_MAX then
    counter = counter + 1
  else
    millis, counter = millis + 1, 0
  end
  local position = string.format('%.0f-%.0f', millis, counter)
  local token, ttl, part = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  -- The first write of all: when there is no memory for it, nothing has happened.
  if ttl == '0' then
    redis.call('XADD', log, 'MAXLEN', '=', kept_max, position, 'p', newest, 'k', token, 'd', part)
  else
    redis.call('XADD', log, 'MAXLEN', '=', kept_max, position, 'p', newest, 'k', token, 't', ttl, 'd', part)
  end
  redis.call('SPUBLISH', channel, 'm ' .. position .. ' ' .. newest .. ' ' .. ttl .. ' ' .. part)
  newest = position
  positions[#positions + 1] = position
end

redis.call('XTRIM', log, 'MINID', '=', string.format('%.0f', math.max(now - retention, 0)))
redis.call('PEXPIRE', log, ARGV[3])
redis.call('SET', last, newest, 'PX', life)
return positions

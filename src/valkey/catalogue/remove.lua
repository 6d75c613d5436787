#!lua flags=allow-oom
-- Removes a topic: its messages, and that it was created. The position of its newest message stays,
-- for those of messages to come are above it.
-- KEYS: the stream; the position of the newest message; what was said of the topic.
-- ARGV: the channel; milliseconds that the newest position is kept.
-- Returns 1, or 0 when there is no such topic.
local log, last, about = KEYS[1], KEYS[2], KEYS[3]
local channel, life = ARGV[1], ARGV[2]
if redis.call('XLEN', log) == 0 and redis.call('EXISTS', about) == 0 then
  return 0
end

local newest = redis.call('GET', last)
if not newest then
  local entry = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
  newest = entry and entry[1]
end
redis.call('UNLINK', log, about)

if newest then
  redis.call('SET', last, newest, 'PX', life)
  redis.call('SPUBLISH', channel, 'r ' .. newest)
end
return 1

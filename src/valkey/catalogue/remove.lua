#!lua flags=allow-oom
-- Removes a topic: its messages, that it was created, its consumers without a member. The position of
-- its newest message stays, for those of messages to come are above it.
-- KEYS: the stream; the position of the newest message; what was said of the topic; the list of all
-- its consumers.
-- ARGV: the channel; milliseconds that the newest position is kept; what the names of the consumers'
-- own keys begin with.
-- Returns 1, or 0 when there is no such topic.
local log, last, about, registry = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local channel, life, prefix = ARGV[1], ARGV[2], ARGV[3]
if redis.call('XLEN', log) == 0 and redis.call('EXISTS', about) == 0 then
  return 0
end

local newest = redis.call('GET', last)
if not newest then
  local entry = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
  newest = entry and entry[1]
end
redis.call('UNLINK', log, about)

-- A member's seat is a lease; the list of those has a member at infinity, which is none.
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
for _, name in ipairs(redis.call('ZRANGE', registry, 0, -1)) do
  local leases = prefix .. 'l:' .. name
  if redis.call('ZCOUNT', leases, '(' .. now, '(+inf') == 0 then
    redis.call('UNLINK', prefix .. 's:' .. name, prefix .. 'o:' .. name, prefix .. 't:' .. name, leases)
    redis.call('ZREM', registry, name)
  end
end

if newest then
  redis.call('SET', last, newest, 'PX', life)
  redis.call('SPUBLISH', channel, 'r ' .. newest)
end
return 1

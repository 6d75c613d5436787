-- Creates a topic, or takes over one that has only come into being by use. The same call may be made
-- again when its answer was lost.
-- KEYS: the stream; the position of the newest message; what was said of the topic.
-- ARGV: the time in microseconds; how the topic is described, if it is.
-- Returns the facts; 'exists' when the topic was created before.
local about = KEYS[3]
local known = redis.call('HMGET', about, 'created_at', 'description')
if known[1] and (known[1] ~= ARGV[1] or known[2] ~= (ARGV[2] or false)) then
  return { 'exists' }
end
redis.call('HSET', about, 'created_at', ARGV[1])
if ARGV[2] then
  redis.call('HSET', about, 'description', ARGV[2])
end
return facts(KEYS[1], KEYS[2], about)

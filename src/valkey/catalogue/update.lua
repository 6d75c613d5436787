-- Describes a topic anew. One that has only come into being by use counts as created from now on.
-- KEYS: the stream; the position of the newest message; what was said of the topic.
-- ARGV: the time in microseconds; how the topic is described, if it is.
-- Returns the facts.
local about = KEYS[3]
local found = facts(KEYS[1], KEYS[2], about)
if found[1] ~= 'topic' then
  return found
end
redis.call('HSETNX', about, 'created_at', ARGV[1])
if ARGV[2] then
  redis.call('HSET', about, 'description', ARGV[2])
else
  redis.call('HDEL', about, 'description')
end
return facts(KEYS[1], KEYS[2], about)

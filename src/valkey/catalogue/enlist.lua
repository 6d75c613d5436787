#!lua
-- Puts names of topics into the list.
-- KEYS: the list; the names by their hashes.
-- ARGV: each name and its hash.
for at = 1, #ARGV, 2 do
  redis.call('ZADD', KEYS[1], 0, ARGV[at])
  redis.call('HSET', KEYS[2], ARGV[at + 1], ARGV[at])
end
return 1

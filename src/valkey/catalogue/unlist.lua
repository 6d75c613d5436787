#!lua flags=allow-oom
-- Takes names of topics out of the list.
-- KEYS: the list; the names by their hashes.
-- ARGV: each name and its hash.
for at = 1, #ARGV, 2 do
  redis.call('ZREM', KEYS[1], ARGV[at])
  redis.call('HDEL', KEYS[2], ARGV[at + 1])
end
return 1

#!lua flags=allow-oom
-- Takes names of topics out of the list.
-- KEYS: the list.
-- ARGV: the names.
for _, name in ipairs(ARGV) do
  redis.call('ZREM', KEYS[1], name)
end
return 1

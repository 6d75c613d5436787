#!lua
-- Puts names of topics into the list.
-- KEYS: the list.
-- ARGV: the names.
for _, name in ipairs(ARGV) do
  redis.call('ZADD', KEYS[1], 0, name)
end
return 1

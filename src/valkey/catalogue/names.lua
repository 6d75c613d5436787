#!lua flags=no-writes
-- Names of topics, in the order of their bytes.
-- KEYS: the list.
-- ARGV: the name behind which to begin, or ''; at most so many.
local from = ARGV[1] == '' and '-' or '(' .. ARGV[1]
return redis.call('ZRANGEBYLEX', KEYS[1], from, '+', 'LIMIT', 0, ARGV[2])

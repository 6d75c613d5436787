#!lua flags=no-writes
-- Names of topics by their hashes.
-- KEYS: the list; the names by their hashes.
-- ARGV: the hashes.
return redis.call('HMGET', KEYS[2], unpack(ARGV))

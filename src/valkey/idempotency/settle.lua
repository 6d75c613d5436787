#!lua
-- Remembers the answer to the first request with a key; without one gives the request up, so that
-- a repeat finishes it at once.
-- KEYS: the record.
-- ARGV: the nonce; milliseconds that the record lives from now on; the status, or ''; the body.
local record = KEYS[1]
if redis.call('HGET', record, 'nonce') ~= ARGV[1] then
  return 0
end
if ARGV[3] == '' then
  redis.call('HSET', record, 'lease', '0')
else
  redis.call('HSET', record, 'status', ARGV[3], 'body', ARGV[4])
  redis.call('PEXPIRE', record, ARGV[2])
end
return 1

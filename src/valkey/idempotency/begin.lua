#!lua
-- Looks for the first request with a key, or makes this one the first.
-- KEYS: the record.
-- ARGV: the request's digest; a nonce; the timestamp of the request; milliseconds that carrying it
-- out may take; milliseconds that a record lives.
-- Returns 'new'; 'other'; 'done', status, body; 'busy'; or 'again', nonce, timestamp, the time of
-- the first attempt in milliseconds: it was never finished, and is this one's to finish.
local record = KEYS[1]
local digest, nonce, timestamp, lease, life = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local until_then = string.format('%.0f', now + lease)

local known = redis.call('HMGET', record, 'digest', 'status', 'body', 'lease', 'nonce', 'timestamp', 'begun')
if not known[1] then
  local begun = string.format('%.0f', now)
  redis.call('HSET', record, 'digest', digest, 'nonce', nonce, 'timestamp', timestamp,
    'lease', until_then, 'begun', begun)
  redis.call('PEXPIRE', record, life)
  return { 'new' }
end
if known[1] ~= digest then
  return { 'other' }
end
if known[2] then
  return { 'done', known[2], known[3] }
end
if tonumber(known[4]) > now then
  return { 'busy' }
end
redis.call('HSET', record, 'lease', until_then)
return { 'again', known[5], known[6], known[7] }

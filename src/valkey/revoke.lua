-- Calls tokens back, on all instances.
-- KEYS: what was called back, by whom; the order in which that was; when it may be forgotten.
-- ARGV: whom; issued until; kept until, both as 8 bytes; the same as a number, or nothing; now; the most there may be.
-- Returns whether there was room.
local terms, order, ends = KEYS[1], KEYS[2], KEYS[3]
local whom, issued, kept, last, now, max = unpack(ARGV)
local over = redis.call('ZRANGEBYSCORE', ends, '-inf', now, 'LIMIT', 0, 100)
if #over > 0 then
    redis.call('HDEL', terms, unpack(over))
    redis.call('ZREM', order, unpack(over))
    redis.call('ZREM', ends, unpack(over))
end
local known = redis.call('HGET', terms, whom)
if known then
    -- Numbers of the same length compare as bytes do.
    if known:sub(1, 8) > issued then
        issued = known:sub(1, 8)
    end
    if known:sub(9, 16) > kept then
        kept, last = known:sub(9, 16), redis.call('ZSCORE', ends, whom) or ''
    end
elseif redis.call('ZCARD', order) >= tonumber(max) then
    return 0
end
redis.call('HSET', terms, whom, issued .. kept)
redis.call('ZADD', order, redis.call('HINCRBY', terms, 'count', 1), whom)
if last == '' then
    redis.call('ZREM', ends, whom)
else
    redis.call('ZADD', ends, last, whom)
end
return 1

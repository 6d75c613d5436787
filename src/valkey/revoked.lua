-- Tells which tokens were called back since the last time.
-- KEYS: what was called back, by whom; the order in which that was.
-- ARGV: how many had been when it was told last; how many are told at once.
-- Returns how many have been told now, and for each 32 bytes: whom; issued until; kept until.
local terms, order = KEYS[1], KEYS[2]
local last, max = tonumber(ARGV[1]), ARGV[2]
local count = tonumber(redis.call('HGET', terms, 'count') or 0)
if count < last then
    -- It is another store than the last time, or has lost something.
    last = 0
end
local told = { last }
if count == last then
    return told
end
local news = redis.call('ZRANGEBYSCORE', order, '(' .. last, '+inf', 'WITHSCORES', 'LIMIT', 0, max)
for at = 1, #news, 2 do
    local term = redis.call('HGET', terms, news[at])
    told[1] = tonumber(news[at + 1])
    told[#told + 1] = news[at] .. (term or '')
end
if #news == 0 then
    -- The latest ones are forgotten already.
    told[1] = count
end
return told

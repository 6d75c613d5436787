-- Tells other instances what clients were charged here, and hears what they were charged there.
-- KEYS: the stream. ARGV: the last entry that was heard of, or nothing; this instance; its charges, or nothing.
-- Returns the last entry now, and the others' charges.
local key, last, me, charges = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local told = { last }
if last == '' then
    -- What was charged in the last minute is still missing from buckets.
    local seconds = redis.call('TIME')[1]
    last = string.format('%.0f-0', (seconds - 60) * 1000)
    told[1] = last
end
for _, entry in ipairs(redis.call('XRANGE', key, '(' .. last, '+')) do
    told[1] = entry[1]
    if entry[2][1] ~= me then
        told[#told + 1] = entry[2][2]
    end
end
if charges ~= '' then
    told[1] = redis.call('XADD', key, 'MAXLEN', '~', 1000, '*', me, charges)
    redis.call('EXPIRE', key, 120)
end
return told

-- Seats a member at a consumer, which is made if it is not there.
-- KEYS: 1 stream, 2 last position, 3 all consumers of the topic, 4 groups of the client, 5.. the
-- consumer. ARGV: 4 lease, 5 retention, 6 most consumers of the topic, 7 most members of a group,
-- 8 name of the consumer, 9 reset, 10 start, 11.. the member.
local lease, retention = tonumber(ARGV[4]), tonumber(ARGV[5])
local name, is_group = ARGV[8], string.sub(ARGV[8], 1, 1) == 'g'
local it, member = consumer_at(5), member_at(11)
local newest = newest_of(KEYS[2])
local lost = lost_of(KEYS[1], newest)
local is_there = call('EXISTS', it.state) == 1

local function start()
  if ARGV[10] == 'last' then
    return newest
  elseif ARGV[10] == 'earliest' then
    return lost
  end
  local time = string.match(ARGV[10], '^since (.*)$')
  local place = padded(time or ARGV[10])
  if place > newest then
    -- Nothing is behind a time to come. A position that never was is of an epoch that is over: then
    -- everything kept is wanted.
    return time and newest or lost
  end
  return place < lost and lost or place
end

local function begin()
  call('HSET', it.state, 'place', start(), 'by', member.seat)
  for _, key in ipairs({ it.timers, it.leases }) do
    call('ZADD', key, '+inf', '')
  end
  call('ZADD', it.order, 0, '')
end

if is_there then
  end_leases(it)
  if is_group and call('ZCARD', it.leases) > tonumber(ARGV[7])
    and call('HEXISTS', it.state, 's' .. member.seat) == 0 then
    return { 'members' }
  end
else
  call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
  if call('ZCARD', KEYS[3]) >= tonumber(ARGV[6]) then
    return { 'consumers' }
  end
end

-- A call that is made again, since its reply was lost, finds what it made itself.
local is_own = is_there and call('HGET', it.state, 'by') == member.seat
local resumed = is_there and not is_own and ARGV[9] == '0'
if not is_there then
  begin()
elseif ARGV[9] == '1' and not is_own then
  -- Forgets what is pending, for all members; their seats stay.
  local members = call('ZRANGE', it.order, '[a', '(b', 'BYLEX')
  for first = 1, #members, CHUNK do
    for index = first, math.min(first + CHUNK - 1, #members) do
      local position = string.sub(members[index], 2)
      change(it, position, entry_at(it, position), nil)
    end
    write(it)
  end
  save(it)
  begin()
  tell_all()
end

local place = call('HGET', it.state, 'place')
local lowest = call('ZRANGE', it.order, '[a', '[a' .. lost, 'BYLEX', 'LIMIT', 0, 1)[1]
local misses = resumed and (place < lost or lowest)
local key, replaced
if is_group then
  key = free_holder(it, member.client, member.seat)
  call('ZADD', KEYS[4], now, string.sub(name, 3))
  call('ZREMRANGEBYRANK', KEYS[4], 0, -17)
  call('PEXPIRE', KEYS[4], retention + lease + 60000)
else
  key = keys_of(it, member.client)[1]
  local before = key and holder(it, key).seat or ''
  if before ~= '' and before ~= member.seat then
    replaced = before
    give_back(it, key)
    tell_seat(before)
  end
  call('HSET', it.state, 'seat', member.seat)
end
sit(it, key, member, lease)
save(it)
keep(it, retention + lease + 60000, KEYS[3], name)
return {
  'ok', resumed and 1 or 0, misses and 1 or 0, plain(place), plain(lost), plain(newest),
  tonumber(call('HGET', it.state, 'serial') or 0), replaced or '', heard,
}

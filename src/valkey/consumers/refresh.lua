-- Renews the leases of seats, and says which of them have none any more, and how many messages are
-- pending for each.
-- KEYS: 1 all consumers of the topic, then five for each seat: groups of the client, the consumer.
-- ARGV: 4 lease, 5 retention, then two for each seat: name of the consumer, the seat.
local lease, retention = tonumber(ARGV[4]), tonumber(ARGV[5])
local long = retention + lease + 60000
local lost, pending, seen = {}, {}, {}
for index = 0, (#KEYS - 1) / 5 - 1 do
  local groups, it = KEYS[2 + 5 * index], consumer_at(3 + 5 * index)
  local name, seat = ARGV[6 + 2 * index], ARGV[7 + 2 * index]
  if call('ZSCORE', it.leases, seat) then
    call('ZADD', it.leases, 'XX', now + lease, seat)
    -- Not each time: all of this is written to replicas and to disk.
    if call('PTTL', it.state) < retention + 2 * lease then
      keep(it, long, KEYS[1], name)
    end
    if string.sub(name, 1, 1) == 'g' and call('PTTL', groups) < retention + 2 * lease then
      call('PEXPIRE', groups, long)
    end
    seen[name] = it
    push(pending, holder(it, call('HGET', it.state, 's' .. seat)).count)
  else
    push(lost, index)
    push(pending, 0)
  end
end
-- What others held whose instance has gone is for those that are left.
for _, it in pairs(seen) do
  if #call('ZRANGE', it.leases, '-inf', now, 'BYSCORE', 'LIMIT', 0, 1) > 0 then
    tell(it)
  end
end
return { 'ok', lost, heard, pending }

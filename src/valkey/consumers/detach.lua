-- A member goes: what it held is due at once.
-- KEYS: 1 last position, 2 all consumers of the topic, 3.. the consumer. ARGV: 4 retention, 5 name
-- of the consumer, 6 the seat.
local it, seat = consumer_at(3), ARGV[6]
if call('HEXISTS', it.state, 's' .. seat) == 1 then
  stand_up(it, seat)
  if call('HGET', it.state, 'seat') == seat then
    call('HDEL', it.state, 'seat')
  end
  if call('ZCARD', it.leases) == 1 then
    keep(it, tonumber(ARGV[4]), KEYS[2], ARGV[5])
  elseif next_due(it) or has_something(it, newest_of(KEYS[1])) then
    -- Also when the next time of something pending was known to the one alone that went.
    tell(it)
  end
end
return { 'ok', heard }

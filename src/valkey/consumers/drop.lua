-- Drops the consumers of a topic that have no members, some hundreds at a time, since the topic is
-- deleted. Which they are is known only here, so their keys are not declared; they are in the slot
-- of the topic as all others are.
-- KEYS: 1 all consumers of the topic. ARGV: 4 beginning of the names of all keys of consumers, 5 how
-- many of those that stay were looked at already.
local skip, most = tonumber(ARGV[5]), 200
local names = call('ZRANGE', KEYS[1], skip, skip + most - 1)
for _, name in ipairs(names) do
  local keys = {}
  for _, part in ipairs({ 's:', 'o:', 't:', 'l:' }) do
    push(keys, ARGV[4] .. part .. name)
  end
  if call('ZCOUNT', keys[4], '(' .. string.format('%.0f', now), '(+inf') == 0 then
    call('UNLINK', unpack(keys))
    call('ZREM', KEYS[1], name)
  else
    skip = skip + 1
  end
end
return { 'ok', #names == most and skip or -1 }

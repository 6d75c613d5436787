-- Dead messages have been taken care of.
-- KEYS: 1 last position, 2.. the consumer. ARGV: 4.. the positions.
local it, newest = consumer_at(2), newest_of(KEYS[1])
for index = 4, #ARGV do
  local position = padded(ARGV[index])
  local entry = entry_at(it, position)
  if entry and entry.state == 'B' then
    finish(it, position, entry, newest)
    write(it)
  end
end
save(it)
return { 'ok', heard }

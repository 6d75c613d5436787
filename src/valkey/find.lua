#!lua flags=no-writes
-- Looks for messages that may have been stored when an answer was lost.
-- KEYS: the stream.
-- ARGV: the time in milliseconds from which on to look; the messages' tokens.
-- Returns the position of each, '' for one that is not there.
local positions, at_token, missing = {}, {}, 0
for at = 2, #ARGV do
  positions[at - 1] = ''
  at_token[ARGV[at]] = at - 1
  missing = missing + 1
end

-- From the newest back: what was sent just now stands there.
local to = '+'
while missing > 0 do
  local found = redis.call('XREVRANGE', KEYS[1], to, ARGV[1], 'COUNT', 256)
  for _, entry in ipairs(found) do
    local fields = entry[2]
    for at = 1, #fields, 2 do
      local place = fields[at] == 'k' and at_token[fields[at + 1]]
      if place and positions[place] == '' then
        positions[place] = entry[1]
        missing = missing - 1
      end
    end
    to = '(' .. entry[1]
  end
  if #found < 256 then
    break
  end
end
return positions

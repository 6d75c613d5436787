-- What is known of a topic: 'topic' with messages, bytes that they cost, messages that trimming has
-- taken, oldest and newest position, when it was created, how it is described. 'idle' when there is
-- no such topic, but its last position is known still; 'gone' when nothing is. A message counts until
-- it is trimmed, also when its ttl is over: to know that takes reading all of them.
local function facts(log, last, about)
  local told = redis.call('HMGET', about, 'created_at', 'description')
  local count = redis.call('XLEN', log)
  if count == 0 and not told[1] then
    return { redis.call('EXISTS', last) == 1 and 'idle' or 'gone' }
  end
  if count == 0 then
    return { 'topic', 0, 0, 0, '', '', told[1], told[2] }
  end
  local info, listed = {}, redis.call('XINFO', 'STREAM', log)
  for at = 1, #listed, 2 do
    info[listed[at]] = listed[at + 1]
  end
  local bytes = redis.call('MEMORY', 'USAGE', log)
  local trimmed = info['entries-added'] - count
  return { 'topic', count, bytes, trimmed, info['first-entry'][1], info['last-entry'][1], told[1], told[2] }
end


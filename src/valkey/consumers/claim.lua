-- Hands out to a member what is due again, the lowest first, then what is new.
-- KEYS: 1 stream, 2 last position, 3.. the consumer. ARGV: 4 lease, 5 name of the consumer, 6 most
-- messages, 7 most bytes, 8 serial of the last claim whose reply came, 9.. the member.
local lease, confirmed = tonumber(ARGV[4]), tonumber(ARGV[8])
local messages_max, bytes_left = tonumber(ARGV[6]), tonumber(ARGV[7])
local is_group = string.sub(ARGV[5], 1, 1) == 'g'
local it, member = consumer_at(3), member_at(9)

local known = call('HMGET', it.state, 'place', 'serial', 'seat', 's' .. member.seat)
local place, key = known[1], known[4]
if not place then
  return { 'gone' }
end
if not is_group and known[3] ~= member.seat then
  return { 'lost' }
end
local serial = tonumber(known[2] or 0) + 1
if key then
  call('ZADD', it.leases, now + lease, member.seat)
end
end_leases(it)
if not key then
  -- Its lease had ended, and nobody has taken the seat since.
  key = sit(it, free_holder(it, member.client, member.seat), member, lease)
end
local own = holder(it, key)
local newest = newest_of(KEYS[2])
local lost = lost_of(KEYS[1], newest)
local gaps, handed, dead, taken = {}, {}, {}, 0

-- What lies behind `from`, up to `to`, is lost; what follows right behind the last is one with it.
local function note(from, to)
  local last = gaps[#gaps]
  if last and last[2] == from then
    last[2] = to
  else
    push(gaps, { from, to })
  end
end

-- What was handed out by a claim whose reply never came was not delivered.
local function take_back()
  if own.serial <= confirmed then
    return
  end
  each_held(it, key, nil, function(position, record)
    local entry = parse(record)
    if entry.serial > confirmed and entry.state ~= 'R' and entry.state ~= 'D' then
      local attempts = entry.attempts - (entry.state == 'B' and 0 or 1)
      change(it, position, entry, with(entry, { state = 'R', attempts = attempts }))
    end
  end)
  write(it)
  gaps, own.gaps = own.gaps, {}
  own.serial, own.changed = confirmed, true
end

-- What the stream has dropped is not owed any more. Returns whether there may be more of it.
local function forget_lost()
  local members = call('ZRANGE', it.order, '[a', '[a' .. lost, 'BYLEX', 'LIMIT', 0, CHUNK)
  for _, found in ipairs(members) do
    local position = string.sub(found, 2)
    local entry = entry_at(it, position)
    change(it, position, entry, nil)
    if entry.expires > now then
      note(entry.before, position)
    end
  end
  write(it)
  if #members == CHUNK then
    return true
  end
  if place < lost then
    note(place, lost)
    place = lost
  end
  return false
end

local function ripen()
  local ripe = call('ZRANGE', it.timers, '-inf', now, 'BYSCORE', 'LIMIT', 0, CHUNK)
  for _, position in ipairs(ripe) do
    local entry = entry_at(it, position)
    change(it, position, entry, with(entry, { state = 'R' }))
  end
  write(it)
end

local function has_room()
  return own.out < own.window
end

-- The first has room always.
local function takes(found)
  if taken > 0 and (taken >= messages_max or #found.part > bytes_left) then
    return false
  end
  taken = taken + 1
  bytes_left = bytes_left - #found.part
  return true
end

local function hold(found)
  local state = own.poll == 1 and 'P' or 'H'
  return state, math.min(now + own.timeout, found.expires)
end

local function hand_again(found, entry)
  local is_dead = own.deliveries > 0 and entry.attempts >= own.deliveries
  local attempts = entry.attempts + (is_dead and 0 or 1)
  local state, due = hold(found)
  if is_dead then
    state, due = 'B', math.min(now + 1000, found.expires)
  end
  change(it, found.position, entry, with(entry, {
    holder = key, attempts = attempts, state = state, due = due, serial = serial,
  }))
  push(is_dead and dead or handed, { plain(found.position), attempts, found.ttl, found.part })
end

-- Returns whether the batch was full before everything was in it.
local function hand_out_due()
  while has_room() do
    local due = call('ZRANGE', it.order, '[d', '(e', 'BYLEX', 'LIMIT', 0, 32)
    if #due == 0 then
      return false
    end
    for _, text in ipairs(due) do
      local position = string.sub(text, 2)
      if not has_room() then
        break
      end
      local entry, id = entry_at(it, position), plain(position)
      local found = call('XRANGE', KEYS[1], id, id)[1]
      found = found and message(found)
      if not found or found.expires <= now then
        change(it, position, entry, nil)
      elseif not takes(found) then
        write(it)
        return true
      else
        hand_again(found, entry)
      end
    end
    write(it)
  end
  return false
end

-- Returns whether there is more that it did not take. Looks at no more than twice a chunk of what
-- has expired.
local function hand_out_new()
  local looked, count = 0, 1
  while has_room() and place < newest do
    local found = call('XRANGE', KEYS[1], '(' .. plain(place), '+', 'COUNT', count)
    for _, raw in ipairs(found) do
      local one = message(raw)
      if one.expires > now then
        if not has_room() then
          return false
        elseif not takes(one) then
          return true
        end
        local state, due = hold(one)
        change(it, one.position, nil, {
          holder = key, attempts = 1, state = state, due = due, expires = one.expires,
          serial = serial, before = one.before,
        })
        push(handed, { plain(one.position), 1, one.ttl, one.part })
      end
      place = one.position
    end
    if #found < count then
      place = newest
      return false
    end
    looked, count = looked + #found, math.min(count * 2, 32)
    if looked > messages_max + 2 * CHUNK then
      return true
    end
  end
  return false
end

take_back()
local before = place
local more = forget_lost()
if not more then
  ripen()
  more = hand_out_due()
  if not more and not first_due(it) then
    more = hand_out_new()
  end
end
if place ~= before then
  call('HSET', it.state, 'place', place)
end
if #handed + #dead + #gaps > 0 then
  call('HSET', it.state, 'serial', serial)
  own.serial, own.gaps, own.changed = serial, gaps, true
else
  serial = confirmed
end
more = more or (#dead > 0 and has_something(it, newest))
local due = next_due(it)
save(it)
local told = {}
for _, gap in ipairs(gaps) do
  push(told, { plain(gap[1]), plain(gap[2]) })
end
return {
  'ok', more and 1 or 0, due and math.max(0, due - now) or -1, serial, plain(place), handed, dead,
  told, now,
}

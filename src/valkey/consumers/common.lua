-- What each script on consumers begins with. A consumer has four keys, which live and die together:
--
--   state   hash: `place`, up to where messages were handed out; `p<position>` a pending message;
--           `h<key>` a holder; `s<seat>` the key of its holder; `c<client>` the keys of its holders;
--           `keys`, `serial` counters; `seat` the last one at a client's own consumer; `by` the seat
--           that made or reset it
--   order   sorted by text: `a<position>` all that is pending, `d<position>` what is due,
--           `h<key>:<position>` what is pending for a holder
--   timers  position of what waits for a time, by that time
--   leases  seat, by the end of its lease
--
-- The three sorted sets have a member without a name each, so that none of them is ever absent.
-- Within scripts a position is its 22 digits, which sort like it. Times are milliseconds.
--
-- ARGV: 1 the time, or nothing for that of the server; 2 the channel of the topic; 3 the instance
-- that asks, with which the names of its seats begin.
local call = redis.call
local NEVER = 9007199254740991
local CHUNK = 1000
local ZERO = string.rep('0', 22)

local now = tonumber(ARGV[1])
if not now then
  local time = call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

local function push(list, item)
  list[#list + 1] = item
end

local function padded(id)
  local millis, counter = string.match(id or '', '^(%d+)-(%d+)$')
  return millis and string.format('%015.0f%07.0f', millis, counter) or ZERO
end

local function plain(position)
  return string.format('%.0f-%.0f', string.sub(position, 1, 15), string.sub(position, 16))
end

-- Changes are gathered, and written at once: reading a sorted set wants `write` before.
local function consumer(state, order, timers, leases)
  return {
    state = state, order = order, timers = timers, leases = leases,
    holders = {}, entries = {}, hset = {}, hdel = {},
    order_in = {}, order_out = {}, timers_in = {}, timers_out = {},
  }
end

local function consumer_at(index)
  return consumer(KEYS[index], KEYS[index + 1], KEYS[index + 2], KEYS[index + 3])
end

local function flush(command, key, items)
  for first = 1, #items, CHUNK do
    call(command, key, unpack(items, first, math.min(first + CHUNK - 1, #items)))
  end
end

local function write(it)
  flush('ZREM', it.order, it.order_out)
  flush('ZADD', it.order, it.order_in)
  flush('ZREM', it.timers, it.timers_out)
  flush('ZADD', it.timers, it.timers_in)
  flush('HDEL', it.state, it.hdel)
  flush('HSET', it.state, it.hset)
  it.order_out, it.order_in, it.timers_out, it.timers_in = {}, {}, {}, {}
  it.hdel, it.hset = {}, {}
end

local function holder(it, key)
  local found = it.holders[key]
  if not found then
    local record = cmsgpack.unpack(call('HGET', it.state, 'h' .. key))
    found = {
      client = record[1], seat = record[2], poll = record[3], timeout = record[4],
      window = record[5], deliveries = record[6], out = record[7], count = record[8],
      serial = record[9], gaps = record[10],
    }
    it.holders[key] = found
  end
  return found
end

local function keys_of(it, client)
  local keys = {}
  for key in string.gmatch(call('HGET', it.state, 'c' .. client) or '', '%d+') do
    push(keys, key)
  end
  return keys
end

-- One without a seat and without anything pending is dropped.
local function drop_holder(it, key, client)
  local left = {}
  for _, other in ipairs(keys_of(it, client)) do
    if other ~= key then
      push(left, other)
    end
  end
  call('HDEL', it.state, 'h' .. key)
  if #left == 0 then
    call('HDEL', it.state, 'c' .. client)
  else
    call('HSET', it.state, 'c' .. client, table.concat(left, ' '))
  end
end

-- Writes all that has changed.
local function save(it)
  write(it)
  for key, one in pairs(it.holders) do
    if one.seat == '' and one.count == 0 then
      drop_holder(it, key, one.client)
    elseif one.changed then
      call('HSET', it.state, 'h' .. key, cmsgpack.pack({
        one.client, one.seat, one.poll, one.timeout, one.window, one.deliveries, one.out,
        one.count, one.serial, one.gaps,
      }))
    end
  end
  it.holders = {}
end

local function parse(record)
  if not record then
    return false
  end
  local key, attempts, state, due, expires, serial, before =
    string.match(record, '^(%d+) (%d+) (%a) (%d+) (%d+) (%d+) (%d+)$')
  return {
    holder = key, attempts = tonumber(attempts), state = state, due = tonumber(due),
    expires = tonumber(expires), serial = tonumber(serial), before = before,
  }
end

-- What is pending at a position: its state is H(eld), P (held by a poll), D(elayed), B (waits for
-- its burial) or R(eady).
local function entry_at(it, position)
  local entry = it.entries[position]
  if entry == nil then
    entry = parse(call('HGET', it.state, 'p' .. position))
    it.entries[position] = entry
  end
  return entry
end

local function with(entry, changes)
  local copy = {}
  for name, value in pairs(entry) do
    copy[name] = value
  end
  for name, value in pairs(changes) do
    copy[name] = value
  end
  return copy
end

local function leave_lists(it, position, from, to)
  local one = holder(it, from.holder)
  one.changed = true
  one.count = one.count - 1
  if from.state ~= 'R' then
    one.out = one.out - 1
  end
  if from.state == 'R' then
    push(it.order_out, 'd' .. position)
  elseif not to or to.state == 'R' then
    push(it.timers_out, position)
  end
  if not to or to.holder ~= from.holder then
    push(it.order_out, 'h' .. from.holder .. ':' .. position)
  end
end

local function join_lists(it, position, from, to)
  local one = holder(it, to.holder)
  one.changed = true
  one.count = one.count + 1
  if to.state ~= 'R' then
    one.out = one.out + 1
  end
  local function order(member)
    push(it.order_in, 0)
    push(it.order_in, member)
  end
  if not from then
    order('a' .. position)
  end
  if not from or from.holder ~= to.holder then
    order('h' .. to.holder .. ':' .. position)
  end
  if to.state == 'R' then
    order('d' .. position)
  else
    push(it.timers_in, string.format('%.0f', to.due))
    push(it.timers_in, position)
  end
end

-- Changes what is pending at a position. No position changes twice between two `write`s.
local function change(it, position, from, to)
  if from then
    leave_lists(it, position, from, to)
  end
  if to then
    join_lists(it, position, from, to)
    push(it.hset, 'p' .. position)
    push(it.hset, string.format('%s %d %s %.0f %.0f %.0f %s', to.holder, to.attempts, to.state,
      to.due, to.expires, to.serial, to.before))
  else
    push(it.order_out, 'a' .. position)
    push(it.hdel, 'p' .. position)
  end
  it.entries[position] = to or false
end

-- Calls `work(position, record)` for all that is pending for a holder, up to a position if one is
-- given. As much as the window of one member: the price of a member that goes.
local function each_held(it, key, up_to, work)
  write(it)
  local last = up_to and ('[h' .. key .. ':' .. up_to) or ('(h' .. key .. ';')
  local members = call('ZRANGE', it.order, '[h' .. key .. ':', last, 'BYLEX')
  for first = 1, #members, CHUNK do
    local fields, positions = {}, {}
    for index = first, math.min(first + CHUNK - 1, #members) do
      push(positions, string.sub(members[index], -22))
      push(fields, 'p' .. positions[#positions])
    end
    local records = call('HMGET', it.state, unpack(fields))
    for index, position in ipairs(positions) do
      work(position, records[index])
    end
  end
end

-- What a connection was given is due at once when it goes; what it has put off, or what a poll was
-- given, is not. Returns how many that were. This may be much at once, so it does not take records
-- apart as `change` does.
local function give_back(it, key)
  local given = 0
  each_held(it, key, nil, function(position, record)
    if string.find(record, ' H ', 1, true) then
      push(it.hset, 'p' .. position)
      push(it.hset, (string.gsub(record, ' H ', ' R ', 1)))
      push(it.order_in, 0)
      push(it.order_in, 'd' .. position)
      push(it.timers_out, position)
      it.entries[position] = nil
      given = given + 1
    end
  end)
  write(it)
  local one = holder(it, key)
  one.out, one.changed = one.out - given, true
  return given
end

local function stand_up(it, seat)
  local key = call('HGET', it.state, 's' .. seat)
  call('ZREM', it.leases, seat)
  if not key then
    return 0
  end
  local given = give_back(it, key)
  local one = holder(it, key)
  one.seat, one.changed = '', true
  call('HDEL', it.state, 's' .. seat)
  save(it)
  return given
end

-- Who has not renewed a lease has gone. Several at once, unless they hold much.
local function end_leases(it)
  local given = 0
  while given < CHUNK do
    local seats = call('ZRANGE', it.leases, '-inf', now, 'BYSCORE', 'LIMIT', 0, 1)
    if #seats == 0 then
      return
    end
    given = given + stand_up(it, seats[1]) + 1
  end
end

-- Seats a member at the place of a holder, or at one of its own.
local function sit(it, key, member, lease)
  if not key then
    key = string.format('%d', call('HINCRBY', it.state, 'keys', 1))
    it.holders[key] = {
      client = member.client, seat = '', out = 0, count = 0, serial = 0, gaps = {},
    }
    local keys = keys_of(it, member.client)
    push(keys, key)
    call('HSET', it.state, 'c' .. member.client, table.concat(keys, ' '))
  end
  local one = holder(it, key)
  if one.seat ~= '' and one.seat ~= member.seat then
    call('HDEL', it.state, 's' .. one.seat)
    call('ZREM', it.leases, one.seat)
  end
  one.seat, one.poll, one.changed = member.seat, member.poll, true
  one.timeout, one.window, one.deliveries = member.timeout, member.window, member.deliveries
  call('HSET', it.state, 's' .. member.seat, key)
  call('ZADD', it.leases, now + lease, member.seat)
  return key
end

-- A holder of this client that nobody else sits at: what is pending for it is its own again.
local function free_holder(it, client, seat)
  for _, key in ipairs(keys_of(it, client)) do
    local one = holder(it, key)
    if one.seat == '' or one.seat == seat then
      return key
    end
  end
end

-- The member that ARGV describes from here on.
local function member_at(index)
  return {
    client = ARGV[index], seat = ARGV[index + 1], poll = tonumber(ARGV[index + 2]),
    timeout = tonumber(ARGV[index + 3]), window = tonumber(ARGV[index + 4]),
    deliveries = tonumber(ARGV[index + 5]),
  }
end

local function first_due(it)
  write(it)
  local found = call('ZRANGE', it.order, '[d', '(e', 'BYLEX', 'LIMIT', 0, 1)[1]
  return found and string.sub(found, 2)
end

-- When the next time comes; nothing for never.
local function next_due(it)
  write(it)
  local first = call('ZRANGE', it.timers, 0, 0, 'WITHSCORES')
  if first[1] and first[1] ~= '' then
    return tonumber(first[2])
  end
end

local function has_something(it, newest)
  return first_due(it) or call('HGET', it.state, 'place') < newest
end

-- Who is told: seats of the instance that asks by its reply, others by the channel of the topic.
local heard, is_published = {}, false

local function tell_all()
  if not is_published then
    is_published = true
    call('SPUBLISH', ARGV[2], 'w')
  end
end

local function is_ours(seat)
  return string.sub(seat, 1, #ARGV[3]) == ARGV[3]
end

local function tell_seat(seat)
  if is_ours(seat) then
    push(heard, seat)
  else
    tell_all()
  end
end

-- Tells all members. A few of our own need no message.
local function tell(it)
  local seats = call('ZRANGE', it.leases, 0, 8)
  local ours = {}
  for _, seat in ipairs(seats) do
    if seat ~= '' then
      if #seats == 9 or not is_ours(seat) then
        return tell_all()
      end
      push(ours, seat)
    end
  end
  for _, seat in ipairs(ours) do
    push(heard, seat)
  end
end

-- Takes something out of the window of its holder, and tells that one if there is room only now.
local function finish(it, position, entry, newest)
  local one = holder(it, entry.holder)
  local was_full = one.out >= one.window
  change(it, position, entry, nil)
  if was_full and one.out < one.window and one.seat ~= '' and has_something(it, newest) then
    tell_seat(one.seat)
  end
end

-- Keeps a consumer for so long from now, also in the list of all of the topic.
local function keep(it, span, registry, name)
  for _, key in ipairs({ it.state, it.order, it.timers, it.leases }) do
    call('PEXPIRE', key, span)
  end
  call('ZADD', registry, now + span, name)
  if call('PTTL', registry) < span then
    call('PEXPIRE', registry, span)
  end
end

-- A message of the stream, as XRANGE gives it.
local function message(entry)
  local it = { position = padded(entry[1]), before = ZERO, ttl = '', part = '', expires = NEVER }
  local fields = entry[2]
  for index = 1, #fields, 2 do
    local name, value = fields[index], fields[index + 1]
    if name == 'p' then
      it.before = padded(value)
    elseif name == 't' then
      it.ttl = value
    elseif name == 'd' then
      it.part = value
    end
  end
  local ttl = tonumber(it.ttl)
  if ttl then
    it.expires = math.min(NEVER, string.sub(it.position, 1, 15) + ttl * 1000)
  end
  return it
end

local function newest_of(last)
  return padded(call('GET', last) or '0-0')
end

-- All messages up to here are gone from the stream.
local function lost_of(log, newest)
  local first = call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
  return first and message(first).before or newest
end

-- Settles what is pending for a client: at the consumers given, in their order, else at any group
-- that it is, or was, a member of.
-- KEYS: 1 stream, 2 last position, 3 groups of the client, 4.. the consumers. ARGV: 4 how: `a`
-- acknowledge, `u` acknowledge up to, `n` nack; 5 delay of a nack; 6 the client; 7 beginning of the
-- names of all keys of consumers; 8 how many consumers, 9.. their names, then the positions.
local how, delay, client = ARGV[4], tonumber(ARGV[5]), ARGV[6]
local named = tonumber(ARGV[8])
local newest = newest_of(KEYS[2])
local consumers, names, groups = {}, {}, nil

local function add(list, name, it)
  names[name] = true
  if call('EXISTS', it.state) == 1 then
    push(list, { it = it, name = name })
    return true
  end
end

for index = 1, named do
  add(consumers, ARGV[8 + index], consumer_at(4 * index))
end

-- The groups of the client. Which they are is known only here, so their keys are not declared; they
-- are in the slot of the topic as all others are.
local function groups_of_client()
  if groups then
    return groups
  end
  groups = {}
  for _, group in ipairs(call('ZRANGE', KEYS[3], 0, -1)) do
    local name, base = 'g:' .. group, ARGV[7]
    if not names[name] then
      local it = consumer(base .. 's:' .. name, base .. 'o:' .. name, base .. 't:' .. name,
        base .. 'l:' .. name)
      if not add(groups, name, it) then
        call('ZREM', KEYS[3], group)
      end
    end
  end
  return groups
end

local function acknowledge_up_to(it, position)
  local count = 0
  for _, key in ipairs(keys_of(it, client)) do
    each_held(it, key, position, function(held, record)
      finish(it, held, parse(record), newest)
      count = count + 1
    end)
  end
  write(it)
  return count
end

local function nack(it, position, entry)
  if entry.state == 'B' then
    -- It is not delivered again, whatever its holder wants.
    return
  end
  local due = math.min(now + delay, entry.expires)
  -- What was due and is put off, or the other way, leaves one list and joins another.
  change(it, position, entry, with(entry, { due = due, state = delay == 0 and 'R' or 'D' }))
  write(it)
  if delay == 0 or due == next_due(it) then
    tell(it)
  end
end

-- Returns how many messages that settled.
local function settle(it, position)
  if how == 'u' then
    return acknowledge_up_to(it, position)
  end
  local entry = entry_at(it, position)
  if not entry or holder(it, entry.holder).client ~= client then
    return 0
  elseif how == 'n' then
    nack(it, position, entry)
  else
    finish(it, position, entry, newest)
  end
  write(it)
  return 1
end

local function is_kept(position)
  local id = plain(position)
  local found = call('XRANGE', KEYS[1], id, id)[1]
  return found and message(found).expires > now
end

-- A number: so many are done; 0 not pending, -1 reassigned, -2 unknown.
local function refusal(position)
  local is_known = false
  for _, list in ipairs({ consumers, groups_of_client() }) do
    for _, one in ipairs(list) do
      is_known = true
      if string.sub(one.name, 1, 1) == 'g' and entry_at(one.it, position) then
        return -1
      end
    end
  end
  if is_known then
    return 0
  elseif not is_kept(position) then
    return -2
  end
  return how == 'n' and 0 or 1
end

local function outcome(position)
  if position > newest then
    return -2
  end
  for _, one in ipairs(consumers) do
    local count = settle(one.it, position)
    if count > 0 then
      return count
    end
  end
  for _, one in ipairs(groups_of_client()) do
    local count = settle(one.it, position)
    if count > 0 then
      return count
    end
  end
  return refusal(position)
end

local outcomes = {}
for index = 9 + named, #ARGV do
  push(outcomes, outcome(padded(ARGV[index])))
end
for _, list in ipairs({ consumers, groups or {} }) do
  for _, one in ipairs(list) do
    save(one.it)
  end
end
return { 'ok', outcomes, heard }

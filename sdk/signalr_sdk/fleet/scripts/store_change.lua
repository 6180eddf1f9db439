-- Changes entries of an outbox. KEYS: totals, waiting, dead, entries, states, ids, keys, sink, then for each change the
-- key under which an id is remembered. ARGV: the token of the deliverer ('' for changes that anybody may make), then for
-- each change its kind, a position or an id, and a value:
--   delivered POSITION SECONDS   removes; the id is remembered for so many seconds (0: not at all)
--   expired POSITION ''          removes
--   update POSITION STATE        keeps the state of a failed entry
--   died POSITION STATE          the same, and the entry is dead from now on
--   retry ID ''                  lets a dead entry wait again, at the end
--   drop ID ''                   removes
--   retry_dead '' COUNT          the same for up to so many dead entries
--   drop_dead '' COUNT
-- Returns how many entries each change has changed; or -1 if another deliverer has taken over.
if ARGV[1] ~= '' and redis.call('GET', KEYS[8]) ~= ARGV[1] then
  return -1
end

-- A script whose first write needs memory is refused by a Redis without memory. So deletions come first everywhere.
local function count(name, by)
  redis.call('HINCRBY', KEYS[1], name, string.format('%.0f', by))
end

local function member(value, position)
  return string.sub(value, 1, 32) .. string.format('%016.0f', tonumber(position))
end

local function id_of(value)
  return string.sub(value, 79, 78 + tonumber(string.sub(value, 75, 78)))
end

local function remove(set, name, position)
  if redis.call('ZREM', set, position) == 0 then
    return nil
  end
  local value = redis.call('HGET', KEYS[4], position)
  redis.call('HDEL', KEYS[4], position)
  redis.call('HDEL', KEYS[5], position)
  redis.call('HDEL', KEYS[6], id_of(value))
  redis.call('ZREM', KEYS[7], member(value, position))
  count(name, -1)
  count('bytes', -tonumber(string.sub(value, 65, 74)))
  return value
end

local function retry(position)
  if redis.call('ZREM', KEYS[3], position) == 0 then
    return 0
  end
  local value = redis.call('HGET', KEYS[4], position)
  redis.call('HDEL', KEYS[4], position)
  redis.call('HDEL', KEYS[5], position)
  local last = redis.call('HINCRBY', KEYS[1], 'position', 1)
  local new = string.format('%.0f', last)
  redis.call('HSET', KEYS[4], new, value)
  redis.call('HSET', KEYS[6], id_of(value), new)
  redis.call('ZADD', KEYS[2], new, new)
  redis.call('ZADD', KEYS[7], 0, member(value, new))
  count('dead', -1)
  count('waiting', 1)
  return 1
end

local function drop(position)
  if remove(KEYS[3], 'dead', position) then
    count('dropped', 1)
    return 1
  end
  if remove(KEYS[2], 'waiting', position) then
    count('dropped', 1)
    count('revision', 1)
    return 1
  end
  return 0
end

local function each_dead(change, most)
  local done = 0
  for _, position in ipairs(redis.call('ZRANGE', KEYS[3], 0, tonumber(most) - 1)) do
    done = done + change(position)
  end
  return done
end

local changes = {}

function changes.delivered(position, seconds, remembered)
  local value = remove(KEYS[2], 'waiting', position)
  if not value then
    return 0
  end
  count('delivered', 1)
  if seconds ~= '0' then
    redis.call('SET', remembered, string.sub(value, 33, 64), 'PX', seconds)
  end
  return 1
end

function changes.expired(position)
  if not remove(KEYS[2], 'waiting', position) then
    return 0
  end
  count('expired', 1)
  return 1
end

function changes.update(position, state)
  if not redis.call('ZSCORE', KEYS[2], position) then
    return 0
  end
  redis.call('HDEL', KEYS[5], position)
  redis.call('HSET', KEYS[5], position, state)
  return 1
end

function changes.died(position, state)
  if redis.call('ZREM', KEYS[2], position) == 0 then
    return 0
  end
  redis.call('ZREM', KEYS[7], member(redis.call('HGET', KEYS[4], position), position))
  redis.call('ZADD', KEYS[3], position, position)
  redis.call('HSET', KEYS[5], position, state)
  count('waiting', -1)
  count('dead', 1)
  count('died', 1)
  return 1
end

function changes.retry(id)
  local position = redis.call('HGET', KEYS[6], id)
  return position and retry(position) or 0
end

function changes.drop(id)
  local position = redis.call('HGET', KEYS[6], id)
  return position and drop(position) or 0
end

function changes.retry_dead(_, most)
  return each_dead(retry, most)
end

function changes.drop_dead(_, most)
  return each_dead(drop, most)
end

local results = {}
for at = 2, #ARGV, 3 do
  local number = #results + 1
  results[number] = changes[ARGV[at]](ARGV[at + 1], ARGV[at + 2], KEYS[8 + number])
end
return results

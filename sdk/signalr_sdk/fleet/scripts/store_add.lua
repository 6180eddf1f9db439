-- Adds entries to an outbox, in order. KEYS: totals, waiting, dead, entries, states, ids, keys, then for each entry the
-- key under which its id is remembered after the delivery. ARGV: for each entry its id, the digest of its key, the digest
-- of its content, the value, the size, the most entries and bytes of the outbox, whether to drop the oldest to make room,
-- and whether the id may have been delivered. Returns for each entry 1: added, and 1 more for each entry dropped to make
-- room; 0: known; -1: another call has this id; -2: too many entries; -3: too many bytes.
local names = {'position', 'revision', 'waiting', 'dead', 'bytes', 'put', 'dropped'}
local totals = {}
for at, value in ipairs(redis.call('HMGET', KEYS[1], unpack(names))) do
  totals[names[at]] = tonumber(value or '0')
end
local changed = false

local function add_to(name, count)
  totals[name] = totals[name] + count
end

local function content(value)
  return string.sub(value, 33, 64)
end

local function drop_oldest()
  local set, name = KEYS[3], 'dead'
  local position = redis.call('ZRANGE', set, 0, 0)[1]
  if not position then
    set, name = KEYS[2], 'waiting'
    position = redis.call('ZRANGE', set, 0, 0)[1]
    add_to('revision', 1)
  end
  local value = redis.call('HGET', KEYS[4], position)
  redis.call('ZREM', set, position)
  redis.call('HDEL', KEYS[4], position)
  redis.call('HDEL', KEYS[5], position)
  redis.call('HDEL', KEYS[6], string.sub(value, 79, 78 + tonumber(string.sub(value, 75, 78))))
  redis.call('ZREM', KEYS[7], string.sub(value, 1, 32) .. string.format('%016.0f', tonumber(position)))
  add_to(name, -1)
  add_to('bytes', -tonumber(string.sub(value, 65, 74)))
  add_to('dropped', 1)
  changed = true
end

local function is_full(size, most, most_bytes)
  return totals.waiting + totals.dead >= most or totals.bytes + size > most_bytes
end

local function add(at, remembered)
  local id, key, digest, value = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local size, most, most_bytes = tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5]), tonumber(ARGV[at + 6])
  local dropped = totals.dropped
  local known = redis.call('HGET', KEYS[6], id)
  known = known and content(redis.call('HGET', KEYS[4], known))
  if not known and ARGV[at + 8] == '1' then
    known = redis.call('GET', remembered)
  end
  if known then
    return known == digest and 0 or -1
  end
  if is_full(size, most, most_bytes) then
    if ARGV[at + 7] == '0' or size > most_bytes then
      return totals.bytes + size > most_bytes and -3 or -2
    end
    while is_full(size, most, most_bytes) do
      drop_oldest()
    end
  end
  add_to('position', 1)
  local position = string.format('%.0f', totals.position)
  redis.call('ZADD', KEYS[2], position, position)
  redis.call('ZADD', KEYS[7], 0, key .. string.format('%016.0f', totals.position))
  redis.call('HSET', KEYS[4], position, value)
  redis.call('HSET', KEYS[6], id, position)
  add_to('waiting', 1)
  add_to('bytes', size)
  add_to('put', 1)
  changed = true
  return 1 + totals.dropped - dropped
end

local results = {}
for entry = 0, #ARGV / 9 - 1 do
  results[entry + 1] = add(entry * 9 + 1, KEYS[8 + entry])
end
if changed then
  for _, name in ipairs(names) do
    redis.call('HSET', KEYS[1], name, string.format('%.0f', totals[name]))
  end
end
return results

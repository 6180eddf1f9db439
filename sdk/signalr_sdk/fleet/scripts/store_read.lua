-- Reads entries of an outbox behind a position. KEYS: the waiting (or dead) ones, entries, states, keys, totals.
-- ARGV: the position, the most entries, the most bytes, the most entries to look at; then '' and the digests of keys that
-- are left out, or a position and the digest of the one key that is read up to this position.
-- Returns the position read up to, the revision, whether there may be more, and position, value and state of each entry.
local after, most, most_bytes, scanned = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local found, bytes, last = {}, 0, after
local revision = tonumber(redis.call('HGET', KEYS[5], 'revision') or '0')

-- Adds entries; returns whether there is no room for more.
local function take(positions, skip)
  if #positions == 0 then
    return false
  end
  local values = redis.call('HMGET', KEYS[2], unpack(positions))
  local states = redis.call('HMGET', KEYS[3], unpack(positions))
  for at, position in ipairs(positions) do
    last = position
    if not skip[string.sub(values[at], 1, 32)] then
      found[#found + 1] = {position, values[at], states[at]}
      bytes = bytes + #values[at]
      if #found == most or bytes >= most_bytes then
        return true
      end
    end
  end
  return false
end

local function read_all()
  local skip = {}
  for at = 6, #ARGV do
    skip[ARGV[at]] = true
  end
  local looked = 0
  while looked < scanned do
    local positions = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. last, '+inf', 'LIMIT', 0, 200)
    if #positions == 0 then
      last = redis.call('HGET', KEYS[5], 'position') or 0
      return 0
    end
    if take(positions, skip) then
      return 1
    end
    looked = looked + #positions
  end
  return 1
end

local function read_key()
  local key, limit = ARGV[6], ARGV[5]
  local first = key .. string.format('%016.0f', tonumber(after) + 1)
  local final = key .. string.format('%016.0f', tonumber(limit))
  while true do
    local members = redis.call('ZRANGEBYLEX', KEYS[4], '[' .. first, '[' .. final, 'LIMIT', 0, 200)
    if #members == 0 then
      last = limit
      return 0
    end
    local positions = {}
    for at, member in ipairs(members) do
      positions[at] = string.format('%.0f', tonumber(string.sub(member, 33)))
    end
    if take(positions, {}) then
      return 1
    end
    first = key .. string.format('%016.0f', tonumber(last) + 1)
  end
end

local more = 0
if most > 0 then
  more = ARGV[5] == '' and read_all() or ARGV[5] ~= '' and read_key() or 0
end
return {tonumber(last), revision, more, found}

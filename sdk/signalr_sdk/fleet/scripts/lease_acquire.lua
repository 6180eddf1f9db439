-- Takes a lease. KEYS: the lease, the last token. ARGV: the holder, the time to live in ms, a token that is too old.
-- Returns 1 and the token; or 0 and the milliseconds for which another holder has the lease.
local held = redis.call('GET', KEYS[1])
if held then
  local token, holder = string.match(held, '^(%d+):(.*)$')
  if holder == ARGV[1] then
    -- The answer to the first request was lost.
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    return {1, token}
  end
  return {0, redis.call('PTTL', KEYS[1])}
end
-- A deletion first: a Redis without memory refuses a script whose first write needs memory, and then nobody could take
-- the lease and free memory.
redis.call('DEL', KEYS[1])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
-- A Redis that has lost its memory does not know the last token, but its clock has gone on.
local last = math.max(tonumber(redis.call('GET', KEYS[2]) or '0'), tonumber(ARGV[3]))
local token = string.format('%.0f', math.max(now, last + 1))
redis.call('SET', KEYS[2], token)
redis.call('SET', KEYS[1], token .. ':' .. ARGV[1], 'PX', ARGV[2])
return {1, token}

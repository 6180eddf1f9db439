-- Begins the time of a new leader. KEYS: the stream, the sink (the largest token that has written), the state of the
-- relay. ARGV: the token, the time in ms, the length of the stream (0: without limit).
-- Returns the state, in which the positions of feeds are; or -1 if a later leader has written.
local token = ARGV[1]
if tonumber(redis.call('GET', KEYS[2]) or '0') > tonumber(token) then
  return -1
end
-- The answer to the first request may have been lost: then the entry is there.
if redis.call('HGET', KEYS[3], 'token') ~= token then
  redis.call('SET', KEYS[2], token)
  redis.call('HSET', KEYS[3], 'token', token, 'batch', '0')
  local entry = {'*', 'kind', 'takeover', 'event', '', 'args', '[]', 'token', token, 'at', ARGV[2]}
  if ARGV[3] ~= '0' then
    redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], unpack(entry))
  else
    redis.call('XADD', KEYS[1], unpack(entry))
  end
end
return redis.call('HGETALL', KEYS[3])

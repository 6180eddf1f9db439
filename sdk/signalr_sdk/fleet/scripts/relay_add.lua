-- Adds a batch of entries to a stream, and moves the positions of feeds. KEYS: the stream, the sink, the state.
-- ARGV: the token, the number of the batch (from 1 on), the length of the stream (0: without limit); then for each entry
-- the feed ('' for none), number, epoch ('' for none, else 's' or 'i' and the epoch), kind, event, arguments, time in ms.
-- Returns 1; 0 if the batch was there; -1 if a later leader has written; -2 if Redis has lost what this leader wrote.
local token = ARGV[1]
local sink = redis.call('GET', KEYS[2])
if tonumber(sink or '0') > tonumber(token) then
  return -1
end
local state = redis.call('HMGET', KEYS[3], 'token', 'batch')
if sink ~= token or state[1] ~= token then
  return -2
end
local done, batch = tonumber(state[2]), tonumber(ARGV[2])
if done == batch then
  return 0
end
if done ~= batch - 1 then
  return -2
end
for at = 4, #ARGV, 7 do
  local feed, number, epoch = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local entry = {
    '*', 'kind', ARGV[at + 3], 'event', ARGV[at + 4], 'args', ARGV[at + 5], 'token', token, 'at', ARGV[at + 6]
  }
  if feed ~= '' then
    entry[#entry + 1] = 'number'
    entry[#entry + 1] = number
    if epoch ~= '' then
      entry[#entry + 1] = 'epoch'
      entry[#entry + 1] = string.sub(epoch, 2)
    end
  end
  if ARGV[3] ~= '0' then
    redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], unpack(entry))
  else
    redis.call('XADD', KEYS[1], unpack(entry))
  end
  if feed ~= '' then
    redis.call('HSET', KEYS[3], 'number:' .. feed, number, 'epoch:' .. feed, epoch)
  end
end
redis.call('HSET', KEYS[3], 'batch', ARGV[2])
return 1

-- Returns the figures of an outbox. KEYS: totals, waiting, entries, the lease of the deliverer.
-- Returns names and values in turn, the value of the oldest waiting entry, and whether somebody delivers.
local oldest = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
return {
  redis.call('HGETALL', KEYS[1]),
  oldest and redis.call('HGET', KEYS[3], oldest) or '',
  redis.call('EXISTS', KEYS[4])
}

-- Begins the time of a new deliverer. KEYS: the sink (the largest token of a deliverer). ARGV: the token.
-- Returns whether no later deliverer has begun.
if tonumber(redis.call('GET', KEYS[1]) or '0') > tonumber(ARGV[1]) then
  return 0
end
-- A deletion first: without memory, a script whose first write needs memory is refused.
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1])
return 1

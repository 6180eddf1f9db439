-- Gives a lease back. KEYS: the lease. ARGV: the end of "token:holder" (the token may be unknown to the holder).
local held = redis.call('GET', KEYS[1])
if held and string.match(held, '^%d+:(.*)$') == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0

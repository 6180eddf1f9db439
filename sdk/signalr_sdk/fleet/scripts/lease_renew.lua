-- Renews a lease. KEYS: the lease. ARGV: "token:holder", the time to live in ms. Returns whether the holder still has it.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])

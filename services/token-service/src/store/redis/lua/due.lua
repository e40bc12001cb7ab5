-- KEYS: a shard of the hints. ARGV: clock, limit, lease. Hands out hints, and keeps them from others for the lease.
local now = clock(ARGV[1])
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ms(now), 'LIMIT', 0, ARGV[2])
for _, id in ipairs(due) do
  redis.call('ZADD', KEYS[1], 'XX', ms(now + tonumber(ARGV[3])), id)
end
return due

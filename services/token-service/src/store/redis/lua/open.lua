-- KEYS: family, user. ARGV: clock, epoch, generation, family as stored, kept, expires.
local now = clock(ARGV[1])
local user = user_at(KEYS[2], now)
if not user or user.epoch ~= ARGV[2] or user.generation ~= tonumber(ARGV[3]) then
  return 0
end
local text = redis.call('GET', KEYS[1])
if family_of(text, now) then
  return text == ARGV[4] and 1 or 0
end
if tonumber(ARGV[6]) <= now then
  return 0
end
local kept = tonumber(ARGV[5])
redis.call('SET', KEYS[1], ARGV[4], 'PXAT', ARGV[5])
if user.kept < kept then
  user.kept = kept
  put_user(KEYS[2], user)
end
return 1

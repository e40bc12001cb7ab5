-- KEYS: user. ARGV: clock, kept, epoch for a new record. Returns epoch and generation.
local now = clock(ARGV[1])
local kept = tonumber(ARGV[2])
local user = user_at(KEYS[1], now)
if not user then
  user = { epoch = ARGV[3], generation = 0, kept = kept }
  put_user(KEYS[1], user)
elseif user.kept < kept then
  user.kept = kept
  put_user(KEYS[1], user)
end
return { user.epoch, ms(user.generation) }

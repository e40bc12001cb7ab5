-- KEYS: user. ARGV: clock, until.
local USER, NOTHING = 3, 5
local now = clock(ARGV[1])
local user = user_at(KEYS[1], now)
if not user then
  return NOTHING
end
user.generation = user.generation + 1
user.kept = math.max(user.kept, tonumber(ARGV[2]))
put_user(KEYS[1], user)
return USER

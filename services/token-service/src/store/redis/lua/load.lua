-- KEYS: family. ARGV: clock, base, most bytes. Returns the family as stored, or why it is dead.
local now = clock(ARGV[1])
if redis.call('STRLEN', KEYS[1]) > tonumber(ARGV[3]) then
  corrupt('family')
end
local text = redis.call('GET', KEYS[1])
local dead = over(family_of(text, now), ARGV[2], now)
if dead then
  return dead
end
return text

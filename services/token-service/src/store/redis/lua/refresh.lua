-- KEYS: family, sealed answer. ARGV: clock, base, hash, binding, scope, may be answered again, proposed, next, access token,
-- sealed, window, skew, limit, sealed is kept. The same decision as FamilyState::refresh (decide.rs).
local CURRENT, ROTATED, REANSWER, THEFT = 1, 2, 3, 4
local now = clock(ARGV[1])
local family = family_at(KEYS[1], now)
local dead = over(family, ARGV[2], now)
if dead then
  return { 0, dead }
end
if family.kind ~= 'r' then
  return { 0, UNKNOWN }
end

local function theft()
  revoke(KEYS[1], KEYS[2], family, family.kept)
  return { THEFT }
end

local hash, proposed, former = ARGV[3], ARGV[7] == '1', family.former
if ARGV[4] ~= family.binding then
  return theft()
end
if hash == family.current then
  if not proposed then
    seen(KEYS[1], KEYS[2], family)
    return { CURRENT }
  end
  redis.call('SETRANGE', KEYS[1], 110, ARGV[8] .. family.current .. ARGV[5] .. ARGV[9] .. ms(now) .. '00+')
  redis.call('SET', KEYS[2], ARGV[10], 'PXAT', ms(now + tonumber(ARGV[14])))
  return { ROTATED }
end
if not former or former.hash ~= hash then
  return theft()
end
-- The very proposal that was committed: the answer to it was lost.
if proposed and ARGV[8] == family.current and ARGV[9] == former.access then
  return { ROTATED }
end
local age = now - former.at
if ARGV[6] == '1' and age >= -tonumber(ARGV[12]) and age < tonumber(ARGV[11]) and ARGV[5] == former.scope and
  former.answers < tonumber(ARGV[13]) and not former.seen then
  local sealed = redis.call('GET', KEYS[2])
  if not sealed then
    corrupt('answer')
  end
  redis.call('SETRANGE', KEYS[1], 235, tostring(former.answers + 1))
  return { REANSWER, sealed }
end
return theft()

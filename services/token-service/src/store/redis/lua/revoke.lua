-- KEYS: family, revoked token, sealed answer. ARGV: clock, until, whether only a family is meant.
local TOKEN, FAMILY, ALREADY, NOTHING = 1, 2, 4, 5
local now = clock(ARGV[1])
local till = tonumber(ARGV[2])
local family = family_at(KEYS[1], now)
if family then
  revoke(KEYS[1], KEYS[3], family, math.max(family.kept, till))
  return family.revoked and ALREADY or FAMILY
end
if ARGV[3] == '1' or till <= now then
  return NOTHING
end
local text = redis.call('GET', KEYS[2])
local before = 0
if text then
  if #text ~= 15 or string.sub(text, 1, 2) ~= 'X1' then
    corrupt('revoked token')
  end
  before = number(text, 3, 15, 'revoked token')
end
local kept = math.max(before, till)
redis.call('SET', KEYS[2], 'X1' .. ms(kept), 'PXAT', ms(kept))
return before > now and ALREADY or TOKEN

-- KEYS: family. ARGV: clock, base, id, issued, expires, threshold. The same decision as FamilyState::renew (decide.rs).
-- Returns what became of it, then the latest child, the family's end, and whether it renews.
local RENEWED, NOT_DUE = 1, 2
local now = clock(ARGV[1])
local family = family_at(KEYS[1], now)
local dead = over(family, ARGV[2], now)
if dead then
  return { 0, dead }
end
if family.kind == 'r' then
  return { 0, UNKNOWN }
end

local function answer(what, child)
  return { what, child.id, ms(child.issued), ms(child.expires), ms(child.seq), ms(family.expires), family.kind == 'P' and 1 or 0 }
end

local expires = math.min(tonumber(ARGV[5]), family.expires)
local latest = family.latest
if latest then
  if latest.id == ARGV[3] then
    return answer(RENEWED, latest)
  end
  -- One that ends no later is no renewal: the last child of a family, or the proposal of a slow clock.
  if latest.expires - now > tonumber(ARGV[6]) or expires <= latest.expires then
    return answer(NOT_DUE, latest)
  end
end
local child = { id = ARGV[3], issued = tonumber(ARGV[4]), expires = expires, seq = (latest and latest.seq or 0) + 1 }
redis.call('SETRANGE', KEYS[1], 110, '+' .. child.id .. ms(child.issued) .. ms(child.expires) .. string.format('%010.0f', child.seq))
return answer(RENEWED, child)

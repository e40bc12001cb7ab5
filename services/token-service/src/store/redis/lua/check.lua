-- KEYS: user, revoked token, family (or the token's id as one), its sealed answer, rate. ARGV: clock, epoch, generation, user,
-- token id, whether the token names a family, whether that is the token itself, interval, window (microseconds; '' for no rate).
local LIVE, TOKEN, PARENT, USER, NOBODY, LIMITED = 1, 2, 3, 4, 5, 6
local now, us = clock(ARGV[1])
local dead = user_over(user_at(KEYS[1], now), ARGV[2], tonumber(ARGV[3]))
if dead then
  return { dead == USER_REVOKED and USER or NOBODY }
end
local revoked = redis.call('GET', KEYS[2])
if revoked then
  if #revoked ~= 15 or string.sub(revoked, 1, 2) ~= 'X1' then
    corrupt('revoked token')
  end
  if number(revoked, 3, 15, 'revoked token') > now then
    return { TOKEN }
  end
end
local family = family_at(KEYS[3], now)
if family then
  if family.user ~= ARGV[4] then
    return { NOBODY }
  end
  if family.revoked then
    return { ARGV[7] == '1' and TOKEN or PARENT }
  end
  if family.former and family.former.access == ARGV[5] then
    seen(KEYS[3], KEYS[4], family)
  end
elseif ARGV[6] == '1' then
  return { NOBODY }
end
if ARGV[8] == '' then
  return { LIVE }
end
local text = redis.call('GET', KEYS[5])
local before = 0
if text then
  if #text ~= 18 or string.sub(text, 1, 2) ~= 'Q1' then
    corrupt('rate')
  end
  before = number(text, 3, 18, 'rate')
end
local after = math.max(before, us) + tonumber(ARGV[8])
local excess = after - us - tonumber(ARGV[9])
if excess > 0 then
  return { LIMITED, math.ceil(excess / 1000000) }
end
redis.call('SET', KEYS[5], 'Q1' .. string.format('%016.0f', after), 'PXAT', ms(math.floor(after / 1000) + 1))
return { LIVE }

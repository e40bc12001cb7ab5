-- KEYS: proof. ARGV: clock, until, name of this call. Repeating a call whose answer was lost gives the same answer.
local now = clock(ARGV[1])
local till = tonumber(ARGV[2])
local text = redis.call('GET', KEYS[1])
if text then
  if #text ~= 31 or string.sub(text, 1, 2) ~= 'R1' then
    corrupt('used proof')
  end
  if number(text, 3, 15, 'used proof') > now then
    return string.sub(text, 16, 31) == ARGV[3] and 1 or 0
  end
end
if till <= now then
  return 0
end
redis.call('SET', KEYS[1], 'R1' .. ms(till) .. ARGV[3], 'PXAT', ms(till))
return 1

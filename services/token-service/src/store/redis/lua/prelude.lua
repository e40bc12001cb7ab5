-- What all scripts share. A family is one string: a head of fixed width, then JSON that never changes (codec.rs).
--   1-2 "F1"  3 state: L live, R revoked  4 kind: r refresh, p parent, P parent that renews
--   5-17 expires  18-30 kept (milliseconds)  31-52 user  53-68 epoch  69-78 generation  79-110 binding
--   refresh: 111-142 current  143-174 former  175-206 its scope  207-222 its access token  223-235 when  236 answers
--            237 seen: 0 1  238 whether there is a former one: + -
--   parent:  111 whether there is a child: + -  112-127 its id  128-140 issued  141-153 expires  154-163 number
-- A user is "U1", epoch (16), generation (10), kept (13). Every value says itself until when it counts; the key's own time to
-- live only makes room.
local UNKNOWN, EXPIRED, REVOKED, USER_REVOKED = 1, 2, 3, 4
local HEAD = { r = 238, p = 163, P = 163 }

local function corrupt(what)
  error({ err = 'CORRUPT ' .. what })
end

-- The time: micro- and milliseconds. Tests give it; else it is the server's.
local function clock(given)
  local us
  if given == '' then
    local t = redis.call('TIME')
    us = tonumber(t[1]) * 1000000 + tonumber(t[2])
  else
    us = tonumber(given)
  end
  return math.floor(us / 1000), us
end

local function number(text, from, to, what)
  local digits = string.sub(text, from, to)
  if #digits ~= to - from + 1 or not string.find(digits, '^%d+$') then
    corrupt(what)
  end
  return tonumber(digits)
end

local function ms(value)
  return string.format('%013.0f', value)
end

-- The user's record, unless there is none that counts.
local function user_at(key, now)
  local text = redis.call('GET', key)
  if not text then
    return nil
  end
  if #text ~= 41 or string.sub(text, 1, 2) ~= 'U1' then
    corrupt('user')
  end
  local user = { epoch = string.sub(text, 3, 18), generation = number(text, 19, 28, 'user'), kept = number(text, 29, 41, 'user') }
  if user.kept <= now then
    return nil
  end
  return user
end

local function put_user(key, user)
  local text = 'U1' .. user.epoch .. string.format('%010.0f', user.generation) .. ms(user.kept)
  redis.call('SET', key, text, 'PXAT', ms(user.kept))
end

-- How the user's record stands to what was issued under this standing.
local function user_over(user, epoch, generation)
  if not user or user.epoch ~= epoch or user.generation < generation then
    return UNKNOWN
  end
  if user.generation > generation then
    return USER_REVOKED
  end
  return nil
end

-- The family's head, parsed; nil when there is none that counts.
local function family_of(text, now)
  if not text or text == '' then
    return nil
  end
  local kind = string.sub(text, 4, 4)
  local state = string.sub(text, 3, 3)
  local head = HEAD[kind]
  if string.sub(text, 1, 2) ~= 'F1' or not head or #text < head or (state ~= 'L' and state ~= 'R') then
    corrupt('family')
  end
  local family = {
    head = string.sub(text, 1, head), kind = kind, revoked = state == 'R',
    expires = number(text, 5, 17, 'family'), kept = number(text, 18, 30, 'family'), user = string.sub(text, 31, 52),
    epoch = string.sub(text, 53, 68), generation = number(text, 69, 78, 'family'), binding = string.sub(text, 79, 110),
  }
  if family.kept <= now then
    return nil
  end
  local flag = kind == 'r' and string.sub(text, 238, 238) or string.sub(text, 111, 111)
  if flag ~= '+' and flag ~= '-' then
    corrupt('family')
  end
  if kind == 'r' then
    family.current = string.sub(text, 111, 142)
    if flag == '+' then
      family.former = {
        hash = string.sub(text, 143, 174), scope = string.sub(text, 175, 206), access = string.sub(text, 207, 222),
        at = number(text, 223, 235, 'family'), answers = number(text, 236, 236, 'family'),
        seen = number(text, 237, 237, 'family') ~= 0,
      }
    end
  elseif flag == '+' then
    family.latest = {
      id = string.sub(text, 112, 127), issued = number(text, 128, 140, 'family'), expires = number(text, 141, 153, 'family'),
      seq = number(text, 154, 163, 'family'),
    }
  end
  return family
end

local function family_at(key, now)
  return family_of(redis.call('GETRANGE', key, 0, 237), now)
end

-- Why the family mints no more; nil while it lives. `base` is what all keys of the user start with.
local function over(family, base, now)
  if not family then
    return UNKNOWN
  end
  if family.revoked then
    return REVOKED
  end
  local dead = user_over(user_at(base .. 'u:' .. family.user, now), family.epoch, family.generation)
  if dead then
    return dead
  end
  if family.expires <= now then
    return EXPIRED
  end
  return nil
end

-- Leaves the head alone, without hashes: nothing can be compared with them any more.
local function revoke(key, sealed, family, kept)
  local tail = family.kind == 'r' and (string.rep('0', 127) .. '-') or ('-' .. string.rep('0', 52))
  local text = string.sub(family.head, 1, 2) .. 'R' .. string.sub(family.head, 4, 17) .. ms(kept) ..
    string.sub(family.head, 31, 110) .. tail
  redis.call('SET', key, text, 'PXAT', ms(kept))
  redis.call('DEL', sealed)
end

-- The answer has arrived: it is not given again.
local function seen(key, sealed, family)
  if family.former and not family.former.seen then
    redis.call('SETRANGE', key, 236, '1')
    redis.call('DEL', sealed)
  end
end

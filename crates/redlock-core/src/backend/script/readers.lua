-- Whether a member of a sorted set is the token of a reader. What else is there is somebody else's.
local function is_reader(member)
  local digits = string.match(member, '^[0-9a-f]+') or ''
  return #digits == 40 and (#member == 40 or string.sub(member, 41, 41) == ':')
end

-- Lets a key expire with its last reader. Answers a number, or the error.
local function expire(key)
  local last = redis.pcall('ZRANGE', key, -1, -1, 'WITHSCORES')
  if last['err'] then return last end
  if not last[2] then return 0 end
  return redis.pcall('PEXPIREAT', key, string.format('%.0f', math.ceil(last[2] / 1000)))
end


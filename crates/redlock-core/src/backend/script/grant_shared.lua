-- Adds the reader to each key.
for i = 1, resources do
  local key, predecessor = KEYS[i], ARGV[9 + i]
  if not lasts[i] then
    -- It holds the token as a writer. NX leaves it as it is, and is a write all the same.
    local set = redis.pcall('SET', key, ARGV[1], 'NX', 'PX', ARGV[2])
    if set and set['err'] then return set end
    follows = false
  else
    -- NX: a request that the client sent again changes nothing.
    local added = redis.pcall('ZADD', key, 'NX', whole(ends), ARGV[1])
    if type(added) == 'table' then return added end
    if not predecessor or redis.pcall('ZREM', key, predecessor) ~= 1 then follows = false end
    local kept
    if added == 1 and not predecessor then
      kept = redis.pcall('PEXPIREAT', key, whole(math.ceil(math.max(lasts[i], ends) / 1000)))
    else
      kept = expire(key)
    end
    if type(kept) == 'table' then
      -- Nothing that never expires is left behind.
      redis.pcall('ZREM', key, ARGV[1])
      if lasts[i] == 0 then redis.pcall('DEL', key) end
      return kept
    end
  end
end
return { follows and -7 or -3, now, 0 }

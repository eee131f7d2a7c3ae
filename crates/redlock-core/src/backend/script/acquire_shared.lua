-- Takes all locks for a reader, or none if a writer holds any of them, or has left its intent to.
-- A shared lock is a sorted set at the key of the lock. A member is the token of a reader, and its score the TIME in us at
-- which the reader's ttl ends. The key expires with the last of them.
if now == 0 then
  time = redis.pcall('TIME')
  if time['err'] then return time end
  now = time[1] * 1000000 + time[2]
end
channel = channel .. ':shared'
local ends, refused, is_behind, by_readers, lasts = now + ARGV[2] * 1000, false, false, 0, {}
for i = 1, resources do
  local key, predecessor = KEYS[i], ARGV[9 + i]
  local last = redis.pcall('ZRANGE', key, -1, -1, 'WITHSCORES')
  if last['err'] then
    local held = read(key)
    if type(held) == 'table' then return held end
    if not held then return last end
    if held ~= ARGV[1] then
      local remaining = redis.call('PTTL', key)
      if not refused or remaining == -1 or (refused ~= -1 and remaining > refused) then refused = remaining end
    end
  elseif last[1] and not (is_reader(last[1]) and redis.call('PTTL', key) >= 0) then
    -- Somebody else's: the error of a key of another type.
    return redis.pcall('GETRANGE', key, 0, 0)
  else
    lasts[i] = tonumber(last[2] or 0)
    if last[1] then redis.pcall('ZREMRANGEBYSCORE', key, '-inf', '(' .. whole(now)) end
    if intent > 0 and redis.pcall('EXISTS', KEYS[#KEYS - resources + i]) == 1 then
      -- Only new readers stay behind the writer.
      local is_in = redis.pcall('ZSCORE', key, ARGV[1]) or predecessor and redis.pcall('ZSCORE', key, predecessor)
      is_behind = is_behind or not is_in
    end
  end
end
if not refused and is_behind then refused = -6 end

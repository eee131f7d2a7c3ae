-- The number of permits of a semaphore, at the key COUNT. The key of slot 7 is COUNT without its last letter, and `:7`.
local function slots(count) return string.sub(count, 1, -2) .. ':' end

-- Another number of permits than PERMITS, if anybody holds one; 0 if not; or the error. And the number that is there.
local function other(count, permits)
  local kept = read(count)
  if type(kept) == 'table' then return kept end
  if not kept or kept == permits then return 0, kept end
  if not string.match(kept, '^[1-9]%d?%d?%d?$') then
    return redis.error_reply('ERR the key of the number of permits holds something else')
  end
  local slot = slots(count)
  for i = 0, kept - 1 do
    if redis.call('EXISTS', slot .. i) == 1 then return tonumber(kept), kept end
  end
  return 0, kept
end

-- Keeps the number for longer than a slot that is held for TTL from now on.
local function keep(count, permits, kept, ttl)
  if kept == permits and redis.call('PTTL', count) >= tonumber(ttl) then return false end
  local set = redis.pcall('SET', count, permits, 'PX', string.format('%.0f', ttl + 1000))
  return set['err'] and set
end

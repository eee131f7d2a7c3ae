-- Wakes the first who waits for a key. Answers whether one is on its way; not if the first is `asking` itself.
-- WAITERS is a sorted set. The score of a waiter is when it came, in us; or once it was woken, with a minus, until when it
-- is expected to ask. Those who are gone or late are passed over. Nothing here may fail an operation: these are hints.
local function wake(waiters, key, now, asking)
  for _ = 1, 100 do
    local first = redis.pcall('ZRANGE', waiters, 0, 0, 'WITHSCORES')
    if first['err'] or not first[1] or first[1] == asking then return false end
    if not now or now == 0 then
      local time = redis.pcall('TIME')
      if time['err'] then return false end
      now = time[1] * 1000000 + time[2]
    end
    local score = tonumber(first[2])
    if score < 0 and -score > now then return true end
    if score >= 0 then
      local heard = redis.pcall('PUBLISH', first[1], key)
      if type(heard) == 'number' and heard > 0 then
        redis.pcall('ZADD', waiters, 'XX', string.format('%.0f', -(now + 100000)), first[1])
        return true
      end
    end
    if redis.pcall('ZREM', waiters, first[1]) ~= 1 then return false end
  end
  return false
end


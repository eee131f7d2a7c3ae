-- Notifies the first waiter of a key, and if it is a reader, all readers up to the next writer. Answers whether one is on
-- its way; not if the first is `asking` itself, or is a reader as `asking` is. A waiter is the channel of its process, and
-- behind that of a reader stands ':shared'.
-- WAITERS is a sorted set. The score of a waiter is the time at which it came, in us. Once it is notified, the score is
-- negative: the time by which it is expected to ask. That is at most 100 ms ahead. A later time was not set by this script, or
-- the clock went back since: such a waiter must not block the others. Waiters that are gone or late are removed, however many
-- they are: each of them costs one step once. Nothing here may fail an operation: notifications are hints.
-- The message is the key; for a semaphore the name of its wait queue. Several of its slots may be free, so waiters that
-- are on their way are passed over.
local function wake(waiters, now, asking)
  -- Most often the first waiter is alive.
  local from, most, within, key = 0, 0, 100000, string.sub(waiters, 1, -17)
  local is_semaphore, reads = string.sub(key, -16) == ':redlock:permits', asking and string.sub(asking, -7) == ':shared'
  while true do
    local first = redis.pcall('ZRANGE', waiters, from, from + most, 'WITHSCORES')
    if first['err'] or not first[1] or first[1] == asking then return from > 0 end
    if not now or now == 0 then
      local time = redis.pcall('TIME')
      if time['err'] then return false end
      now = time[1] * 1000000 + time[2]
    end
    local gone, found = {}, nil
    for i = 1, #first, 2 do
      local score, reader = tonumber(first[i + 1]), string.match(first[i], '^(.*):shared$')
      local is_on_its_way = score < 0 and -score > now and -score <= now + within
      if first[i] == asking then
        found = from > 0
      elseif reads and reader then
        found = false
      elseif is_on_its_way and is_semaphore then
        from = from + 1
      elseif is_on_its_way then
        found = true
      else
        local heard = score >= 0 and redis.pcall('PUBLISH', reader or first[i], key)
        if type(heard) == 'number' and heard > 0 then
          local until_then = string.format('%.0f', -(now + within))
          redis.pcall('ZADD', waiters, 'XX', until_then, first[i])
          found = true
          local behind = reader and redis.pcall('ZRANGE', waiters, 0, '+inf', 'BYSCORE', 'LIMIT', 0, 100) or {}
          for _, member in ipairs(behind) do
            reader = string.match(member, '^(.*):shared$')
            if not reader then break end
            redis.pcall('PUBLISH', reader, key)
            redis.pcall('ZADD', waiters, 'XX', until_then, member)
          end
        else
          gone[#gone + 1] = first[i]
        end
      end
      if found ~= nil then break end
    end
    if #gone > 0 and redis.pcall('ZREM', waiters, unpack(gone)) ~= #gone then return false end
    if found ~= nil then return found end
    most = 99
  end
end

-- Notifies the first waiter of a key, and if it is a reader, all readers up to the next writer. Answers whether one is on
-- its way; not if the first is `asking` itself, or is a reader as `asking` is. A waiter is the channel of its process, and
-- behind that of a reader stands ':shared'.
-- WAITERS is a sorted set. The score of a waiter is the time at which it came, in us. Once it is notified, the score is
-- negative: the time by which it is expected to ask. That is at most 100 ms ahead. A later time was not set by this script, or
-- the clock went back since: such a waiter must not block the others. Waiters that are gone or late are removed, however many
-- they are: each of them costs one step once. Nothing here may fail an operation: notifications are hints.
local function wake(waiters, key, now, asking)
  -- Most often the first waiter is alive.
  local last, within, reads = 0, 100000, asking and string.sub(asking, -7) == ':shared'
  while true do
    local first = redis.pcall('ZRANGE', waiters, 0, last, 'WITHSCORES')
    if first['err'] or not first[1] or first[1] == asking then return false end
    if not now or now == 0 then
      local time = redis.pcall('TIME')
      if time['err'] then return false end
      now = time[1] * 1000000 + time[2]
    end
    local gone, found = {}, nil
    for i = 1, #first, 2 do
      local score, reader = tonumber(first[i + 1]), string.match(first[i], '^(.*):shared$')
      if first[i] == asking or reads and reader then
        found = false
      elseif score < 0 then
        if -score > now and -score <= now + within then found = true end
      else
        local heard = redis.pcall('PUBLISH', reader or first[i], key)
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
        end
      end
      if found ~= nil then break end
      gone[#gone + 1] = first[i]
    end
    if #gone > 0 and redis.pcall('ZREM', waiters, unpack(gone)) ~= #gone then return false end
    if found ~= nil then return found end
    last = 99
  end
end


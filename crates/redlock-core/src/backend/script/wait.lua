-- Puts who is refused among the waiters, and takes out who is granted and does not stay.
if waiters then
  if not refused and ARGV[6] == '1' and wake(waiters, now, channel) then refused = -6 end
  if not refused and ARGV[7] ~= '1' then
    redis.pcall('ZREM', waiters, channel)
  else
    -- Who polls clears away those who came an hour ago: they have gone.
    if ARGV[6] ~= '1' then redis.pcall('ZREMRANGEBYSCORE', waiters, 2, string.format('%.0f', now - 3600000000)) end
    local came = string.format('%.0f', math.max(now, 2))
    local added = redis.pcall('ZADD', waiters, 'NX', came, channel)
    if added == 0 then
      -- A waiter that was notified and comes too late is the first again.
      redis.pcall('ZADD', waiters, 'XX', 'GT', 1, channel)
      -- The clock went back: a waiter that came in the future would be behind every newcomer.
      redis.pcall('ZADD', waiters, 'XX', 'LT', came, channel)
    end
    -- Only of waiters: a key of another type is somebody else's.
    if added == 1 or added == 0 and ARGV[6] ~= '1' then redis.pcall('PEXPIRE', waiters, 3600000) end
  end
end
if refused then return { refused, now, by_readers } end


-- Deletes the locks that are ours, a writer's or a reader's, and wakes the first who waits for each.
-- KEYS: the resources, then their waiters, then the intent of a writer.
-- ARGV: 1 token; or this and 2 how many of KEYS are resources, 3 whether to wake only those who wait for a key that was
-- free before (1: yes), 4 how many intents there are (0 or 1), 5 the channel of a process that waits no more or nothing.
-- Answers 1 if all of them were ours, 0 if not; and 2 more if another waits and is on its way. One that cannot be
-- deleted keeps none of the others.
local released, failed, woken, resources = 1, false, false, tonumber(ARGV[2]) or #KEYS
local intents, channel = tonumber(ARGV[4]) or 0, ARGV[5] or ''
-- Servers before 7.0 may be set up to refuse writes after commands such as TIME, unless a script says this.
if redis.replicate_commands then redis.replicate_commands() end
-- Only the intent that this token has left: another writer may have left its own since.
if intents > 0 and read(KEYS[#KEYS]) == 'writer:' .. string.sub(ARGV[1], 1, 40) then redis.pcall('DEL', KEYS[#KEYS]) end
for i = 1, resources do
  local key = KEYS[i]
  local held, deleted, readers = read(key, true), 0, false
  if held == ARGV[1] then
    deleted = redis.pcall('DEL', key)
  elseif held == true then
    local time = redis.pcall('TIME')
    if not time['err'] then
      redis.pcall('ZREMRANGEBYSCORE', key, '-inf', '(' .. string.format('%.0f', time[1] * 1000000 + time[2]))
    end
    deleted = redis.pcall('ZREM', key, ARGV[1])
    local last = redis.pcall('ZRANGE', key, -1, -1, 'WITHSCORES')
    readers = last[2]
    if readers and deleted == 1 then
      redis.pcall('PEXPIREAT', key, string.format('%.0f', math.ceil(readers / 1000)))
    end
  end
  local failure = type(held) == 'table' and held or type(deleted) == 'table' and deleted
  if failure then
    failed = failure
  elseif deleted == 0 then
    released = 0
  end
  local waiters = resources + i <= #KEYS - intents and KEYS[resources + i]
  if waiters and channel ~= '' then
    redis.pcall('ZREM', waiters, channel, channel .. ':shared')
  elseif waiters and redis.pcall('ZCARD', waiters) == 0 then
    -- Most often nobody waits: the cheapest question comes first.
    waiters = nil
  end
  -- While readers hold it, no writer is woken: the last of them will.
  if waiters and readers and not string.find(redis.pcall('ZRANGE', waiters, 0, 0)[1] or '', ':shared$') then
    waiters = nil
  end
  -- Also where another holds the key: it may be one who waits, and lost the others to us.
  if waiters and not failure and (ARGV[3] ~= '1' or not held) and wake(waiters) then woken = true end
end
return failed or released + (woken and 2 or 0)

-- Raises the fencing counters to a candidate, while the locks are ours: whoever holds them no more must not have it.
-- KEYS: the resources, then their fencing counters.
-- ARGV: 1 token, 2 how many of KEYS are resources, 3 for how long a counter is kept in ms, 4 the candidate.
-- Answers -3 when all counters are the candidate now, -2 if a lock is not ours or a counter is gone, else the greatest
-- counter, which is above the candidate.
-- Servers before 7.0 may be set up to refuse writes after commands such as TIME, unless a script says this.
if redis.replicate_commands then redis.replicate_commands() end
local time = redis.pcall('TIME')
if time['err'] then return time end
for i = 1, ARGV[2] do
  local held = read(KEYS[i], true)
  if type(held) == 'table' then return held end
  if held ~= ARGV[1] then return -2 end
end
local greatest = 0
for i = ARGV[2] + 1, #KEYS do
  local kept = read(KEYS[i])
  if type(kept) == 'table' then return kept end
  -- It may have been raised above the candidate for another, and lost since.
  if not kept then return -2 end
  if not string.match(kept, '^%d+$') then return redis.error_reply('ERR a fencing counter is no number') end
  greatest = math.max(greatest, tonumber(kept))
end
if greatest > tonumber(ARGV[4]) then return greatest end
-- As for a grant: the clock of another node must not leave this one no room to count.
if tonumber(ARGV[4]) > time[1] * 1000000 + time[2] + 3155760000000000 then
  return redis.error_reply('ERR the fencing token is more than 100 years ahead of the clock')
end
for i = ARGV[2] + 1, #KEYS do
  local set = redis.pcall('SET', KEYS[i], ARGV[4], 'PX', ARGV[3])
  if set['err'] then return set end
end
return -3

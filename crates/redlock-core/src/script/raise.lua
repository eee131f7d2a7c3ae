-- Raises the fencing counters to a candidate, while the locks are ours: whoever holds them no more must not have it.
-- KEYS: the resources, then their fencing counters.
-- ARGV: 1 token, 2 how many of KEYS are resources, 3 for how long a counter is kept in ms, 4 the candidate.
-- Answers -3 when all counters are the candidate now, -2 if a lock is not ours or a counter is gone, else the greatest
-- counter, which is above the candidate.
for i = 1, ARGV[2] do
  local held = read(KEYS[i])
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
for i = ARGV[2] + 1, #KEYS do
  local set = redis.pcall('SET', KEYS[i], ARGV[4], 'PX', ARGV[3])
  if set['err'] then return set end
end
return -3

-- Counts the grant, and sets the keys.
-- A counter that is not there begins above all that were counted before, here or elsewhere. One of before this run may
-- have gone back, if the server forgot only the last of its data.
-- One that is 100 years ahead of the clock was not counted, and would leave no room: it is this node's fault.
local counter, greatest = 0, math.min(now + 3155760000000000, 9007199254740991)
local ahead = 'ERR a fencing counter is more than 100 years ahead of the clock: delete its key'
if retention > 0 and is_new and last == resources + 1 then
  -- The same as below, and faster: one counter, and a grant that is no repetition.
  local counted = redis.pcall('INCR', KEYS[last])
  if type(counted) == 'table' then return counted end
  if counted < 1 or counted > greatest then
    redis.pcall('DECR', KEYS[last])
    return redis.error_reply(counted < 1 and 'ERR a fencing counter is none' or ahead)
  end
  counter = math.max(counted == 1 and now + 1 or counted, since + 1)
  local kept
  if counter == counted then
    kept = redis.pcall('PEXPIRE', KEYS[last], ARGV[4])
  else
    kept = redis.pcall('SET', KEYS[last], whole(counter), 'PX', ARGV[4])
  end
  if type(kept) == 'table' and kept['err'] then return kept end
elseif retention > 0 then
  counter = since
  for i = resources + 1, last do
    local kept = read(KEYS[i]) or '0'
    if type(kept) == 'table' then return kept end
    if kept ~= '0' and not string.match(kept, '^[1-9]%d*$') then
      return redis.error_reply('ERR a fencing counter is none')
    end
    counter = math.max(counter, kept == '0' and now or tonumber(kept))
  end
  -- A request that the client sent again is no second grant.
  if is_new then counter = counter + 1 end
  if counter > greatest then return redis.error_reply(ahead) end
  for i = resources + 1, last do
    local set = redis.pcall('SET', KEYS[i], whole(counter), 'PX', ARGV[4])
    if set['err'] then return set end
  end
end
for i = 1, resources do
  local set = redis.pcall('SET', KEYS[i], ARGV[1], mode[i], 'PX', ARGV[2])
  if set and set['err'] then return set end
end
-- This writer was refused before.
if intent > 0 then redis.pcall('DEL', KEYS[#KEYS]) end
return { follows and -7 or -3, now, counter }

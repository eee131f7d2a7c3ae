-- Takes all locks, or none if another holds any of them.
-- KEYS: the resources, then their fencing counters, then the marker of the restart guard, then the waiters.
-- ARGV: 1 token, 2 ttl in ms; or these and 3 how many of KEYS are resources, 4 for how long a counter is kept in ms (0: no
-- fencing), 5 the longest ttl in use in ms (0: no restart guard), 6 whether to yield to those who wait already (1: yes),
-- 7 whether to stand in line also when granted (1: yes), 8 the channel on which the asking process is woken (empty: it does
-- not wait), from 9 on the tokens of the predecessors of the first resources, if there are any.
-- Answers { verdict, TIME in us (0: not permitted, or not asked for a successor), counter or rest of the quarantine in ms }. Verdict: -3 when all keys
-- hold this token now, -7 when so they do and were the predecessor's until now, -5 in quarantine, -6 when they are free but
-- another waiter comes first, else the greatest remaining ttl in ms of those that another holds, as PTTL gives it (-1: none,
-- which is the greatest).
-- Servers before 7.0 may be set up to refuse writes after commands such as TIME, unless a script says this.
if redis.replicate_commands then redis.replicate_commands() end
local resources, retention, longest = tonumber(ARGV[3]) or #KEYS, tonumber(ARGV[4]) or 0, tonumber(ARGV[5]) or 0
local last, waiters, channel, follows = #KEYS, false, ARGV[8] or '', ARGV[9] ~= nil
-- A lock that goes on within a process needs none, unless it is counted.
local is_timeless = follows and channel == '' and retention + longest == 0
local time = is_timeless and { 0, 0 } or redis.pcall('TIME')
local now = time['err'] and 0 or time[1] * 1000000 + time[2]
if time['err'] and retention + longest > 0 then return time end
local whole = function(number) return string.format('%.0f', number) end

if channel ~= '' then
  waiters = KEYS[last]
  last = last - 1
end

local since = 0
if longest > 0 then
  -- Another run of the server may have forgotten locks, all of them or the latest: nobody can tell.
  local marker = KEYS[last]
  last = last - 1
  local info, held = redis.pcall('INFO', 'server'), read(marker)
  if type(info) == 'table' then return info end
  if type(held) == 'table' then return held end
  local run = string.match(info, 'run_id:(%x+)')
  if not run or string.match(run, '^0+$') then return redis.error_reply('ERR the server tells no run_id') end
  local of, kept, begun = string.match(held or '', '^(%x+) (%d+) (%d+)$')
  since = tonumber(begun or 0)
  if held and not of then return redis.error_reply('GUARD the marker of the restart guard holds something else') end
  if of and tonumber(kept) ~= longest then
    return redis.error_reply('GUARD the restart guard was set up here for ttls up to ' .. kept .. ' ms, not ' .. ARGV[5])
  end
  -- One that begins in the future is of before the clock went back.
  if of ~= run or since > now then
    since = now
    local set = redis.pcall('SET', marker, run .. ' ' .. ARGV[5] .. ' ' .. whole(since))
    if set['err'] then return set end
  end
  local left = since + longest * 1000 - now
  if left > 0 then return { -5, now, math.ceil(left / 1000) } end
end

local refused, is_new, mode = false, false, {}
for i = 1, resources do
  local held = read(KEYS[i])
  if type(held) == 'table' then return held end
  -- A key that is ours was set by a request that the client sent again after it lost the answer. NX leaves it as it is,
  -- and is a write all the same: a replica, to which our key was copied, must not grant.
  mode[i] = 'NX'
  if not held then is_new, follows = true, false
  elseif held == ARGV[1] then follows = false
  elseif held == ARGV[8 + i] then is_new, mode[i] = true, 'XX'
  else
    local remaining = redis.call('PTTL', KEYS[i])
    if not refused or remaining == -1 or (refused ~= -1 and remaining > refused) then refused = remaining end
  end
end
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
if refused then return { refused, now } end

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
return { follows and -7 or -3, now, counter }

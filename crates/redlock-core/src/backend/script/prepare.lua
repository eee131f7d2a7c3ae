-- What both acquires begin with: the arguments, the time, and the restart guard.
-- KEYS: the resources, then their fencing counters, then the marker of the restart guard, then the waiters, then the
-- intents of writers.
-- ARGV: 1 token, 2 ttl in ms; or these and 3 how many of KEYS are resources, 4 for how long a counter is kept in ms (0: no
-- fencing), 5 the longest ttl in use in ms (0: no restart guard), 6 whether to yield to those who wait already (1: yes),
-- 7 whether to stand in line also when granted (1: yes), 8 the lifetime of an intent in ms (0: there are no intents among
-- KEYS), 9 the channel on which the asking process is woken (empty: it does not wait), from 10 on the tokens of the
-- predecessors of the first resources, if there are any.
-- Answers { verdict, TIME in us (0: not permitted, or not asked for a successor), counter, rest of the quarantine in ms, or 1 where readers hold }. Verdict: -3 when all keys
-- hold this token now, -7 when so they do and were the predecessor's until now, -5 in quarantine, -6 when they are free but
-- another waiter comes first, else the greatest remaining ttl in ms of those that another holds, as PTTL gives it (-1: none,
-- which is the greatest).
-- Servers before 7.0 may be set up to refuse writes after commands such as TIME, unless a script says this.
if redis.replicate_commands then redis.replicate_commands() end
local resources, retention, longest = tonumber(ARGV[3]) or #KEYS, tonumber(ARGV[4]) or 0, tonumber(ARGV[5]) or 0
local last, waiters, channel, follows = #KEYS, false, ARGV[9] or '', ARGV[10] ~= nil
-- A lock that goes on within a process needs none, unless it is counted.
local is_timeless = follows and channel == '' and retention + longest == 0
local time = is_timeless and { 0, 0 } or redis.pcall('TIME')
local now = time['err'] and 0 or time[1] * 1000000 + time[2]
if time['err'] and retention + longest > 0 then return time end
local whole = function(number) return string.format('%.0f', number) end
local intent = tonumber(ARGV[8]) or 0
if intent > 0 then last = last - resources end
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


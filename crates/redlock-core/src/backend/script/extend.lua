-- Prolongs all locks, and sets those again that the node lost; none if another holds any of them.
-- KEYS: the resources, then their fencing counters.
-- ARGV: 1 token, 2 ttl in ms; or these and 3 how many of KEYS are resources, 4 for how long a counter is kept in ms, 5 the
-- fencing token.
-- Answers { verdict, TIME in us (0: not permitted) }. Verdict: -3 extended, -4 if any was set again, else the greatest
-- remaining ttl in ms of those that another holds, as PTTL gives it (-1: none, which is the greatest).
-- Servers before 7.0 may be set up to refuse writes after commands such as TIME, unless a script says this.
if redis.replicate_commands then redis.replicate_commands() end
local resources = tonumber(ARGV[3]) or #KEYS
local time = redis.pcall('TIME')
local now = time['err'] and 0 or time[1] * 1000000 + time[2]

local refused = false
for i = 1, resources do
  local held = read(KEYS[i], true)
  if type(held) == 'table' then return held end
  if held and held ~= ARGV[1] then
    local remaining = redis.call('PTTL', KEYS[i])
    if not refused or remaining == -1 or (refused ~= -1 and remaining > refused) then refused = remaining end
  end
end
if refused then return { refused, now } end

for i = resources + 1, #KEYS do
  -- A counter that the node lost begins above all that were counted before, which may be more than ours; one that is
  -- behind must not be the start of a smaller token.
  local kept = read(KEYS[i])
  if type(kept) == 'table' then return kept end
  if kept and not string.match(kept, '^%d+$') then return redis.error_reply('ERR a fencing counter is no number') end
  local counter = math.max(tonumber(kept or now), tonumber(ARGV[5]))
  -- As for a grant: the clock of another node must not leave this one no room to count.
  if now > 0 and counter > now + 3155760000000000 then
    return redis.error_reply('ERR a fencing counter is more than 100 years ahead of the clock')
  end
  local set = redis.pcall('SET', KEYS[i], string.format('%.0f', counter), 'PX', ARGV[4])
  if set['err'] then return set end
end

local answer = -3
for i = 1, resources do
  -- -2: the key is absent.
  local remaining = redis.call('PTTL', KEYS[i])
  if remaining == -2 then answer = -4 end
  -- Never shortens: an extend that was delayed must not undo a later one.
  if remaining < tonumber(ARGV[2]) then
    local set = redis.pcall('SET', KEYS[i], ARGV[1], 'PX', ARGV[2])
    if set['err'] then return set end
  end
end
return { answer, now }

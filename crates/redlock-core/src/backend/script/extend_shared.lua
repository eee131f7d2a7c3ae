-- Prolongs all locks of a reader, and adds it again where the node lost it; none if a writer holds any of them. A key that
-- holds the token as a writer becomes the reader's, with the ttl that is left: a writer that is a reader from now on.
-- KEYS: the resources. ARGV: 1 token, 2 ttl in ms.
-- Answers { verdict, TIME in us }. Verdict: -3 extended, -4 if any was added again, else the greatest remaining ttl in ms of
-- those that a writer holds, as PTTL gives it (-1: none, which is the greatest).
-- Servers before 7.0 may be set up to refuse writes after commands such as TIME, unless a script says this.
if redis.replicate_commands then redis.replicate_commands() end
local time = redis.pcall('TIME')
if time['err'] then return time end
local now = time[1] * 1000000 + time[2]
local whole = function(number) return string.format('%.0f', number) end

local refused, found = false, {}
for i = 1, #KEYS do
  local held = read(KEYS[i], true)
  if type(held) == 'table' then return held end
  found[i] = held
  if held and held ~= true and held ~= ARGV[1] then
    local remaining = redis.call('PTTL', KEYS[i])
    if not refused or remaining == -1 or (refused ~= -1 and remaining > refused) then refused = remaining end
  end
end
if refused then return { refused, now } end

local answer = -3
for i = 1, #KEYS do
  local key, ends = KEYS[i], now + ARGV[2] * 1000
  if found[i] == true then
    redis.pcall('ZREMRANGEBYSCORE', key, '-inf', '(' .. whole(now))
    local before = redis.pcall('ZSCORE', key, ARGV[1])
    if type(before) == 'table' then return before end
    if not before then answer = -4 end
    -- Never shortens: an extend that was delayed must not undo a later one.
    ends = math.max(ends, tonumber(before or 0))
  elseif found[i] then
    ends = math.max(ends, now + redis.call('PTTL', key) * 1000)
    -- Before the key is deleted: whether the set that takes its place can be made. The error is that of the type.
    for _, may in ipairs({ redis.pcall('ZADD', key, 'XX', '0', ARGV[1]), redis.pcall('ZRANGE', key, 0, 0) }) do
      if type(may) == 'table' and may['err'] and not string.find(may['err'], 'WRONGTYPE', 1, true) then return may end
    end
    local may = redis.pcall('PEXPIREAT', key, string.format('%.0f', math.ceil(ends / 1000)))
    if type(may) == 'table' then return may end
    local deleted = redis.pcall('DEL', key)
    if type(deleted) == 'table' then return deleted end
  else
    answer = -4
  end
  local set = redis.pcall('ZADD', key, whole(ends), ARGV[1])
  if type(set) == 'table' then return set end
  local kept = expire(key)
  if type(kept) == 'table' then
    -- Nothing that never expires is left behind.
    if found[i] ~= true then redis.pcall('DEL', key) end
    return kept
  end
end
return { answer, now }

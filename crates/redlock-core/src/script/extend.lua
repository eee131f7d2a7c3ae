-- Prolongs all locks, and sets those again that the node lost; none if another holds any of them. KEYS resources,
-- ARGV[1] token, ARGV[2] ttl in ms.
-- Answers -3 extended, -4 if any was set again, else the greatest remaining ttl in ms of those that another holds, as
-- PTTL gives it (-1: none, which is the greatest).
local refused = false
for _, key in ipairs(KEYS) do
  local held = redis.pcall('GET', key)
  if type(held) == 'table' then return held end
  if held and held ~= ARGV[1] then
    local remaining = redis.call('PTTL', key)
    if not refused or remaining == -1 or (refused ~= -1 and remaining > refused) then refused = remaining end
  end
end
if refused then return refused end
local answer = -3
for _, key in ipairs(KEYS) do
  -- -2: the key is absent.
  local remaining = redis.call('PTTL', key)
  if remaining == -2 then answer = -4 end
  -- Never shortens: an extend that was delayed must not undo a later one.
  if remaining < tonumber(ARGV[2]) then
    local set = redis.pcall('SET', key, ARGV[1], 'PX', ARGV[2])
    if set['err'] then return set end
  end
end
return answer

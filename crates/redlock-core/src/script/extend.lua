-- Prolongs the lock, or sets it again on a node that lost it. KEYS[1] resource, ARGV[1] token, ARGV[2] ttl in ms.
-- Answers -3 extended, -4 healed, else the holder's remaining ttl in ms as PTTL gives it (-1: none).
local held = redis.pcall('GET', KEYS[1])
if type(held) == 'table' then return held end
if held then
  local remaining = redis.call('PTTL', KEYS[1])
  if held ~= ARGV[1] then return remaining end
  -- Never shortens: an extend that was delayed must not undo a later one.
  if remaining >= tonumber(ARGV[2]) then return -3 end
end
local set = redis.pcall('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if set['err'] then return set end
if held then return -3 end
return -4

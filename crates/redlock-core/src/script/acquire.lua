-- Takes the lock if nobody holds it. KEYS[1] resource, ARGV[1] token, ARGV[2] ttl in ms.
-- Answers -3 when the key now holds this token, else the holder's remaining ttl in ms as PTTL gives it (-1: none).
local set = redis.pcall('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])
if set then
  if set['err'] then return set end
  return -3
end
local held = redis.pcall('GET', KEYS[1])
if type(held) == 'table' then return held end
-- Our own token: this is a request that the client sent again after it lost the answer.
if held == ARGV[1] then return -3 end
return redis.call('PTTL', KEYS[1])

-- Prolongs the lock, or sets it again on a node that lost it. KEYS[1] resource, ARGV[1] token, ARGV[2] ttl in ms.
-- Answers -2 extended, -3 healed, else the holder's remaining ttl in ms as PTTL gives it (-1: none).
local held = redis.pcall('GET', KEYS[1])
if type(held) == 'table' then return held end
if held and held ~= ARGV[1] then return redis.call('PTTL', KEYS[1]) end
local set = redis.pcall('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if set['err'] then return set end
if held then return -2 end
return -3

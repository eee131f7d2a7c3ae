-- Tells what the node holds and changes nothing. KEYS[1] resource.
-- Answers nil, or the value (the beginning of one that is longer than a token) and its remaining ttl in ms as PTTL gives it (-1: none).
local held = read(KEYS[1])
if type(held) == 'table' then return held end
if not held then return false end
return { held, redis.call('PTTL', KEYS[1]) }

-- Deletes the lock if it is ours. KEYS[1] resource, ARGV[1] token.
-- Answers 1 released, 0 not held.
local held = redis.pcall('GET', KEYS[1])
if type(held) == 'table' then return held end
if held ~= ARGV[1] then return 0 end
return redis.pcall('DEL', KEYS[1])

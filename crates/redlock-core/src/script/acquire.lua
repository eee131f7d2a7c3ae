-- Takes all locks, or none if another holds any of them. KEYS resources, ARGV[1] token, ARGV[2] ttl in ms.
-- Answers -3 when all keys now hold this token, else the greatest remaining ttl in ms of those that another holds, as
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
for _, key in ipairs(KEYS) do
  -- A key that is ours was set by a request that the client sent again after it lost the answer. NX leaves it as it is,
  -- and is a write all the same: a replica, to which our key was copied, must not grant.
  local set = redis.pcall('SET', key, ARGV[1], 'NX', 'PX', ARGV[2])
  if set and set['err'] then return set end
end
return -3

-- Reads a key, but at most one byte more than the longest token has: whatever else is stored under the name may be huge.
-- Answers false if the key is absent, or the error.
local function read(key)
  local value = redis.pcall('GETRANGE', key, 0, 105)
  if value == '' and redis.pcall('PTTL', key) == -2 then return false end
  return value
end

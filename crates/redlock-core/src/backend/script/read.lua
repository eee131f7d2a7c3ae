-- Reads a key, but at most one byte more than the longest token has: whatever else is stored under the name may be huge.
-- Answers false if the key is absent, or the error; of a lock, true if readers share it.
local function read(key, is_lock)
  local value = redis.pcall('GETRANGE', key, 0, 105)
  if value == '' and redis.pcall('PTTL', key) == -2 then return false end
  if is_lock and type(value) == 'table' then
    -- A sorted set of tokens that expires. What else is there is somebody else's.
    local last = redis.pcall('ZRANGE', key, -1, -1)[1] or ''
    local digits = string.match(last, '^[0-9a-f]+') or ''
    local is_token = #digits == 40 and (#last == 40 or string.sub(last, 41, 41) == ':')
    if is_token and redis.call('PTTL', key) >= 0 then return true end
  end
  return value
end

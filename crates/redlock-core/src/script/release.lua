-- Deletes the locks that are ours. KEYS resources, ARGV[1] token.
-- Answers 1 if all of them were ours, 0 if not. One that cannot be deleted keeps none of the others.
local released, failed = 1, false
for _, key in ipairs(KEYS) do
  local held = redis.pcall('GET', key)
  if type(held) == 'table' then
    failed = held
  elseif held ~= ARGV[1] then
    released = 0
  else
    local deleted = redis.pcall('DEL', key)
    if type(deleted) == 'table' then failed = deleted elseif deleted == 0 then released = 0 end
  end
end
return failed or released

-- Takes all locks for one holder, or none if another holds any of them: another writer, or readers.
-- An intent, for one resource only: where readers refuse, it keeps new ones out until this writer asks again.
local refused, is_new, mode, by_readers = false, false, {}, 0
for i = 1, resources do
  local held = read(KEYS[i], true)
  if type(held) == 'table' then return held end
  -- A key that is ours was set by a request that the client sent again after it lost the answer. NX leaves it as it is,
  -- and is a write all the same: a replica, to which our key was copied, must not grant.
  mode[i] = 'NX'
  if not held then is_new, follows = true, false
  elseif held == ARGV[1] then follows = false
  elseif held == ARGV[9 + i] then is_new, mode[i] = true, 'XX'
  else
    -- Readers hold it until the key expires, with the last of them.
    local remaining = redis.call('PTTL', KEYS[i])
    if held == true then
      by_readers = 1
      -- It does not sleep past the last reader.
      if intent > 0 and remaining > 0 then intent = math.min(intent, 2 * remaining) end
      if intent > 0 then
        -- With the token, so that its release takes back no other.
        redis.pcall('SET', KEYS[#KEYS], 'writer:' .. string.sub(ARGV[1], 1, 40), 'PX', whole(intent))
      end
    end
    if not refused or remaining == -1 or (refused ~= -1 and remaining > refused) then refused = remaining end
  end
end

-- Tells what the node holds and changes nothing. KEYS[1] resource. ARGV: nothing, or 1 a token that comes first if it is a
-- reader's.
-- Answers nil, or the value (the beginning of one that is longer than a token) and its remaining ttl in ms as PTTL gives it
-- (-1: none). Of a shared lock, instead of the value a line for each of the last 100 readers, with what is left of its ttl
-- in ms and its token; and behind the remaining ttl of the key how many readers there are.
local held = read(KEYS[1], true)
if type(held) == 'table' then return held end
if not held then return false end
if held ~= true then return { held, redis.call('PTTL', KEYS[1]) } end
local time = redis.pcall('TIME')
if time['err'] then return time end
local now = time[1] * 1000000 + time[2]
local whole = function(number) return string.format('%.0f', number) end
local lines, wanted = {}, ARGV[1] or ''
local tell = function(member, score)
  local left = score - now
  if left >= 0 then lines[#lines + 1] = whole(math.floor(left / 1000)) .. ' ' .. member end
end
local first = redis.pcall('ZSCORE', KEYS[1], wanted)
if type(first) == 'table' then return first end
if first then tell(wanted, first) end
local readers = redis.pcall('ZRANGE', KEYS[1], '+inf', whole(now), 'BYSCORE', 'REV', 'LIMIT', 0, 100, 'WITHSCORES')
if readers['err'] then return readers end
for i = 1, #readers, 2 do
  if readers[i] ~= wanted then tell(readers[i], readers[i + 1]) end
end
local count = redis.pcall('ZCOUNT', KEYS[1], whole(now), '+inf')
if type(count) == 'table' then return count end
if count == 0 then return false end
return { table.concat(lines, '\n'), redis.call('PTTL', KEYS[1]), count }

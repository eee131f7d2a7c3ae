-- Takes a slot of a semaphore as ACQUIRE takes a lock, unless another number of permits is in use.
-- KEYS: as of ACQUIRE for one resource, and the number of permits behind them. ARGV: 1 to 8 as of ACQUIRE, 9 how many
-- permits there are, 10 where to begin to look for free slots, 11 the channel.
-- Answers as ACQUIRE does; or { -8, 0, the other number of permits }; or if the slot is held an array of a text and
-- whether all free slots are in it (1: yes). The text: the shortest remaining ttl in ms of the slots that it looked at
-- one by one (negative: none), TIME in us, and up to 64 free slots. It looks at each slot once, or twice behind the
-- first 256.
local count, permits = KEYS[#KEYS], tonumber(ARGV[9])
local others, kept = other(count, ARGV[9])
if others ~= 0 then return type(others) == 'table' and others or { -8, 0, others } end
local keys, argv = { unpack(KEYS, 1, #KEYS - 1) }, { unpack(ARGV, 1, 8) }
argv[9] = ARGV[11]
local answer = acquire(keys, argv)
if answer['err'] or answer[1] < -3 then return answer end
if answer[1] == -3 then return keep(count, ARGV[9], kept, ARGV[2]) or answer end
-- Of many slots, those behind the first 256 are asked for in groups: most groups are held.
local slot, shortest, free, offset, size = slots(count), -1, {}, tonumber(ARGV[10]), 64
for first = 0, permits - 1, size do
  local numbers, names = {}, {}
  for i = first, math.min(first + size, permits) - 1 do
    local number = (offset + i) % permits
    numbers[#numbers + 1], names[#names + 1] = number, slot .. number
  end
  if first < 256 or redis.call('EXISTS', unpack(names)) < #names then
    for i = 1, #names do
      local left = redis.call('PTTL', names[i])
      if left == -2 then
        free[#free + 1] = numbers[i]
      elseif left >= 0 and (shortest < 0 or left < shortest) then
        shortest = left
      end
    end
  end
  if #free >= 64 then break end
end
local is_complete = #free < 64
for i = 65, #free do free[i] = nil end
return { shortest .. ' ' .. string.format('%.0f', answer[2]) .. ' ' .. table.concat(free, ' '), is_complete and 1 or 0 }

-- Extends a slot of a semaphore as EXTEND does a lock, unless another number of permits is in use: it is lost then.
-- KEYS: as of EXTEND for one resource, and the number of permits behind them. ARGV: 1 to 5 as of EXTEND, 6 how many
-- permits there are. Answers as EXTEND does.
local count = KEYS[#KEYS]
local others, kept = other(count, ARGV[6])
if others ~= 0 then return type(others) == 'table' and others or { -1, 0 } end
local answer = extend({ unpack(KEYS, 1, #KEYS - 1) }, ARGV)
if answer['err'] or answer[1] > -3 then return answer end
return keep(count, ARGV[6], kept, ARGV[2]) or answer

-- Opens a new node without a quarantine: plants the marker of the restart guard. KEYS[1] marker, ARGV[1] the longest ttl in
-- use in ms.
-- Answers 1, and 0 where a marker is already.
local info, held = redis.pcall('INFO', 'server'), redis.pcall('GET', KEYS[1])
if type(info) == 'table' then return info end
if type(held) == 'table' then return held end
if held then return 0 end
local run = string.match(info, 'run_id:(%x+)')
if not run then return redis.error_reply('ERR the server tells no run_id') end
local set = redis.pcall('SET', KEYS[1], run .. ' ' .. ARGV[1] .. ' 0')
if set['err'] then return set end
return 1

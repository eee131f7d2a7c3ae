-- Opens a new node without a quarantine: plants the marker of the restart guard. KEYS[1] marker.
-- ARGV: 1 the longest ttl in use in ms, 2 which run of the server is to be opened; none to ask only.
-- Answers { run of the server, 1 }, or 0 behind it where a marker is already. A server that was started anew since it was
-- asked is not opened: it may have forgotten locks.
-- Servers before 7.0 may be set up to refuse writes after commands such as TIME, unless a script says this.
if redis.replicate_commands then redis.replicate_commands() end
local info, held = redis.pcall('INFO', 'server'), read(KEYS[1])
if type(info) == 'table' then return info end
if type(held) == 'table' then return held end
local run = string.match(info, 'run_id:(%x+)')
if not run or string.match(run, '^0+$') then return redis.error_reply('ERR the server tells no run_id') end
if held then return { run, 0 } end
if ARGV[2] then
  if ARGV[2] ~= run then return redis.error_reply('GUARD the server was started anew meanwhile') end
  local set = redis.pcall('SET', KEYS[1], run .. ' ' .. ARGV[1] .. ' 0')
  if set['err'] then return set end
end
return { run, 1 }

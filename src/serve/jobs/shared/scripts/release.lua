-- What this process has taken waits again, as if it had not begun: its lease is over.
local me = ARGV[1]
local pending = redis.pcall('XPENDING', jobs, group, '-', '+', 1000, me)
if pending.err then return 0 end
for _, one in ipairs(pending) do
  local entry = one[1]
  local found = redis.call('XRANGE', jobs, entry, entry)[1]
  if found then
    local id = found[2][2]
    local own = redis.call('HMGET', job(id), 'status', 'consumer', 'attempts', 'expires')
    if own[1] == 'running' and own[2] == me then
      move(id, 'queued', own[4])
      redis.call('HSET', job(id), 'status', 'queued', 'attempts', math.max(tonumber(own[3]) - 1, 0))
    end
    redis.call('XCLAIM', jobs, group, me, 0, entry, 'IDLE', 86400000, 'JUSTID')
  end
end
return #pending

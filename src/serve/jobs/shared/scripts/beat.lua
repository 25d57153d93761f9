-- Who works on a job says so, or is told that it is not its own any more: 'on' or 'off'.
local id, entry, me, done = unpack(ARGV)
local found = redis.call('HMGET', job(id), 'status', 'consumer', 'done')
if found[1] == 'running' and found[2] == me then
  redis.pcall('XCLAIM', jobs, group, me, 0, entry, 'JUSTID')
  if found[3] ~= done then
    redis.call('ZREM', of('queued'), id)
    redis.call('HSET', job(id), 'done', done)
  end
  return 'on'
end
-- What the server lost comes back from its replica, and what waits again can be ended by whoever has done it.
if found[1] == 'queued' or not found[1] then return 'on' end
return 'off'

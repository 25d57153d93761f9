-- Ends a job, once: 'ended', or what it is. Field and outcome are a result or an error.
local id, entry, me, status, field, outcome = unpack(ARGV)
local found = redis.call('HMGET', job(id), 'status', 'consumer', 'expires', 'entry')
if not open(found[1]) then
  leave(entry)
  return found[1] or 'missing'
end
if found[1] == 'running' and found[2] ~= me then return 'running' end
move(id, status, found[3])
redis.call('HDEL', job(id), 'body', 'wait')
redis.call('HSET', job(id), 'status', status, 'finished', now(), field, outcome)
leave(entry)
if found[4] ~= entry then leave(found[4]) end
return 'ended'

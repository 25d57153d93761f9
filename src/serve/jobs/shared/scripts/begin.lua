-- Begins a job: 'begun' with attempts, times and body; 'held' if it has to wait, since it was there again and again
-- when a process ended; 'gone' if there is nothing to do.
local id, entry, me, free, longest = unpack(ARGV)
local found = redis.call('HMGET', job(id), 'status', 'expires', 'attempts', 'wait', 'entry', 'created', 'body')
local status, expires, attempts, wait = found[1], tonumber(found[2]), tonumber(found[3]), tonumber(found[4])
local time = now()
if not open(status) or found[5] ~= entry or not found[7] or expires <= time then
  leave(entry)
  return {'gone'}
end
local more = attempts - tonumber(free)
if status == 'running' and more > 0 then
  if not wait then
    wait = time + math.min(1000 * 2 ^ math.min(more, 16), tonumber(longest))
    move(id, 'running', expires)
    redis.call('HSET', job(id), 'wait', wait)
  end
  if time < wait then return {'held'} end
end
move(id, 'running', expires)
redis.call('HSET', job(id), 'status', 'running', 'started', time, 'attempts', attempts + 1, 'consumer', me, 'done', 0)
redis.call('HDEL', job(id), 'wait')
return {'begun', tostring(attempts + 1), found[6], found[2], string.format('%.0f', time), found[7]}

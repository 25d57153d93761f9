-- Gives back a job that the server has lost: 'restored', 'expired', or the status that it has there.
local id, status, created, started, finished, expires, total, owner, key, hash, field, value = unpack(ARGV)
if tonumber(expires) <= now() then return 'expired' end
local there = redis.call('HGET', job(id), 'status')
if there then return there end
redis.call('HSET', job(id), 'status', status, 'created', created, 'expires', expires, 'total', total,
  'attempts', 0, 'owner', owner, 'key', key, field, value)
if started ~= '' then redis.call('HSET', job(id), 'started', started) end
if finished ~= '' then redis.call('HSET', job(id), 'finished', finished) end
if key ~= '' and hash ~= '' and redis.call('EXISTS', base .. 'key:' .. key) == 0 then
  redis.call('HSET', base .. 'key:' .. key, 'id', id, 'hash', hash)
end
if status == 'queued' then enter(id, expires) else move(id, status, expires) end
return 'restored'

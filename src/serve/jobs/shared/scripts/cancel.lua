-- Cancels a job of this owner that has not ended: whether it did.
local id, owner = unpack(ARGV)
local found = redis.call('HMGET', job(id), 'status', 'owner', 'expires', 'entry')
if not open(found[1]) or (found[2] ~= '' and found[2] ~= owner) or tonumber(found[3]) <= now() then return 0 end
move(id, 'cancelled', found[3])
redis.call('HDEL', job(id), 'body', 'wait')
redis.call('HSET', job(id), 'status', 'cancelled', 'finished', now())
leave(found[4])
return 1

-- Takes a job, unless its key is known: 'new', 'known' with the id, 'conflict', or 'full'.
local id, body, hash, created, expires, total, owner, key, most = unpack(ARGV)
-- Asked again, because the answer to the first time was lost.
if redis.call('EXISTS', job(id)) == 1 then return {'new', id} end
if key ~= '' then
  local known = redis.call('HMGET', base .. 'key:' .. key, 'id', 'hash')
  local ends = known[1] and redis.call('HGET', job(known[1]), 'expires')
  if ends and tonumber(ends) > now() then
    if known[2] ~= hash then return {'conflict', ''} end
    return {'known', known[1]}
  end
end
if redis.call('XLEN', jobs) >= tonumber(most) then return {'full', ''} end
redis.call('HSET', job(id), 'status', 'queued', 'created', created, 'expires', expires, 'total', total,
  'attempts', 0, 'owner', owner, 'key', key, 'body', body)
if key ~= '' then redis.call('HSET', base .. 'key:' .. key, 'id', id, 'hash', hash) end
enter(id, expires)
return {'new', id}

-- Makes the group, and gives back entries that the stream has lost.
redis.pcall('XGROUP', 'CREATE', jobs, group, '0', 'MKSTREAM')
local lost, time = 0, now()
for _, status in ipairs({'queued', 'running'}) do
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', of(status), time, '+inf')) do
    local found = redis.call('HMGET', job(id), 'status', 'entry', 'expires')
    if open(found[1]) and (not found[2] or #redis.call('XRANGE', jobs, found[2], found[2]) == 0) then
      enter(id, found[3])
      lost = lost + 1
    end
  end
end
return lost

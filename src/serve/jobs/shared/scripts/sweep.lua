-- Forgets jobs whose time is over, some at a time, and processes that have not been seen for an hour.
local time, gone = now(), 0
for _, status in ipairs(statuses) do
  -- Who works on one ends it by itself.
  local before = status == 'running' and time - 60000 or time
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', of(status), '-inf', before, 'LIMIT', 0, 500)) do
    local found = redis.call('HMGET', job(id), 'key', 'entry')
    local key = found[1] and found[1] ~= '' and base .. 'key:' .. found[1]
    if key and redis.call('HGET', key, 'id') == id then redis.call('DEL', key) end
    leave(found[2])
    redis.call('DEL', job(id))
    redis.call('ZREM', of(status), id)
    gone = gone + 1
  end
end
local consumers = redis.pcall('XINFO', 'CONSUMERS', jobs, group)
if not consumers.err then
  for _, consumer in ipairs(consumers) do
    local of_it = {}
    for place = 1, #consumer, 2 do of_it[consumer[place]] = consumer[place + 1] end
    if of_it.pending == 0 and of_it.idle > 3600000 then
      redis.call('XGROUP', 'DELCONSUMER', jobs, group, of_it.name)
    end
  end
end
return gone

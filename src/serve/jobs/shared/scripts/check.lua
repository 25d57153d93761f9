-- The statuses of these jobs, '' for one that is not there. One that has not ended must be in the stream, or nobody
-- would do it, and in the table of its status.
local answers, time = {}, now()
for place, id in ipairs(ARGV) do
  local found = redis.call('HMGET', job(id), 'status', 'entry', 'expires')
  local status, entry, expires = found[1], found[2], found[3]
  if open(status) and tonumber(expires) > time then
    if not entry or #redis.call('XRANGE', jobs, entry, entry) == 0 then
      -- A server that is full takes it later.
      pcall(enter, id, expires)
    elseif not redis.call('ZSCORE', of(status), id) then
      pcall(move, id, status, expires)
    end
  end
  answers[place] = status or ''
end
return answers

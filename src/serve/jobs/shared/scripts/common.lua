-- KEYS[1] is the stream; all other names follow from it. A script whose first write makes nothing larger may go on
-- to write when the server is full, so what was accepted can always be ended.
local jobs, group = KEYS[1], 'workers'
local base = string.sub(jobs, 1, -5)
local statuses = {'queued', 'running', 'completed', 'failed', 'cancelled'}

local function job(id) return base .. 'job:' .. id end
local function of(status) return jobs .. ':' .. status end

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function open(status) return status == 'queued' or status == 'running' end

-- The status of a job, in the tables that are counted and swept.
local function move(id, status, expires)
  for _, other in ipairs(statuses) do redis.call('ZREM', of(other), id) end
  redis.call('ZADD', of(status), expires, id)
end

-- An entry that nobody needs any more.
local function leave(entry)
  if entry then
    redis.call('XACK', jobs, group, entry)
    redis.call('XDEL', jobs, entry)
  end
end

-- A job waits for whoever comes first.
local function enter(id, expires)
  local entry = redis.call('XADD', jobs, '*', 'id', id)
  redis.call('HSET', job(id), 'status', 'queued', 'entry', entry)
  move(id, 'queued', expires)
end

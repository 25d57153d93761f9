-- KEYS[1] is the stream of the labels. Beside it is a set with a member for each prediction that has one: its UUID, and
-- time, class and name of the label. A UUID begins with its time, and all scores are the same, so that the order of the
-- members is that of the predictions. Before them is a mark, another one after each loss: who has given labels and
-- finds another mark gives them again, though others may have come back meanwhile. Neither key has a time of its own,
-- so a policy that evicts those alone (`volatile-lru`) evicts no label.
local labels, known = KEYS[1], KEYS[1] .. ':known'

-- What is known of labels that are not there any more would keep them from being given back.
if redis.call('EXISTS', labels) == 0 then redis.call('DEL', known) end

-- The label of a prediction: its member, time, class and name.
local function find(uuid)
  local member = redis.call('ZRANGEBYLEX', known, '[' .. uuid .. ' ', '(' .. uuid .. '!')[1]
  if member then return member, string.match(member, '^%x+ (%d+) (%d+) (.*)$') end
end

local function put(uuid, at, class, label, most, record)
  if redis.call('EXISTS', known) == 0 then
    local time = redis.call('TIME')
    redis.call('ZADD', known, 0, '!' .. time[1] .. '.' .. time[2])
  end
  redis.call('ZADD', known, 0, uuid .. ' ' .. at .. ' ' .. class .. ' ' .. label)
  redis.call('XADD', labels, 'MAXLEN', '~', most, '*', 'label', record)
end

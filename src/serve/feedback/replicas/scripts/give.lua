-- Takes labels that servers have accepted already. Of two of one prediction the first by time stands, and then the lower
-- class. For each: 'same' if it is there; 'there', with time, class and name, if one that was before it is; 'new' if it
-- was put there, or 'wanted' if it came without its record and would be.
local answers, most = {}, ARGV[1]
for place = 2, #ARGV, 5 do
  local uuid, at, class, label, record = unpack(ARGV, place, place + 4)
  local member, time, its, name = find(uuid)
  local before = member and (tonumber(time) - tonumber(at))
  if before == 0 then before = tonumber(its) - tonumber(class) end
  local answer
  if before == 0 then
    answer = {'same', time, its, name}
  elseif before and before < 0 then
    answer = {'there', time, its, name}
  elseif record == '' then
    answer = {'wanted', at, class, label}
  else
    if member then redis.call('ZREM', known, member) end
    put(uuid, at, class, label, most, record)
    answer = {'new', at, class, label}
  end
  table.insert(answers, answer)
end
return answers

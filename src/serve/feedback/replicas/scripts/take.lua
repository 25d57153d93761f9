-- Takes a label of a prediction that has none: 'new', 'known' if it has the same one, or 'other'; and the time of the one
-- that stands.
local most, uuid, at, class, label, record = unpack(ARGV)
local member, time, its = find(uuid)
if not member then
  put(uuid, at, class, label, most, record)
  return {'new', at}
end
return {its == class and 'known' or 'other', time}

-- Sends the bodies of a file, one a line, in turn; every thread begins at another place.
-- Counts the answers by status, and those without the headers that they must have.
local threads = {}

function setup(thread)
  thread:set("number", #threads)
  table.insert(threads, thread)
end

function init(args)
  bodies = {}
  for line in io.lines(args[1]) do
    bodies[#bodies + 1] = line
  end
  place = number * 7919 % #bodies
  headers = { ["Content-Type"] = "application/json" }
  if args[2] == "no-cache" then
    headers["Cache-Control"] = "no-cache"
  end
  ok, refused, wrong = 0, 0, 0
end

function request()
  place = place % #bodies + 1
  return wrk.format("POST", "/predict", headers, bodies[place])
end

function response(status, headers, body)
  if status == 200 then
    ok = ok + 1
  elseif status == 503 and (headers["retry-after"] or headers["Retry-After"]) then
    refused = refused + 1
  else
    wrong = wrong + 1
  end
end

function done(summary, latency, requests)
  local ok, refused, wrong = 0, 0, 0
  for _, thread in ipairs(threads) do
    ok = ok + thread:get("ok")
    refused = refused + thread:get("refused")
    wrong = wrong + thread:get("wrong")
  end
  local errors = summary.errors
  io.write(string.format(
    "RESULT {\"ok\": %d, \"refused\": %d, \"wrong\": %d, \"seconds\": %f, \"p50_ms\": %f, \"p99_ms\": %f, \"lost\": %d}\n",
    ok, refused, wrong, summary.duration / 1e6, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, errors.connect + errors.read + errors.write + errors.timeout
  ))
end

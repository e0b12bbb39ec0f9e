-- One POST after another, each with the next id of a file where its body says @ID@.

local function read(name)
  local file = assert(io.open(os.getenv(name), "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local body = read("BODY")
local from, to = body:find("@ID@", 1, true)
local head, tail = body:sub(1, from - 1), body:sub(to + 1)
local ids, asked = {}, 0
for id in read("IDS"):gmatch("%S+") do ids[#ids + 1] = id end

local threads = {}
function setup(thread) threads[#threads + 1] = thread end

local headers = { ["Content-Type"] = os.getenv("CONTENT_TYPE"), ["X-API-Key"] = os.getenv("API_KEY") }

function request()
  asked = asked + 1
  _G.asked = asked
  return wrk.format("POST", nil, headers, head .. (ids[asked] or ids[1]) .. tail)
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"answers": %d, "asked": %d, "seconds": %f, "p50": %f, "p95": %f, "p99": %f, "refused": %d, "broken": %d}\n',
    summary.requests, threads[1]:get("asked"), summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(95) / 1e3, latency:percentile(99) / 1e3,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end

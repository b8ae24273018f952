-- Sends each request of a file once, over the open connections, and counts the answers by status.
--
-- The file has for each request its length in ten digits and then its bytes. When it is used up,
-- or the time is over, no further request is sent, and once the last answer is in, wrk is ended:
-- so that each request that the server saw was answered, or is counted as lost.

local ffi = require("ffi")
ffi.cdef [[
  struct timeval_of_wrk { long seconds; long microseconds; };
  int gettimeofday(struct timeval_of_wrk *, void *);
  int getpid(void);
  int kill(int, int);
]]
local SIGINT = 2
local moment = ffi.new("struct timeval_of_wrk")

local function now()
  ffi.C.gettimeofday(moment, nil)
  return tonumber(moment.seconds) + tonumber(moment.microseconds) / 1e6
end

local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(arguments)
  file = assert(io.open(arguments[1], "rb"))
  limit = tonumber(arguments[2])
  is_over, sent, answered, succeeded, began, ended = false, 0, 0, 0, 0, 0
  local pause = tonumber(arguments[3])
  -- wrk asks for a pause only where this function is.
  if pause > 0 then delay = function() return pause end end
end

local function end_once_answered()
  if is_over and answered == sent then ffi.C.kill(ffi.C.getpid(), SIGINT) end
end

function request()
  -- wrk looks at a first request before it sends any.
  if not looked_at then
    looked_at = file:read(tonumber(file:read(10)))
    file:seek("set")
    return looked_at
  end
  local time = now()
  if began == 0 then began = time end
  local size = not is_over and time - began < limit and file:read(10)
  if not size then
    is_over = true
    -- With a pause the last answer may be in already.
    end_once_answered()
    -- An empty request: nothing is written, and the connection stays idle.
    return ""
  end
  sent = sent + 1
  return file:read(tonumber(size))
end

function response(status)
  answered = answered + 1
  ended = now()
  if status >= 200 and status < 300 then succeeded = succeeded + 1 end
  -- Without a pause the connections that became idle were asked for their next request by now.
  if ended - began >= limit then is_over = true end
  end_once_answered()
end

function done(summary, latency)
  local thread = threads[1]
  local errors = summary.errors
  io.write(string.format(
    '\n{"sent": %d, "answered": %d, "succeeded": %d, "seconds": %.6f, "lost": %d, ' ..
    '"median_us": %d, "p99_us": %d, "slowest_us": %d}\n',
    thread:get("sent"), thread:get("answered"), thread:get("succeeded"),
    thread:get("ended") - thread:get("began"),
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99), latency.max
  ))
end

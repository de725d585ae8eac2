-- The requests that wrk sends, for tests/bench/run. Arguments: a file with the request, in which @PATH@ stands for the path; the start
-- of every path; and the number of objects, asked for in random order, or 0 where every request asks for a new one.

local head, tail, prefix, objects
local requests, sent = {}, 0

function init(args)
    local file = assert(io.open(args[1], "rb"))
    local text = file:read("*a")
    file:close()
    local from, to = text:find("@PATH@", 1, true)
    head, tail, prefix, objects = text:sub(1, from - 1), text:sub(to + 1), args[2], tonumber(args[3])
    for i = 1, objects do
        requests[i] = head .. prefix .. i .. tail
    end
    math.randomseed(1)
end

function request()
    if objects > 0 then
        return requests[math.random(objects)]
    end
    sent = sent + 1
    return head .. prefix .. sent .. tail
end

function done(summary, latency)
    local e = summary.errors
    print(string.format('{"requests": %d, "bytes": %d, "us": %d, "errors": %d}', summary.requests, summary.bytes, summary.duration,
        e.connect + e.read + e.write + e.status + e.timeout))
end

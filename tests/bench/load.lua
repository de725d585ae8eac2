-- The requests that wrk sends, for tests/bench/run. Arguments: a file with requests, one behind the other, and how one of them is picked each
-- time: "uniform", "turn" (one after the other), or an exponent: the n-th is asked for in proportion to n^-exponent (Zipf). A file with one request, in which @N@ stands
-- for a number, asks for a new object every time. Last the ms that a connection waits after each answer; 0: none.

local requests, sums, in_turn, head, tail, sent = {}, nil, false, nil, nil, 0
local pause_ms

function init(args)
    pause_ms = tonumber(args[3])
    if pause_ms > 0 then
        delay = function() -- wrk's, which it asks for only where there is one
            return pause_ms
        end
    end
    local file = assert(io.open(args[1], "rb"))
    local text = file:read("*a")
    file:close()
    local from, to = text:find("@N@", 1, true)
    if from then
        head, tail = text:sub(1, from - 1), text:sub(to + 1)
        return
    end
    for one in text:gmatch(".-\r\n\r\n") do
        requests[#requests + 1] = one
    end
    in_turn = args[2] == "turn"
    if args[2] ~= "uniform" and not in_turn then
        sums = {}
        local sum = 0
        for i = 1, #requests do
            sum = sum + i ^ -tonumber(args[2])
            sums[i] = sum
        end
    end
    math.randomseed(1)
end

local function pick()
    if not sums then
        return math.random(#requests)
    end
    local wanted, low, high = math.random() * sums[#sums], 1, #sums
    while low < high do
        local middle = math.floor((low + high) / 2)
        if sums[middle] < wanted then
            low = middle + 1
        else
            high = middle
        end
    end
    return low
end

function request()
    sent = sent + 1
    if head then
        return head .. sent .. tail
    end
    if in_turn then
        return requests[sent % #requests + 1]
    end
    return requests[pick()]
end

function done(summary, latency)
    local e = summary.errors
    print(string.format('{"requests": %d, "bytes": %d, "us": %d, "errors": %d}', summary.requests, summary.bytes, summary.duration,
        e.connect + e.read + e.write + e.status + e.timeout))
end

-- wrk publishes 256-byte bodies over keep-alive connections:
--   wrk --threads 1 --connections 64 --duration 10s --latency --script scripts/publish.lua http://127.0.0.1:8080
-- Anything but 201 is counted and told at the end.

local head = '{"topic":"load-00000","payload":{"text":"'
local tail = '"}}'
local body = head .. string.rep("x", 256 - #head - #tail) .. tail

wrk.method = "POST"
wrk.path = "/api/v1/messages"
wrk.headers["Content-Type"] = "application/json"
wrk.body = body

local threads = {}

function setup(thread)
    table.insert(threads, thread)
end

function init(args)
    refused = 0
end

function response(status)
    if status ~= 201 then
        refused = refused + 1
    end
end

function done(summary)
    local sum = 0
    for _, thread in ipairs(threads) do
        sum = sum + thread:get("refused")
    end
    print(string.format("%d published, %d refused", summary.requests - sum, sum))
end

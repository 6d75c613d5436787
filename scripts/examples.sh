#!/usr/bin/env bash
# Shows that the examples in tests/data/seed-examples/ work against the server with their text unchanged: curl,
# Python with `websockets` and with `websocket-client`, JavaScript in Node with `ws` and in headless Chromium.
# The examples name port 8080, so that port must be free.
#
# Needs curl, python3 with venv, node with npm and chromium, which it installs where it may (Debian), and the
# package indexes of Python and Node on the first run.

source "$(dirname "$0")/lib.sh"

examples=tests/data/seed-examples
output=$work/examples
mkdir -p "$output"
started=()

clean_up() {
    if ((${#started[@]} > 0)); then
        kill "${started[@]}" 2>/dev/null || true
        wait "${started[@]}" 2>/dev/null || true
    fi
    # The browser's last processes may still write; what they leave is removed by the next run.
    rm -rf "$work"/chromium.* 2>/dev/null || true
    stop_server
}

# Runs a client in the background with its output in a file: start NAME COMMAND...
start() {
    local name=$1
    shift
    : >"$output/$name"
    "$@" >"$output/$name" 2>"$output/$name.errors" &
    started+=($!)
}

# Waits until a client has printed a line: expect NAME LINE
expect() {
    local deadline=$((SECONDS + 20))
    until grep -qF -- "$2" "$output/$1"; do
        ((SECONDS < deadline)) || fail "$1 did not print '$2' but: $(cat "$output/$1" "$output/$1.errors")"
        sleep 0.05
    done
    echo "$1: $2"
}

# Runs the lines of an example as a shell does: run_curl NAME
run_curl() {
    bash "$examples/$1" >"$output/$1" 2>"$output/$1.errors" || fail "$1: $(cat "$output/$1.errors")"
}

need_program curl curl
need_program npm npm
need_program nodejs node
node=$program
need_program chromium chromium chromium-browser google-chrome
chromium=$program
python_environment examples websockets==17.4 websocket-client==1.9.2
if [[ ! -d $work/node/node_modules/ws ]]; then
    npm install --silent --no-audit --no-fund --prefix "$work/node" ws@8.23.0 2>"$output/npm.errors" \
        || fail "npm: $(cat "$output/npm.errors")"
fi

if (exec 3<>/dev/tcp/127.0.0.1/8080) 2>/dev/null; then
    fail "port 8080 is taken, and the examples name it: stop what listens there"
fi
trap clean_up EXIT
# On the port that the examples name.
start_server --port 8080

run_curl health.sh
expect health.sh '"status":"healthy"'
expect health.sh '"ready":true'

start client.py "$python" -u "$examples/client.py"
start client.js "$node" -e 'globalThis.WebSocket = require(process.argv[1]); require(process.argv[2])' \
    "$PWD/$work/node/node_modules/ws" "$PWD/$examples/client.js"
start page "$python" scripts/examples_page.py "$examples/client.js"
expect page 'http://localhost:'
profile=$(mktemp -d "$PWD/$work/chromium.XXXXXX")
start chromium "$chromium" --headless --no-sandbox --disable-gpu --disable-quic --no-first-run \
    --disable-background-networking --disable-component-update --disable-sync \
    --disable-dev-shm-usage --user-data-dir="$profile" "$(head -n 1 "$output/page")"

expect client.py "Subscribed to: ['notifications']"
expect client.js "Subscribed to: [ 'notifications', 'alerts' ]"
expect page 'Subscribed to: ["notifications","alerts"]'

run_curl send-messages.sh
expect send-messages.sh '"topic":"notifications"'
expect send-messages.sh '"summary":{"total":2,"accepted":2,"rejected":0}'
expect client.py "Received: {'user_id': 123, 'message': 'Hello!'}"
expect client.js "Received message: { user_id: 123, message: 'Hello!' }"
expect page 'Received message: {"user_id":123,"message":"Hello!"}'

sed -n 's/^>>> //p' "$examples/websocket-client.txt" >"$output/websocket-client.py"
start websocket-client "$python" "$output/websocket-client.py"
expect websocket-client '"type":"subscribed"'

run_curl metrics.sh
expect metrics.sh 'proxy_messages_received_total{topic="notifications"} 1'
echo "all examples work"

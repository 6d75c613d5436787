#!/usr/bin/env bash
# What credentials and TLS cost: publishes with wrk to one server, plain and with TLS, with a limit, without a
# credential and with.
#   scripts/access-load.sh [SECONDS]   4 s a round by default
# Three rounds of each kind in turns, of which the median counts: CPU time of the server for each publication. Then
# handshakes, new and resumed, and memory for each idle connection.
# Wants wrk, openssl and python3; builds the release binary.

source "$(dirname "$0")/lib.sh"
source scripts/measure.sh

seconds="${1:-4}"
for program in wrk openssl python3; do
    command -v "$program" > /dev/null || fail "there is no $program"
done
cargo build --quiet --release

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost \
    -keyout "$folder/key.pem" -out "$folder/cert.pem" 2> /dev/null

# Starts a server with these flags beside its ports: sets pid, port and tls_port.
start_server() {
    port="$(free_port)"
    tls_port="$(free_port)"
    target/release/pulsar-proxy --port "$port" --tls-port "$tls_port" --tls-cert "$folder/cert.pem" \
        --tls-key "$folder/key.pem" --workers 2 "$@" 2> /dev/null &
    pid=$!
    pids+=("$pid")
    until_it_answers "http://127.0.0.1:$port/ready"
}

# Publishes to a URL, and prints CPU time for each publication in hundredths of a microsecond.
publish() {
    local url="$1" before requests
    shift
    before="$(cpu_micros "$pid")"
    requests="$(wrk --threads 2 --connections 64 --duration "${seconds}s" --script scripts/publish.lua "$@" "$url" |
        awk '/requests in/ { print $1 } /Non-2xx/ { print "refused" > "/dev/stderr"; exit 1 }')"
    echo $(((100 * ($(cpu_micros "$pid") - before)) / requests))
}

median() {
    sort --numeric-sort | sed -n 2p
}

secret="$(openssl rand -hex 32)"
key="$(openssl rand -hex 32)"
hash="$(printf %s "$key" | sha256sum | cut -d ' ' -f 1)"

start_server
open_pid=$pid open_port=$port open_tls=$tls_port
start_server --rate-limit-per-client 1000000000
limited_pid=$pid limited_port=$port
JWT_SECRET_KEY="$secret" start_server --api-keys "load:read+write:sha256:$hash"
token="$(JWT_SECRET_KEY="$secret" target/release/pulsar-proxy token make --subject load --permissions read,write)"
closed_pid=$pid closed_port=$port

echo "$(nproc) cores, $(date --iso-8601); two workers, 64 connections, $seconds s a round"
echo
for _ in 1 2 3; do
    pid=$open_pid
    publish "http://127.0.0.1:$open_port/api/v1/messages" >> "$folder/none"
    publish "https://127.0.0.1:$open_tls/api/v1/messages" >> "$folder/tls"
    pid=$limited_pid
    publish "http://127.0.0.1:$limited_port/api/v1/messages" >> "$folder/limit"
    pid=$closed_pid
    publish "http://127.0.0.1:$closed_port/api/v1/messages" --header "Authorization: Bearer $key" >> "$folder/key"
    publish "http://127.0.0.1:$closed_port/api/v1/messages" --header "Authorization: Bearer $token" >> "$folder/token"
done
none="$(median < "$folder/none")"
for kind in none limit key token tls; do
    value="$(median < "$folder/$kind")"
    awk -v kind="$kind" -v value="$value" -v none="$none" \
        'BEGIN { printf "%-6s %6.2f µs of CPU for each publication, %.2f times none\n", kind, value / 100, value / none }'
done

echo
pid=$open_pid
handshakes() {
    local before count
    before="$(cpu_micros "$pid")"
    count="$(openssl s_time -connect "127.0.0.1:$open_tls" -time "$seconds" "$@" 2> /dev/null |
        awk '/connections in .* real seconds/ { print $1 }')"
    echo $((($(cpu_micros "$pid") - before) / count))
}
echo "handshake in TLS 1.3, new:     $(handshakes -new -tls1_3) µs of CPU"
echo "handshake in TLS 1.2, new:     $(handshakes -new -tls1_2) µs of CPU"
echo "handshake in TLS 1.2, resumed: $(handshakes -reuse -tls1_2) µs of CPU"

echo
python3 - "$open_pid" "$open_port" "$open_tls" << 'PYTHON'
"""Memory for each idle connection: WebSockets after one message from the server."""
import base64, json, os, socket, ssl, sys

COUNT = 1000
pid, *ports = map(int, sys.argv[1:])


def rss():
    with open(f"/proc/{pid}/status") as status:
        line = next(line for line in status if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def connect(port, context):
    link = socket.create_connection(("127.0.0.1", port))
    if context:
        link = context.wrap_socket(link, server_hostname="localhost")
    key = base64.b64encode(os.urandom(16)).decode()
    link.sendall(
        f"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    read_until(link, b"\r\n\r\n")
    text = json.dumps({"type": "subscribe", "topics": ["idle"], "client_id": "idle"}).encode()
    link.sendall(bytes([0x81, 0x80 | len(text)]) + bytes(4) + text)
    read_until(link, b"subscribed")
    return link


def read_until(link, end):
    read = b""
    while end not in read:
        read += link.recv(4096)


context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
for name, port, context in [("plain", ports[0], None), ("TLS", ports[1], context)]:
    # What is taken once for all is taken before.
    held = [connect(port, context) for _ in range(50)]
    before = rss()
    held += [connect(port, context) for _ in range(COUNT)]
    print(f"idle WebSocket, {name}: {(rss() - before) / COUNT:.0f} bytes of resident memory")
    del held
PYTHON

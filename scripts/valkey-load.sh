#!/usr/bin/env bash
# Publishes through one or three instances to one Valkey on this machine, with wrk.
#   scripts/valkey-load.sh [SECONDS]   8 s a line by default
# For appendfsync everysec and always, and 1, 16, 64 and 256 connections: messages a second, latency, CPU time of
# the instance and of Valkey for each message, and how many publications one pipeline carried. Then the same over
# three instances, with 300 subscribers to each of them.
# Wants wrk, and valkey-server or redis-server; builds the release binary.

source "$(dirname "$0")/lib.sh"
source scripts/measure.sh

seconds="${1:-8}"
store="$(command -v valkey-server || command -v redis-server)" || fail "there is no valkey-server and no redis-server"
command -v wrk > /dev/null || fail "there is no wrk"
cargo build --quiet --release

metric() {
    curl --silent "http://127.0.0.1:$1/metrics" | awk -v name="$2" '$1 == name { print int($2) }'
}

start_store() {
    store_port="$(free_port)"
    mkdir -p "$folder/store"
    "$store" --port "$store_port" --dir "$folder/store" --save '' --appendonly yes --appendfsync "$1" \
        --maxmemory-policy noeviction > /dev/null &
    store_pid=$!
    pids+=("$store_pid")
}

start_instance() {
    port="$(free_port)"
    target/release/pulsar-proxy --port "$port" --workers 2 --storage-backend valkey --valkey-port "$store_port" \
        --max-messages-per-topic 100000 2> /dev/null &
    instance_pid=$!
    pids+=("$instance_pid")
    until_it_answers "http://127.0.0.1:$port/ready"
}

stop_all() {
    kill "${pids[@]}" 2> /dev/null || true
    wait "${pids[@]}" 2> /dev/null || true
    pids=()
    rm -rf "$folder/store"
}

# connections, port
run_wrk() {
    wrk --threads 1 --connections "$1" --duration "${seconds}s" --latency --script scripts/publish.lua \
        "http://127.0.0.1:$2"
}

echo "$("$store" --version | head -c 40), $(nproc) cores, $(date +%Y-%m-%d), ${seconds} s a line, 256-byte bodies"
echo "appendfsync  connections  messages/s  p50      p99      CPU proxy  CPU Valkey  in a pipeline"
for fsync in everysec always; do
    start_store "$fsync"
    start_instance
    for connections in 1 16 64 256; do
        proxy_before="$(cpu_micros "$instance_pid")"
        store_before="$(cpu_micros "$store_pid")"
        pipelines_before="$(metric "$port" proxy_valkey_pipelines_total)"
        run_wrk "$connections" "$port" > "$folder/wrk"
        messages="$(awk '/published,/ { print $1 }' "$folder/wrk")"
        refused="$(awk '/published,/ { print $3 }' "$folder/wrk")"
        [[ $refused == 0 ]] || fail "$refused publications were refused"
        pipelines="$(($(metric "$port" proxy_valkey_pipelines_total) - pipelines_before))"
        proxy="$(($(cpu_micros "$instance_pid") - proxy_before))"
        valkey="$(($(cpu_micros "$store_pid") - store_before))"
        awk -v fsync="$fsync" -v connections="$connections" -v messages="$messages" -v seconds="$seconds" \
            -v pipelines="$pipelines" -v proxy="$proxy" -v valkey="$valkey" '
            $1 == "50%" { p50 = $2 } $1 == "99%" { p99 = $2 }
            END {
                printf "%-11s  %11d  %10d  %-7s  %-7s  %6.1f us  %7.1f us  %.1f\n", fsync, connections,
                    messages / seconds, p50, p99, proxy / messages, valkey / messages, messages / pipelines
            }' "$folder/wrk"
    done
    stop_all
done

echo "one more instance that follows the topic, for one subscriber, 64 connections to the first:"
start_store everysec
start_instance
first="$port"
start_instance
follower="$instance_pid"
for readers in 0 1; do
    if [[ $readers == 1 ]]; then
        curl --silent --output /dev/null "http://127.0.0.1:$port/api/v1/stream?topics=load-00000&on_lag=skip" &
        pids+=("$!")
        for _ in $(seq 100); do
            [[ $(metric "$port" proxy_streams_active) -ge 1 ]] && break
            sleep 0.05
        done
    fi
    store_before="$(cpu_micros "$store_pid")"
    follower_before="$(cpu_micros "$follower")"
    run_wrk 64 "$first" > "$folder/wrk"
    messages="$(awk '/published,/ { print $1 }' "$folder/wrk")"
    awk -v readers="$readers" -v messages="$messages" -v seconds="$seconds" \
        -v valkey="$(($(cpu_micros "$store_pid") - store_before))" \
        -v follower="$(($(cpu_micros "$follower") - follower_before))" 'BEGIN {
            printf "%d subscribers: %d messages/s, CPU Valkey %.1f us, CPU of the follower %.1f us a message\n",
                readers, messages / seconds, valkey / messages, follower / messages
        }'
done
stop_all

echo "three instances, 64 connections to each, 300 subscribers of the topic at each:"
start_store everysec
ports=()
instances=()
for _ in 1 2 3; do
    start_instance
    ports+=("$port")
    instances+=("$instance_pid")
done
readers=()
for port in "${ports[@]}"; do
    for _ in $(seq 3); do
        # Curl reads a hundred streams at once.
        urls=()
        for _ in $(seq 100); do
            urls+=(--output /dev/null "http://127.0.0.1:$port/api/v1/stream?topics=load-00000&on_lag=skip")
        done
        curl --silent --no-progress-meter --parallel --parallel-immediate --parallel-max 100 "${urls[@]}" 2> /dev/null &
        readers+=("$!")
    done
done
pids+=("${readers[@]}")
for port in "${ports[@]}"; do
    for _ in $(seq 100); do
        [[ $(metric "$port" proxy_streams_active) -ge 300 ]] && break
        sleep 0.05
    done
done
delivered() {
    local sum=0
    for port in "${ports[@]}"; do
        sum=$((sum + $(curl --silent "http://127.0.0.1:$port/metrics" |
            awk '/^proxy_messages_delivered_total{topic="load-00000",delivery_type="sse"}/ { print int($2) }')))
    done
    echo "$sum"
}
runs=()
for index in 0 1 2; do
    run_wrk 64 "${ports[$index]}" > "$folder/wrk-$index" &
    runs+=("$!")
done
wait "${runs[@]}"
messages="$(awk '/published,/ { sum += $1 } END { print sum }' "$folder"/wrk-?)"
echo "$((messages / seconds)) messages/s published, $(($(delivered) / seconds)) deliveries/s"

# shellcheck shell=bash
# For scripts that measure servers which they start: sourced by them after lib.sh, run by nobody.
# Whatever stands in `pids` is ended with the script, and `folder` is gone.

folder="$(mktemp -d)"
pids=()
finish() {
    kill "${pids[@]}" 2> /dev/null || true
    wait 2> /dev/null || true
    rm -rf "$folder"
}
trap finish EXIT

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

until_it_answers() {
    for _ in $(seq 100); do
        curl --silent --fail --output /dev/null "$1" && return
        sleep 0.05
    done
    fail "$1 does not answer"
}

# User and system time of a process in microseconds.
cpu_micros() {
    awk -v tick="$(getconf CLK_TCK)" '{ print int(($14 + $15) * 1000000 / tick) }' "/proc/$1/stat"
}

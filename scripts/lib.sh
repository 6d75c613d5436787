# Shared by the scripts here, to be sourced: build, start and stop the server; Python environments.
# shellcheck shell=bash

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Everything the scripts install or write, outside of version control.
work=target/scripts
mkdir -p "$work"

fail() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

# Waits for a command to succeed: wait_for SECONDS WHAT COMMAND...
wait_for() {
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || fail "waited in vain for $what"
        sleep 0.05
    done
}

# Installs a Debian package unless one of its programs is there:
# need_program PACKAGE PROGRAM... Sets `program` to the first program found.
need_program() {
    local package=$1 as_root=() line="apt-get update && apt-get install -y $1"
    shift
    if ! program=$(command -v "$@" | head -n 1) || [[ -z $program ]]; then
        ((EUID == 0)) || as_root=(sudo -n)
        "${as_root[@]}" sh -c "$line" >"$work/install.log" 2>&1 \
            || fail "$package is needed; please run: sudo sh -c '$line'"
        program=$(command -v "$@" | head -n 1) || fail "$package did not bring $*"
    fi
}

# Installs the store of the Valkey tests unless one is there: Valkey where the distribution has it, else Redis.
# The tests start servers of their own, so what the package starts is stopped.
need_store() {
    local package=redis-server as_root=()
    command -v valkey-server redis-server >/dev/null && return
    ((EUID == 0)) || as_root=(sudo -n)
    "${as_root[@]}" apt-get update >"$work/install.log" 2>&1 || true
    [[ -z $(apt-cache madison valkey-server 2>/dev/null) ]] || package=valkey-server
    need_program "$package" valkey-server redis-server
    "${as_root[@]}" service "$package" stop >>"$work/install.log" 2>&1 || true
}

# Installs a balancer unless it is there: need_balancer PACKAGE PROGRAM. The tests start it themselves, so what the
# package starts is stopped.
need_balancer() {
    local package=$1 name=$2 as_root=()
    command -v "$name" >/dev/null && return
    need_program "$package" "$name"
    ((EUID == 0)) || as_root=(sudo -n)
    "${as_root[@]}" service "$name" stop >>"$work/install.log" 2>&1 || true
}

# Has cargo build static programs from here on, for the machine that it runs on.
build_static() {
    local target flags
    target=$(rustc -vV | sed -n 's/^host: //p')
    [[ $target == *-linux-gnu ]] || fail "a static program is built on Linux with the gnu toolchain, not on $target"
    # With a target named, the flags are for what is built for it: what runs while building (procedural macros) is
    # loaded by the compiler and can't be static.
    export CARGO_BUILD_TARGET=$target
    flags=CARGO_TARGET_$(tr 'a-z-' 'A-Z_' <<<"$target")_RUSTFLAGS
    # The second is for random numbers: their crate looks for the system call in a shared C library, and without one
    # would read /dev/random, which a bare container need not have.
    export "$flags=${!flags:-} -C target-feature=+crt-static --cfg getrandom_backend=\"linux_getrandom\""
}

# Prints the path of what was built so: static_program FOLDER, which is `release` or `debug`.
static_program() {
    local built=${CARGO_TARGET_DIR:-target}/$CARGO_BUILD_TARGET/$1/pulsar-proxy
    [[ $built == /* ]] || built=$PWD/$built
    echo "$built"
}

# Builds the static release server, or takes the program that PULSAR_PROXY names.
server_program() {
    if [[ -z ${PULSAR_PROXY:-} ]]; then
        scripts/build-static.sh
    else
        echo "$PULSAR_PROXY"
    fi
}

# Starts the server with the given arguments; sets server_pid and server_port.
start_server() {
    local binary
    binary=$(server_program)
    server_log=$work/server.log
    : >"$server_log"
    "$binary" "$@" 2>"$server_log" &
    server_pid=$!
    local deadline=$((SECONDS + 10))
    until server_port=$(grep -oEm1 '127\.0\.0\.1:[1-9][0-9]*' "$server_log" | cut -d: -f2) \
        && [[ -n $server_port ]]; do
        kill -0 "$server_pid" 2>/dev/null || fail "the server did not start: $(cat "$server_log")"
        ((SECONDS < deadline)) || fail "the server names no port: $(cat "$server_log")"
        sleep 0.05
    done
}

# Stops the server if it was started; fit for an EXIT trap.
stop_server() {
    if [[ -n ${server_pid:-} ]]; then
        kill "$server_pid" 2>/dev/null || true
        wait "$server_pid" 2>/dev/null || true
        server_pid=
    fi
}

# Makes a Python environment with the given packages: python_environment NAME PACKAGE==VERSION...
# It is made once; another list of packages makes it anew. Sets `python` to its interpreter.
python_environment() {
    local directory=$work/$1
    shift
    python=$directory/bin/python
    need_program python3-venv python3
    if [[ ! -x $python || $(cat "$directory/packages" 2>/dev/null) != "$*" ]]; then
        python3 -m venv --clear "$directory" || fail "python3 with venv is needed: sudo apt-get install -y python3-venv"
        "$python" -m pip install --quiet --disable-pip-version-check "$@"
        echo "$*" >"$directory/packages"
    fi
}

#!/usr/bin/env bash
# All checks of this project, on a machine with Rust and the package registries: format, lints, tests (also
# with loom and the fuzz targets for a few seconds each), documentation, what the
# project is deployed with, conformance, the readers' examples.
#
# What it needs beside Rust it installs: Debian packages as root or with sudo, everything else below target/.
# Without root it says which line to run first.

source "$(dirname "$0")/lib.sh"

step() {
    printf '\n== %s (%s s)\n' "$*" "$SECONDS"
}

step "what the tests need"
# Where Debian keeps balancers, also for users who do not have it there.
PATH=$PATH:/usr/sbin
need_program g++ c++ g++ clang++
need_program curl curl
need_program prometheus promtool
need_program strace strace
need_balancer haproxy haproxy
need_balancer nginx-light nginx
need_store
need_program chromium chromium chromium-browser google-chrome
cargo fuzz --version >/dev/null 2>&1 || cargo install --quiet cargo-fuzz --locked

# The tests start what ships but for its optimizations: building that as well takes longer than trying it.
build_static

step "format"
cargo fmt --all --check

step "lints"
cargo clippy --quiet --workspace --all-targets -- -D warnings

step "what is built in"
scripts/deny.sh

step "tests"
cargo test --workspace

step "models of the hand-made concurrency"
scripts/loom.sh

step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --quiet --workspace --no-deps

step "fuzz targets, the same inputs each time"
scripts/fuzz.sh quick

# It is there already, but for the list of what it is built from.
cargo build --quiet --bin pulsar-proxy
PULSAR_PROXY=$(static_program debug)
export PULSAR_PROXY

step "what it is deployed with"
scripts/deploy.sh

step "the container image, without an engine"
scripts/container.sh

step "the archive of a release"
scripts/release.sh "$("$PULSAR_PROXY" --version | cut -d ' ' -f 2)"

step "WebSocket conformance"
scripts/conformance.sh --short

step "the first service's examples, with their text unchanged"
scripts/examples.sh

step "the relay client's package, unchanged"
scripts/relay-client.sh

step "the server and its own description"
scripts/schemathesis.sh

step "all passed"

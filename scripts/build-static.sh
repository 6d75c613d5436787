#!/usr/bin/env bash
# Builds the release server as one static program and prints its path. What is built here is what all ship: the
# container image, the archives of a release, and what the scripts here try and measure.
#
# Static means the C library, too (glibc, target `…-gnu` with `+crt-static`): the program needs no file of the
# machine's, so it runs in an empty container and on older distributions. glibc 2.34 and newer resolve names by
# /etc/hosts and DNS within the program. `docs/DEPLOYMENT.md` says what they do not.
#
# Needs a C compiler and static glibc (Debian: gcc and libc6-dev). Builds for the machine that it runs on.

source "$(dirname "$0")/lib.sh"

build_static
# Names of functions stay, for backtraces; lines would be three quarters of the program.
export CARGO_PROFILE_RELEASE_STRIP=debuginfo
cargo build --quiet --locked --release --bin pulsar-proxy >&2
static_program release

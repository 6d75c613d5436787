#!/usr/bin/env bash
# Has loom try all interleavings of the hand-made concurrency: the library's tests named `models`, built with
# `--cfg loom`. That is set for this crate alone, so what it depends on is that of the other tests.

source "$(dirname "$0")/lib.sh"

messages=$(cargo rustc --quiet --lib --profile test --message-format json -- --cfg loom)
program=$(grep -o '"executable":"[^"]*"' <<<"$messages" | tail -n 1 | cut -d'"' -f4)
[[ -x $program ]] || fail "cargo names no program"
"$program" models

#!/bin/sh
# Runs fuzz targets, each for the given time:  scripts/fuzz.sh [seconds|quick] [target...]
#
# Without targets, all of tests/fuzz/ (every file of fuzz_targets/ is one); without seconds, 10.
# What is found on the way stays in tests/fuzz/target/, apart from the corpus that is kept; a
# crash is written to tests/fuzz/artifacts/<target>/ and fails the script. `quick` tries the
# corpus and 50,000 inputs made from it with a fixed seed: a check of what is known, whose verdict
# is the same each time, where the other form is a search.
set -eu

cd "$(dirname "$0")/.."
seconds=${1:-10}
[ $# -eq 0 ] || shift
case $seconds in
quick) bound="-runs=50000 -seed=1" ;;
'' | *[!0-9]*)
    echo "usage: $0 [seconds] [target...]" >&2
    exit 2
    ;;
*) bound="-max_total_time=$seconds" ;;
esac
if [ $# -eq 0 ]; then
    for file in tests/fuzz/fuzz_targets/*.rs; do
        set -- "$@" "$(basename "$file" .rs)"
    done
fi
if ! cargo fuzz --version >/dev/null 2>&1; then
    cargo install cargo-fuzz --locked
fi

# Sanitizers need a nightly compiler; there is no unsafe code here for them to watch. Coverage
# alone works with the stable one.
cargo fuzz build -s none --fuzz-dir tests/fuzz
for target in "$@"; do
    found=tests/fuzz/target/found/$target
    log=tests/fuzz/target/$target.log
    [ "$seconds" != quick ] || found=$(mktemp -d)
    mkdir -p "$found"
    # The bound is one or two words.
    # shellcheck disable=SC2086
    if cargo fuzz run -s none --fuzz-dir tests/fuzz "$target" \
        "$found" "tests/fuzz/corpus/$target" -- \
        $bound -max_len=4096 -timeout=10 -print_final_stats=1 >"$log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        echo "fuzz: $target: $runs inputs, nothing found"
    else
        tail -n 40 "$log" >&2
        echo "fuzz: $target: failed, all output is in $log" >&2
        exit 1
    fi
done

#!/usr/bin/env bash
# Long runs that the tests have no time for.
#   scripts/soak.sh                a subscriber that never reads beside 100 that do, 200 MB published, with either
#                                  policy: the others' p99 latency at most twice that of a run without it, memory
#                                  within its bounds, the policy applied and counted; then 100 members of a group
#                                  killed with 1,000 messages pending each: the others have them within 100 ms
#   scripts/soak.sh churn [SECONDS] also connections that come, resume, vanish and stay, for 600 s or as given
# Further arguments of the load generator: cargo bench --bench load -- slow --help

source "$(dirname "$0")/lib.sh"

load() {
    cargo bench --quiet --bench load -- "$@"
}

case "${1:-}" in
    "" | churn) ;;
    *) fail "usage: $0 [churn [SECONDS]]" ;;
esac

for on_lag in disconnect skip; do
    echo "== a subscriber that never reads, on_lag $on_lag"
    load slow --on-lag "$on_lag"
done
echo "== members of a group that are killed"
load groups
if [[ ${1:-} == churn ]]; then
    echo "== churn"
    load churn --seconds "${2:-600}"
fi

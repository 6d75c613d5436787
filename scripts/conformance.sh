#!/usr/bin/env bash
# Runs the Autobahn WebSocket test cases against the server's echo path and compares the result of each case
# with tests/data/autobahn/expected.json. `--update` writes that file instead, from all cases. Of groups 12
# and 13, which are about compression and send a thousand messages a case, `--short` runs a few small ones;
# without it all are run, which takes minutes. Full reports: target/scripts/autobahn/index.html
#
# Needs python3 with venv, and the Python package index on the first run.

source "$(dirname "$0")/lib.sh"

all=('*')
# Text and binary, fragmented and not, and each offer: context takeover, windows, several to choose from.
short=({1,2,3,4,5,6,7,9,10}.'*' 12.1.{1,2,3,4,11} 12.2.4 13.{1,2,3,4,5,6,7}.{3,11})
expected=tests/data/autobahn/expected.json
reports=$work/autobahn

cases=("${all[@]}")
case "${1:-}" in
    "") mode=compare ;;
    --short) mode=short cases=("${short[@]}") ;;
    --update) mode=update ;;
    *) fail "usage: $0 [--short|--update]" ;;
esac

# kosoku drives the case files of autobahntestsuite, which itself runs under Python 2 only.
python_environment conformance kosoku==0.1.0
trap stop_server EXIT
start_server --port 0 --ws-echo --ws-compression

rm -rf "$reports"
includes=()
for case in "${cases[@]}"; do
    includes+=(--include "$case")
done
# Its exit code says whether all passed; the comparison below is stricter and says which did not.
"$(dirname "$python")/kosoku" "${includes[@]}" --outdir "$reports" \
    "ws://127.0.0.1:$server_port/ws/echo" || true
[[ -f $reports/index.json ]] || fail "the suite did not run"

"$python" - "$mode" "$reports/index.json" "$expected" <<'PYTHON'
import json
import sys

mode, report, expected_path = sys.argv[1:]
with open(report) as file:
    agents = json.load(file)
results = {
    case: {"behavior": result["behavior"], "behaviorClose": result["behaviorClose"]}
    for cases in agents.values()
    for case, result in cases.items()
}
if mode == "update":
    in_order = sorted(results, key=lambda case: [int(part) for part in case.split(".")])
    lines = [f"  {json.dumps(case)}: {json.dumps(results[case])}" for case in in_order]
    with open(expected_path, "w") as file:
        file.write("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{len(results)} results written to {expected_path}")
    sys.exit()

with open(expected_path) as file:
    expected = json.load(file)
# A short run lacks what it did not run; all others are to be whole.
compared = results.keys() if mode == "short" else expected.keys() | results.keys()
different = [case for case in compared if expected.get(case) != results.get(case)]
for case in sorted(different):
    print(f"{case}: expected {expected.get(case)}, got {results.get(case)}")
print(f"{len(results)} cases, {len(different)} different from {expected_path}")
sys.exit(bool(different))
PYTHON

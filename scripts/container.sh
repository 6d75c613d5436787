#!/usr/bin/env bash
# Tries the container image without a container engine: puts together what the last stage of the Dockerfile has, and
# runs it as an engine would: that root directory, read-only, its user, environment, entry point and health check,
# in namespaces of its own with the network's names told by a DNS server, a store and a key server with TLS.
#
# Needs root (or sudo) for the namespaces, python3 with venv, Python's package index on the first run, and a store.

source "$(dirname "$0")/lib.sh"

need_store
need_program util-linux unshare
need_program iproute2 ip
[[ -f /etc/ssl/certs/ca-certificates.crt ]] || need_program ca-certificates update-ca-certificates
python_environment container dockerfile-parse==2.0.1 dnslib==0.9.26 trustme==1.2.1
program=$(server_program)
as_root=()
((EUID == 0)) || as_root=(sudo -n)

if readelf --program-headers "$program" | grep INTERP >/dev/null; then
    fail "$program is not static"
fi

# What the program is built from, by Cargo's own list, must be part of the context that Docker builds from.
ignored=$(grep -v '^#' .dockerignore | sed 's,^,/,; s,$,(/|$),' | paste -sd '|')
if sed 's/[^:]*: //; s/\\ / /g' "$program.d" | tr ' ' '\n' | sed "s,^$PWD,," | grep -E "^($ignored)"; then
    fail ".dockerignore leaves out these files, which the program is built from"
fi
context=$work/context
rm -rf "$context"
mkdir "$context"
git ls-files | sed 's,^,/,' | grep -vE "^($ignored)" | sed 's,^/,,' | tar --create --files-from - | tar --extract --directory "$context"
cargo metadata --quiet --no-deps --locked --offline --format-version 1 --manifest-path "$context/Cargo.toml" \
    >/dev/null || fail "Cargo does not find what it needs in the context"

"${as_root[@]}" unshare --net --mount "$python" scripts/container.py Dockerfile "$program" "$work/image"

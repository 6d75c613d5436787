#!/usr/bin/env bash
# Holds the server against its own description: openapi.json is valid OpenAPI 3.1, and schemathesis sends every
# documented operation requests that it makes of it, with and without credentials: no failure of the server, no status
# that is not documented, no body, type or header that is not as documented.
#
#   scripts/schemathesis.sh [EXAMPLES]    requests made for each operation, by default 3
#
# The same requests each time. PULSAR_PROXY names the program, else the debug build is used.

source "$(dirname "$0")/lib.sh"

examples=${1:-3}
trap stop_server EXIT
python_environment schemathesis schemathesis==4.32.5 openapi-spec-validator==0.9.0
if [[ -z ${PULSAR_PROXY:-} ]]; then
    cargo build --quiet --bin pulsar-proxy
    PULSAR_PROXY=${CARGO_TARGET_DIR:-target}/debug/pulsar-proxy
fi

# What is not asked: the server takes more than it documents (numbers as text, as its first version did), and
# whether a topic exists is not for the description to say. Streams and upgrades do not end like answers: the
# WebSocket is what asyncapi.json describes, and a stream is held against it by the tests.
checks=not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance
checks+=,response_schema_conformance,unsupported_method
# It writes what is said as the scheme `bearer` of the description, where there is a key.
settings() {
    cat <<'TOML'
[[operations]]
include-operation-id = "ready"
checks.not_a_server_error.enabled = false
TOML
    [[ -z ${1:-} ]] || printf '[auth.openapi.bearer]\nbearer = "%s"\n' "$1"
}

drive() {
    # Polls answer at once, since the server believes that a proxy would end them.
    "${python%/*}/schemathesis" --config-file "$work/schemathesis.toml" run \
        "http://127.0.0.1:$server_port/openapi.json" --checks "$checks" --phases examples,coverage,fuzzing \
        --max-examples "$examples" --seed 1 --generation-deterministic --request-timeout 10 --workers 1 \
        --exclude-operation-id stream --exclude-operation-id webSocket --no-color \
        >"$work/schemathesis.log" 2>&1 \
        || { tail -n 100 "$work/schemathesis.log" >&2; fail "the server and its description differ"; }
    grep -A 1 'Test cases' "$work/schemathesis.log"
}

# A poll is answered 5 s before this.
quick=(--port 0 --proxy-idle-timeout 5100ms)
start_server "${quick[@]}"
curl -fsS "http://127.0.0.1:$server_port/openapi.json" >"$work/openapi.json"
"${python%/*}/openapi-spec-validator" "$work/openapi.json"
settings >"$work/schemathesis.toml"
drive
stop_server

key=$(head -c 32 /dev/zero | tr '\0' k)
hash=$(printf %s "$key" | sha256sum | cut -d' ' -f1)
start_server "${quick[@]}" --api-keys "all:read+write+admin:sha256:$hash"
settings "$key" >"$work/schemathesis.toml"
drive
! grep -q 'Authentication failed' "$work/schemathesis.log" || fail "the key was not shown"
stop_server

#!/usr/bin/env bash
# Shows that the package pulsar-relay-client receives over long poll from the server, unchanged: what it has
# not seen yet, what comes while it waits, from several topics, and where it was after its own restart.
#
# Needs python3 with venv, and the package index of Python on the first run.

source "$(dirname "$0")/lib.sh"

python_environment relay-client pulsar-relay-client==0.2.2
trap stop_server EXIT
start_server --port 0
"$python" scripts/relay_client.py "http://127.0.0.1:$server_port"

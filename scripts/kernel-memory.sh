#!/usr/bin/env bash
# What the kernel keeps for an idle WebSocket: the first row of the sum in docs/TUNING.md. Needs root.
# scripts/kernel-memory.sh [connections]

source "$(dirname "$0")/lib.sh"

trap stop_server EXIT
start_server --port 0 --max-connections 100000
python3 scripts/kernel_memory.py "$server_port" "${1:-9000}"

#!/usr/bin/env bash
# The loads of docs/COMPARISON.md on this server, Nchan, NATS and a relay in FastAPI, one after the other.
# scripts/compare.sh [PulsarProxy] [Nchan] [Nats] [FastApi]

source "$(dirname "$0")/lib.sh"

PATH=$PATH:/usr/sbin
need_balancer nginx-light nginx
if [[ ! -e /usr/lib/nginx/modules/ngx_nchan_module.so ]]; then
    apt-get install -y libnginx-mod-nchan >"$work/install.log" 2>&1 \
        || fail "libnginx-mod-nchan is needed; please run: sudo apt-get install -y libnginx-mod-nchan"
fi
need_balancer nats-server nats-server
python_environment compare fastapi==0.115.0 pydantic==2.10.6 uvicorn==0.34.0 uvloop==0.21.0 httptools==0.6.4 \
    websockets==14.1
program=$(server_program)

echo "$(nproc) cores, $(uname -sr), $(date +%F); $(nginx -v 2>&1), $(nats-server --version), Nchan" \
    "$(dpkg-query -W -f '${Version}' libnginx-mod-nchan)"
"$python" scripts/compare.py "$(mktemp -d "$work/compare.XXXXXX")" "$program" "$python" "$@"

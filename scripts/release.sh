#!/usr/bin/env bash
# Builds the static program, tries it, and packs it with what belongs to it: release.sh VERSION, such as v0.1.0.
# Makes target/release-archives/pulsar-proxy-VERSION-TARGET.tar.gz and its checksum in .tar.gz.sha256.

source "$(dirname "$0")/lib.sh"

(($# == 1)) || fail "usage: $0 VERSION"
version=${1#v}
program=$(server_program)
told=$("$program" --version)
[[ $told == "pulsar-proxy $version" ]] || fail "the program is $told, not $version"
if readelf --program-headers "$program" | grep INTERP >/dev/null; then
    fail "$program needs a dynamic loader"
fi

target=$(rustc -vV | sed -n 's/^host: //p')
archives=target/release-archives
name=pulsar-proxy-$version-$target
folder=$archives/$name
rm -rf "$archives"
mkdir -p "$folder/completions" "$folder/systemd"
install -m 755 "$program" "$folder/pulsar-proxy"
cp README.md CHANGELOG.md LICENSE "$folder"
cp deploy/systemd/* "$folder/systemd"
"$program" man >"$folder/pulsar-proxy.1"
"$program" completions bash >"$folder/completions/pulsar-proxy.bash"
"$program" completions zsh >"$folder/completions/_pulsar-proxy"
"$program" completions fish >"$folder/completions/pulsar-proxy.fish"

# The same bytes from the same sources, whoever packs them and when.
tar --create --gzip --file "$folder.tar.gz" --directory "$archives" --sort=name --owner=0 --group=0 --numeric-owner \
    --mode=u=rwX,go=rX --mtime="@$(git log -1 --format=%ct)" "$name"
rm -rf "$folder"
(cd "$archives" && sha256sum "$name.tar.gz" >"$name.tar.gz.sha256")

# What was packed starts, answers and ends, without anything of this machine's.
unpacked=$(mktemp -d)
trap 'stop_server; rm -rf "$unpacked"' EXIT
tar --extract --file "$folder.tar.gz" --directory "$unpacked"
[[ $(find "$unpacked" -type f -size 0) == "" ]] || fail "an empty file was packed"
PULSAR_PROXY=$unpacked/$name/pulsar-proxy
start_server --port 0
PULSAR_PORT=$server_port "$PULSAR_PROXY" healthcheck || fail "the packed program is not healthy"
kill "$server_pid"
wait "$server_pid" || fail "the packed program did not end well"
server_pid=
echo "$folder.tar.gz"

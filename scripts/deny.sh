#!/usr/bin/env bash
# Asks cargo-deny whether all that is built in may be: licences, crates that are not wanted, where they come from;
# and known weaknesses, where their database can be fetched. `deny.toml` has the rules.

source "$(dirname "$0")/lib.sh"

# Without optimization it is there sooner, and quick enough.
cargo deny --version >/dev/null 2>&1 ||
    CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet --debug --locked cargo-deny

cargo deny --log-level warn check licenses bans sources
if timeout 60 cargo deny --log-level off fetch db >/dev/null 2>&1; then
    cargo deny --log-level warn check --disable-fetch advisories
else
    echo "advisories: not checked, since their database cannot be fetched"
fi

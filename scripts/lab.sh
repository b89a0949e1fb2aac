#!/usr/bin/env bash
# The test network, to play in: a client, a router, a load balancer and backends with HTTP servers.
# It says how to get a shell in each of them, and is gone after Ctrl-C.
#
#   scripts/lab.sh --backends 4
set -euo pipefail
cd "$(dirname "$0")/.."
cargo xtask setup
cargo build --quiet --package lb-userspace --package lb-tests --bins
exec cargo run --quiet --package lb-tests --bin lb-tests-lab -- "$@"

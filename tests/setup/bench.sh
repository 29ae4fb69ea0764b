#!/usr/bin/env bash
# The benchmarks, on PostgreSQL 15. Everything is measured in one run; what it prints are ratios.
source "$(dirname "$0")/common.sh"
cd "$ROOT"
"$ROOT/tests/setup/packages.sh"
"$ROOT/tests/setup/tree.sh" 15
"$ROOT/tests/setup/extension.sh" "$(pg_config_of 15)"
cargo build --quiet --release --locked --package qbo_bench
QBO_RAW_PG_CONFIG=$(pg_config_of 15) target/release/qbo_bench

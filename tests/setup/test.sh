#!/usr/bin/env bash
# The whole test suite; prints how many tests passed. test.sh lint: formatting and clippy only.
source "$(dirname "$0")/common.sh"
cd "$ROOT"

"$ROOT/tests/setup/packages.sh"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=0

# Runs one step; a step that fails is counted, and the others still run.
step() {
  say "$1"
  shift
  "$@" 2>&1 | tee -a "$log" || failed=$((failed + 1))
}

export PGRX_PG_CONFIG_PATH=/usr/lib/postgresql/15/bin/pg_config
step "formatting" cargo fmt --all --check
step "clippy" cargo clippy --workspace --all-targets --quiet -- -D warnings
if [ "${1:-}" = lint ]; then exit $((failed > 0)); fi

step "the house, the pure core, HTTP, and ten thousand simulated runs" \
  cargo test --quiet --release --no-fail-fast --package qbo_raw --no-default-features --features pg15 --tests
step "the simulator" cargo test --quiet --no-fail-fast --package qbo_sim
for version in 15 18; do
  config=$(pg_config_of $version)
  "$ROOT/tests/setup/tree.sh" $version
  "$ROOT/tests/setup/extension.sh" "$config"
  step "end to end on PostgreSQL $version" \
    env QBO_RAW_PG_CONFIG="$config" cargo test --quiet --package qbo_e2e -- --test-threads=4
done

passed=$(awk '/^test result:/ { sum += $4 } END { print sum + 0 }' "$log")
broken=$(awk '/^test result:/ { sum += $6 } END { print sum + 0 }' "$log")
# A step that failed without a failing test is a failure too.
[ "$broken" -gt 0 ] || broken=$failed
echo
echo "$passed passed, $broken failed"
[ "$failed" = 0 ]

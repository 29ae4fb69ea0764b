#!/usr/bin/env bash
# The whole test suite; prints how many tests passed.
#   test.sh         on PostgreSQL 15 and 18, or on those that VERSIONS names
#   test.sh all     on 15, 16, 17 and 18, with a table at the end
#   test.sh lint    formatting and clippy only
#   test.sh long    the figures of a release: thousands of faults, strikes and seeds, a working day of soak
#   test.sh repeat  what is built once is tested twenty times, or QBO_RAW_REPEATS times: does a test fail now and then?
source "$(dirname "$0")/common.sh"
cd "$ROOT"

rounds=1
case ${1:-} in
  '') read -ra versions <<< "${VERSIONS:-15 18}" ;;
  all) versions=(15 16 17 18) ;;
  lint) versions=() ;;
  long) read -ra versions <<< "${VERSIONS:-15 18}" ;;
  repeat) read -ra versions <<< "${VERSIONS:-15 18}" && rounds=${QBO_RAW_REPEATS:-20} ;;
  *) die "test.sh takes nothing, 'all', 'lint', 'long' or 'repeat', not '$1'" ;;
esac
"$ROOT/tests/setup/packages.sh"
# The schedules of the README, and its runbook, are tried with the real one.
install_missing postgresql-15-cron
"$ROOT/tests/setup/tree.sh" 15
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
table=()

# Tests of a log that passed (column 4) or failed (column 6).
count() { awk -v column="$1" '/^test result:/ { sum += $column } END { print sum + 0 }' "$2"; }

# Runs one step; a step that fails is counted, and the others still run.
step() {
  local name=$1 began=$SECONDS log=$work/${#table[@]}.log broken=0
  shift
  say "$name"
  "$@" 2>&1 | tee "$log" || broken=1
  failed=$((failed + broken))
  table+=("$(printf '%-58s %7d %7d %8d s  %s' "$name" "$(count 4 "$log")" "$(count 6 "$log")" $((SECONDS - began)) \
    "$([ $broken = 0 ] && echo ok || echo FAILED)")")
}

# The extension in the private tree of a version.
build() { "$ROOT/tests/setup/tree.sh" "$1" && "$ROOT/tests/setup/extension.sh" "$(pg_config_of "$1")"; }

# All that is done for one version of PostgreSQL, or the tests that are named.
end_to_end() {
  env QBO_RAW_PG_CONFIG="$(pg_config_of "$1")" \
    cargo test --quiet --package qbo_e2e --lib --test e2e -- --test-threads=6 "${@:2}"
}

# Faults, strikes and bad answers, on a library that has the named points.
chaos() {
  env QBO_RAW_PG_CONFIG="$(pg_config_of "$1" points)" \
    cargo test --quiet --package qbo_e2e --test chaos -- --test-threads=4 --nocapture
}

PGRX_PG_CONFIG_PATH=$(pg_config_of 15)
export PGRX_PG_CONFIG_PATH
step "formatting" cargo fmt --all --check
step "clippy" cargo clippy --workspace --all-targets --quiet -- -D warnings
if [ "${1:-}" = lint ]; then exit $((failed > 0)); fi
step "pgspot on the install script" tests/setup/pgspot.sh
# Chaos on one version is enough, but for a release: what it is about is the same in all.
struck=("${versions[@]:0:1}")
[ "${1:-}" != long ] || struck=("${versions[@]}")
for version in "${versions[@]}"; do step "building for PostgreSQL $version" build "$version"; done
for version in "${struck[@]}"; do step "building for PostgreSQL $version, with named points" tests/setup/points.sh "$version"; done

if [ "${1:-}" = long ]; then
  export QBO_RAW_MATRIX_ROUNDS=10 QBO_RAW_NTH_ENTITIES=4 QBO_RAW_COMPOUND=1000 QBO_RAW_SOUP=5000 QBO_RAW_CALLS=3000
  export QBO_RAW_STOPS=50 QBO_RAW_TOKEN_ROUNDS=1000 QBO_RAW_SOAK=28800 QBO_RAW_RUNS=10000 QBO_RAW_PROMOTIONS=10 QBO_RAW_SEEDS=1000000 QBO_RAW_WINDOWS=10000
  for version in "${versions[@]}"; do
    step "promotions on PostgreSQL $version" end_to_end "$version" promoted
    step "chaos on PostgreSQL $version" chaos "$version"
  done
  versions=() struck=()
fi

for ((round = 1; round <= rounds; round++)); do
  [ "$rounds" = 1 ] || before="round $round: "
  step "${before:-}the house, the pure core, HTTP, ${QBO_RAW_SEEDS:-10000} simulated runs" \
    cargo test --quiet --release --no-fail-fast --package qbo_raw --no-default-features --features pg15 --tests -- --test-threads=8
  step "${before:-}the simulator" cargo test --quiet --no-fail-fast --package qbo_sim
  for version in "${versions[@]}"; do step "${before:-}end to end on PostgreSQL $version" end_to_end "$version"; done
  for version in "${struck[@]}"; do step "${before:-}chaos on PostgreSQL $version" chaos "$version"; done
done

cat "$work"/*.log > "$work/all"
passed=$(count 4 "$work/all")
broken=$(count 6 "$work/all")
# A step that failed without a failing test is a failure too.
[ "$broken" -gt 0 ] || broken=$failed
printf '\n%-58s %7s %7s %10s\n' '' passed failed took
printf '%s\n' "${table[@]}"
echo
echo "$passed passed, $broken failed"
[ "$failed" = 0 ]

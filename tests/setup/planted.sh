#!/usr/bin/env bash
# Plants known defects, one after the other, and sees whether the tests find each. A patch of tests/planted says in its first
# line what it breaks, in its second which suite has to turn red, and which tests of it. The sources are as before afterwards.
source "$(dirname "$0")/common.sh"
cd "$ROOT"
git diff --quiet HEAD -- src || die "src has changes: commit or stash them first"
"$ROOT/tests/setup/packages.sh"
"$ROOT/tests/setup/tree.sh" 15
trap 'git checkout --quiet -- src' EXIT
export PGRX_PG_CONFIG_PATH=/usr/lib/postgresql/15/bin/pg_config
export QBO_RAW_CHAOS_ONE_IN=10 QBO_RAW_MATRIX_ONE_IN=3 QBO_RAW_SOUP=30 QBO_RAW_SOAK=45 QBO_RAW_STOPS=1
survived=0

# Builds what a suite needs; a defect that does not build is none.
build() {
  case $1 in
    domain) cargo test --quiet --release --package qbo_raw --no-default-features --features pg15 --test domain --no-run ;;
    e2e) config=$(pg_config_of 15) && "$ROOT/tests/setup/extension.sh" "$config" ;;
    chaos) config=$("$ROOT/tests/setup/points.sh" 15) ;;
  esac
}

run() {
  local suite=$1
  shift
  case $suite in
    domain) cargo test --quiet --release --package qbo_raw --no-default-features --features pg15 --test domain -- "$@" ;;
    *) QBO_RAW_PG_CONFIG=$config cargo test --quiet --package qbo_e2e --test "$suite" -- --test-threads=4 "$@" ;;
  esac
}

for patch in tests/planted/*${1:-}*.patch; do
  what=$(sed -n 1p "$patch")
  read -ra where <<< "$(sed -n 2p "$patch")"
  suite=${where[0]%:}
  git apply "$patch"
  build "$suite" > /dev/null 2>&1 || die "$patch does not build"
  if run "$suite" "${where[@]:1}" > "$WORK/planted.log" 2>&1; then
    survived=$((survived + 1))
    printf 'SURVIVED  %s\n' "$what"
  else
    grep -q '^test result: FAILED' "$WORK/planted.log" || die "$patch: the tests did not come to an end"
    printf 'caught    %s (%s)\n' "$what" "$(grep -o '^[a-z0-9_:]* --- FAILED' "$WORK/planted.log" | head -1 | sed 's/ ---.*//')"
  fi
  git checkout --quiet -- src
done
[ "$survived" = 0 ]

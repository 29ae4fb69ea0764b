#!/usr/bin/env bash
# Plants known defects, one after the other, and sees whether the tests find each: planted.sh [PART OF A NAME ...]. A patch of
# tests/planted says in its first line what it breaks, in its second which suite has to turn red, and which tests of it.
# A defect counts as caught when a test is red with it and green without it; one that does not apply, does not build or keeps
# the tests from coming to an end says nothing, and is a mistake like one that survives. The sources are as before afterwards.
source "$(dirname "$0")/common.sh"
cd "$ROOT"
git diff --quiet HEAD -- src || die "src has changes: commit or stash them first"
patches=()
for part in "${@:-}"; do
  named=(tests/planted/*"$part"*.patch)
  [ -e "${named[0]}" ] || die "no patch of tests/planted has '$part' in its name"
  patches+=("${named[@]}")
done
"$ROOT/tests/setup/packages.sh"
"$ROOT/tests/setup/tree.sh" 15
trap 'git checkout --quiet -- src' EXIT
PGRX_PG_CONFIG_PATH=$(pg_config_of 15)
export PGRX_PG_CONFIG_PATH
export QBO_RAW_CHAOS_ONE_IN=10 QBO_RAW_MATRIX_ONE_IN=3 QBO_RAW_SOUP=30 QBO_RAW_SOAK=90 QBO_RAW_STOPS=1
log=$WORK/planted.log
mistakes=0
declare -A red=()

# Builds what a suite needs.
build() {
  case $1 in
    domain) cargo test --quiet --release --package qbo_raw --no-default-features --features pg15 --test domain --no-run ;;
    e2e) config=$(pg_config_of 15) && "$ROOT/tests/setup/extension.sh" "$config" ;;
    chaos) config=$(pg_config_of 15 points) && "$ROOT/tests/setup/points.sh" 15 ;;
    *) echo "there is no suite '$1'" >&2 && false ;;
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

# A line about a defect that was not caught, or may not have been.
mistake() {
  mistakes=$((mistakes + 1))
  printf '%-9s %s\n' "$1" "$2"
}

# Sees whether the tests find a patch's defect.
plant() {
  local what where failed
  what=$(sed -n 1p "$1")
  read -ra where <<< "$(sed -n 2p "$1")"
  local suite=${where[0]%:}
  if ! git apply "$1" > "$log" 2>&1; then
    mistake BROKEN "$1 does not apply: $(tail -1 "$log")"
  elif ! build "$suite" > "$log" 2>&1; then
    mistake BROKEN "$1 does not build: see $log" && cp "$log" "$log.${1##*/}"
  elif run "$suite" "${where[@]:1}" > "$log" 2>&1; then
    mistake SURVIVED "$what"
  else
    failed=$(sed -n 's/^\([a-z0-9_:]*\) --- FAILED$/\1/p' "$log" | sort -u)
    if grep -q '^test result: FAILED' "$log" && [ -n "$failed" ]; then
      red[$suite]+=" ${failed//$'\n'/ }"
      printf '%-9s %s (%s)\n' caught "$what" "${failed//$'\n'/, }"
    else
      mistake BROKEN "$1: the tests did not come to an end: $(tail -1 "$log")"
    fi
  fi
  git checkout --quiet -- src
}

for patch in "${patches[@]}"; do plant "$patch"; done

# A test that is red anyway has caught nothing.
for suite in "${!red[@]}"; do
  read -ra tests <<< "$(printf '%s\n' ${red[$suite]} | sort -u | tr '\n' ' ')"
  build "$suite" > "$log" 2>&1 || die "the sources do not build without a defect: $(tail -1 "$log")"
  if run "$suite" --exact "${tests[@]}" > "$log" 2>&1 && grep -q "^test result: ok. ${#tests[@]} passed" "$log"; then
    printf '%-9s %s\n' green "without a defect: ${tests[*]}"
  else
    mistake RED "without a defect too: $(sed -n 's/^\([a-z0-9_:]*\) --- FAILED$/\1/p' "$log" | sort -u | tr '\n' ' ')"
  fi
done
[ "$mistakes" = 0 ]

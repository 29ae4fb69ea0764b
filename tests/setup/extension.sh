#!/usr/bin/env bash
# Builds the extension for the PostgreSQL of a pg_config and installs it there: extension.sh PG_CONFIG. The install script
# is the numbered files of sql/, one after the other, so neither cargo-pgrx nor a generated file is needed.
source "$(dirname "$0")/common.sh"

config=$1
[ -x "$config" ] || die "there is no pg_config at $config"
major=$("$config" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
cd "$ROOT"
say "building qbo_raw $VERSION for PostgreSQL $major"
PGRX_PG_CONFIG_PATH=$config cargo build --release --quiet --package qbo_raw --lib --no-default-features --features "pg$major"

library=$("$config" --pkglibdir)
share=$("$config" --sharedir)/extension
script=$(mktemp)
trap 'rm -f "$script"' EXIT
{
  echo '\echo Use "CREATE EXTENSION qbo_raw" to load this file. \quit'
  cat sql/[0-9]*.sql
} > "$script"
mkdir -p "$share"
install -m 755 target/release/libqbo_raw.so "$library/qbo_raw.so"
install -m 644 qbo_raw.control "$share/qbo_raw.control"
install -m 644 "$script" "$share/qbo_raw--$VERSION.sql"
for upgrade in sql/qbo_raw--*--*.sql; do
  [ ! -e "$upgrade" ] || install -m 644 "$upgrade" "$share/"
done

#!/usr/bin/env bash
# A second server tree of a PostgreSQL version, with the extension built with its named points: points.sh VERSION. The last
# line that it prints is the tree's pg_config.
source "$(dirname "$0")/common.sh"

config=$("$ROOT/tests/setup/tree.sh" "$1" points | tail -1)
QBO_RAW_FEATURES=points "$ROOT/tests/setup/extension.sh" "$config" >&2
echo "$config"

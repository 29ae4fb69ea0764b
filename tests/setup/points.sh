#!/usr/bin/env bash
# A second server tree of a PostgreSQL version, with the extension built with its named points: points.sh VERSION.
source "$(dirname "$0")/common.sh"

"$ROOT/tests/setup/tree.sh" "$1" points
# It is built with the pg_config of the first tree, which says the same: another path would make pgrx be built once more.
QBO_RAW_FEATURES=points QBO_RAW_BUILD_WITH=$(pg_config_of "$1") "$ROOT/tests/setup/extension.sh" "$(pg_config_of "$1" points)"

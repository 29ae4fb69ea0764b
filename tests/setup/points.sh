#!/usr/bin/env bash
# A second server tree of a PostgreSQL version, with the extension built with its named points: points.sh VERSION. The last
# line that it prints is the tree's pg_config.
source "$(dirname "$0")/common.sh"

version=$1
"$ROOT/tests/setup/tree.sh" "$version" >&2
from=$WORK/pg$version
tree=$WORK/points$version
if [ "$(cat "$tree/stamp" 2>/dev/null)" != "$(cat "$from/stamp")" ]; then
  rm -rf "$tree"
  cp -a "$from" "$tree"
fi
config=$(pg_config_of "$version")
config=$tree${config#"$from"}
QBO_RAW_FEATURES=points "$ROOT/tests/setup/extension.sh" "$config" >&2
echo "$config"

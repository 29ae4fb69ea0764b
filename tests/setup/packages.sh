#!/usr/bin/env bash
# Installs what building and testing need on Debian 12, if it is missing. Looks first: a second run does nothing.
source "$(dirname "$0")/common.sh"

need=()
want() { dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q 'ok installed' || need+=("$1"); }
for package in postgresql-15 postgresql-server-dev-15 libclang-dev clang make; do want "$package"; done
python3 -m pip --version >/dev/null 2>&1 || want python3-pip

if [ ${#need[@]} -gt 0 ]; then
  say "installing ${need[*]}"
  sudo=()
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || die "as root: apt-get install -y --no-install-recommends ${need[*]}"
    sudo=(sudo)
  fi
  # A new PostgreSQL package would start a server on port 5432; none is needed here.
  if ! dpkg-query -W postgresql-common >/dev/null 2>&1; then
    "${sudo[@]}" mkdir -p /etc/postgresql-common/createcluster.d
    echo 'create_main_cluster = false' | "${sudo[@]}" tee /etc/postgresql-common/createcluster.d/qbo_raw.conf >/dev/null
  fi
  "${sudo[@]}" apt-get update -q
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${need[@]}"
fi
command -v cargo >/dev/null || die "cargo is missing: install Rust first"

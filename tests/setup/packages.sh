#!/usr/bin/env bash
# Installs what building and testing need on Debian 12, if it is missing.
source "$(dirname "$0")/common.sh"

need=(postgresql-15 postgresql-server-dev-15 libclang-dev clang make)
python3 -m pip --version >/dev/null 2>&1 || need+=(python3-pip)
install_missing "${need[@]}"
command -v cargo >/dev/null || die "cargo is missing: install Rust first"

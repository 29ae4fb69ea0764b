#!/usr/bin/env bash
# The demo: a private PostgreSQL 15 and the simulator, in the background, with three entities loaded.
#   demo.sh        starts it and shows the result
#   demo.sh psql   a shell on its database
#   demo.sh stop   ends both
source "$(dirname "$0")/common.sh"

DEMO=$WORK/demo
config=$(pg_config_of 15)
bin=$(dirname "$config")
export PGHOST=$DEMO/socket PGUSER=postgres PGDATABASE=qbo PSQL_PAGER='' PSQLRC=/dev/null

stop() {
  if [ -f "$DEMO/simulator.pid" ]; then
    pid=$(cat "$DEMO/simulator.pid")
    # The number may belong to somebody else by now.
    if tr '\0' ' ' < "/proc/$pid/cmdline" 2>/dev/null | grep -q qbo_sim; then kill "$pid"; fi
  fi
  if [ -f "$DEMO/data/postmaster.pid" ]; then as_server "$bin/pg_ctl" -D "$DEMO/data" -s -m fast -w stop; fi
  rm -rf "$DEMO"
}

case ${1:-start} in
  psql) [ -S "$DEMO/socket/.s.PGSQL.5432" ] || die "the demo is not running: make demo"; exec "$bin/psql" ;;
  stop) stop; exit 0 ;;
esac

"$ROOT/tests/setup/packages.sh"
"$ROOT/tests/setup/tree.sh" 15
"$ROOT/tests/setup/extension.sh" "$config"
cd "$ROOT"
cargo build --release --quiet --package qbo_sim

stop
say "starting a private PostgreSQL and the QuickBooks Online simulator"
mkdir -p "$DEMO/data" "$DEMO/socket"
chmod 755 "$DEMO"
if [ "$(id -u)" = 0 ]; then chown postgres "$DEMO/data" "$DEMO/socket"; fi
as_server "$bin/initdb" -D "$DEMO/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 >/dev/null
cat >> "$DEMO/data/postgresql.conf" <<CONF
listen_addresses = ''
unix_socket_directories = '$DEMO/socket'
CONF
as_server "$bin/pg_ctl" -D "$DEMO/data" -s -w -l "$DEMO/data/server.log" start
"$bin/createdb" qbo
target/release/qbo_sim --port 0 --invoices 6000 --customers 400 --items 150 --latency-ms 25 \
  --refresh-token RT-demo > "$DEMO/simulator.log" 2>&1 < /dev/null &
echo $! > "$DEMO/simulator.pid"
disown
for _ in $(seq 50); do grep -q 'Ctrl-C' "$DEMO/simulator.log" && break; sleep 0.1; done
url=$(sed -n 's/.*simulator at //p' "$DEMO/simulator.log")
[ -n "$url" ] || die "the simulator does not start: $(cat "$DEMO/simulator.log")"

"$bin/psql" -q -v ON_ERROR_STOP=1 <<SQL
CREATE EXTENSION qbo_raw;
LOAD 'qbo_raw';
-- Only because the demo talks to the simulator on this machine; for Intuit nothing has to be set.
ALTER DATABASE qbo SET qbo_raw.api_base_url = '$url';
ALTER DATABASE qbo SET qbo_raw.oauth_base_url = '$url';
ALTER DATABASE qbo SET qbo_raw.requests_per_second = 40;
ALTER DATABASE qbo SET qbo_raw.requests_per_minute = 2400;
SQL

say "connecting a company and loading three entities"
"$bin/psql" -v ON_ERROR_STOP=1 -a <<'SQL'
SELECT raw.qb_connect('4620816365002384750', 'ABsimulatedClientId', 'simulatedClientSecret0123456789', 'RT-demo');
CALL raw.qb_wait(raw.qb_backfill('invoices', '2025-07-01', '2025-09-30', 7));
CALL raw.qb_wait(raw.qb_backfill('customers', '2025-07-01', '2025-09-30', 31));
CALL raw.qb_wait(raw.qb_backfill('items', '2025-07-01', '2025-09-30', 31));
SQL

say "what is there now"
"$bin/psql" -q -v ON_ERROR_STOP=1 <<'SQL'
\pset title 'Runs'
SELECT run_id AS run, entity, status, windows_done || ' of ' || windows_total AS windows, row_count AS rows,
       inserted_count AS new, request_count AS requests, (finished_at - started_at)::interval(1) AS took
  FROM raw.qb_run ORDER BY run_id;
\pset title 'Windows of invoices: raw.backfill_report_invoices'
SELECT window_start AT TIME ZONE 'UTC' AS from, window_end AT TIME ZONE 'UTC' AS until, status, row_count AS rows,
       page_count AS pages, request_count AS requests
  FROM raw.backfill_report_invoices ORDER BY window_start LIMIT 5;
\pset title 'Records: raw.qb_invoices'
SELECT id, payload -> 'CustomerRef' ->> 'name' AS customer, (payload ->> 'TotalAmt')::numeric AS total,
       payload -> 'MetaData' ->> 'LastUpdatedTime' AS last_updated
  FROM raw.qb_invoices ORDER BY (payload ->> 'TotalAmt')::numeric DESC LIMIT 5;
\pset title 'Sums'
SELECT 'qb_invoices' AS table, count(*), pg_size_pretty(pg_total_relation_size('raw.qb_invoices')) AS size FROM raw.qb_invoices
UNION ALL SELECT 'qb_customers', count(*), pg_size_pretty(pg_total_relation_size('raw.qb_customers')) FROM raw.qb_customers
UNION ALL SELECT 'qb_items', count(*), pg_size_pretty(pg_total_relation_size('raw.qb_items')) FROM raw.qb_items;
SQL
cat <<TEXT
Look around:   make psql        (or: $bin/psql -h $DEMO/socket -U postgres qbo)
Then, say:     SELECT * FROM raw.qb_entities;
               CALL raw.qb_wait(raw.qb_backfill('invoices', '2025-07-01', '2025-09-30'));   -- all unchanged
End it:        make demo-stop
TEXT

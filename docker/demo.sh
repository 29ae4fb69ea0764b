#!/bin/bash
# The demo's setup: points the warehouse to the simulator, schedules three entities for every minute, waits until pg_cron
# has filled their tables, and shows them.
set -euo pipefail
export PGHOST=/var/run/postgresql PGUSER=postgres PGDATABASE=qbo_raw
sql() { psql -X -q -v ON_ERROR_STOP=1 "$@"; }

# The simulator wrote its certificate authority beside the socket; the newest is that of the one that runs.
authority=$(ls -t "$PGHOST"/qbo_sim-*.pem | head -1)
sql -v authority="$authority" <<'SQL'
LOAD 'qbo_raw';
ALTER DATABASE qbo_raw SET qbo_raw.api_base_url = 'https://simulator:8117';
ALTER DATABASE qbo_raw SET qbo_raw.oauth_base_url = 'https://simulator:8117';
ALTER DATABASE qbo_raw SET qbo_raw.ca_file = :'authority';
SELECT cron.schedule('qbo demo ' || entity, '* * * * *',
         format($$CALL raw.qb_wait(raw.qb_backfill(%L, '2025-07-01', '2025-09-30'))$$, entity))
  FROM unnest(ARRAY['invoices', 'customers', 'items']) AS entity \g /dev/null
SQL

echo "pg_cron starts three runs at the next full minute"
filled="SELECT count(DISTINCT entity) FROM raw.qb_run WHERE status = 'success' AND start_date = '2025-07-01'"
for _ in $(seq 120); do
  if [ "$(sql -At -c "$filled")" = 3 ]; then
    sql -c "SELECT r.entity, r.status, r.windows_done || ' of ' || r.windows_total AS windows, r.row_count AS rows, r.request_count AS requests
              FROM raw.qb_run r ORDER BY r.run_id LIMIT 3" \
        -c "SELECT j.jobname AS job, d.status, d.return_message AS message, d.start_time::timestamptz(0)
              FROM cron.job_run_details d JOIN cron.job j USING (jobid) WHERE j.jobname LIKE 'qbo demo%' ORDER BY d.runid LIMIT 3"
    echo "Look around:  docker compose exec warehouse psql -U postgres qbo_raw"
    exit 0
  fi
  sleep 2
done
sql -c "SELECT run_id, entity, status, error_code, error_message, error_hint FROM raw.qb_run ORDER BY run_id"
echo "the tables were not filled within four minutes" >&2
exit 1

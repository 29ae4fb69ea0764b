#!/bin/bash
# Runs once, as the superuser, when the volume is empty: creates the extensions, connects the company with the credentials
# that stand in the secrets' files, and makes the schedule. The values go from the files into psql and nowhere else.
set -euo pipefail

sql() { psql -X -q -v ON_ERROR_STOP=1 --no-password -U "$POSTGRES_USER" -d "$POSTGRES_DB" "$@"; }
die() { echo "qbo_raw: $*" >&2; exit 1; }

[ "$POSTGRES_DB" = qbo_raw ] || die "POSTGRES_DB is '$POSTGRES_DB'; this image keeps its data in the database qbo_raw, leave POSTGRES_DB out"
sql -c 'CREATE EXTENSION qbo_raw' -c 'CREATE EXTENSION pg_cron'

missing=()
for name in realm_id client_id client_secret refresh_token; do
  file=/run/secrets/qbo_$name
  if [ -e "$file" ] && [ ! -r "$file" ]; then
    die "the file of the secret qbo_$name may not be read by the user $(id -un) ($(id -u)): chmod 644 the file and chmod 700 its folder"
  fi
  [ -s "$file" ] || missing+=("qbo_$name")
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "qbo_raw: no company is connected, these secrets are missing or empty: ${missing[*]}. SELECT raw.qb_connect(…) does it later."
  exit 0
fi

sql -v environment="${QBO_ENVIRONMENT:-production}" <<'SQL'
SET log_statement = 'none';
SET log_min_error_statement = 'panic';
SET log_min_duration_statement = -1;
\set realm `tr -d ' \r\n' < /run/secrets/qbo_realm_id`
\set id `tr -d ' \r\n' < /run/secrets/qbo_client_id`
\set secret `tr -d ' \r\n' < /run/secrets/qbo_client_secret`
\set token `tr -d ' \r\n' < /run/secrets/qbo_refresh_token`
SELECT raw.qb_connect(:'realm', :'id', :'secret', :'token', :'environment') \g (format=unaligned tuples_only=on)
SQL

# The last days, again and again: what did not change is not written again.
sql -v schedule="${QBO_SCHEDULE:-15 2 * * *}" -v days="${QBO_DAYS:-3}" -v entities="${QBO_ENTITIES:-invoices customers items}" <<'SQL'
SELECT cron.schedule('qbo ' || entity, :'schedule',
         format('CALL raw.qb_wait(raw.qb_backfill(%L, current_date - %s, current_date))', entity, :'days'::int))
  FROM unnest(string_to_array(:'entities', ' ')) AS entity \g /dev/null
SELECT cron.schedule('qbo tidy', '45 3 * * *',
         $$DELETE FROM cron.job_run_details WHERE end_time < now() - interval '14 days'$$) \g /dev/null
SQL

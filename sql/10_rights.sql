-- Who may. Nothing is granted to PUBLIC; credentials (qb_config, qb_connect, qb_authorize, qb_disconnect) stay with superusers
-- and whom they grant them.

-- The worker stores as the owner of the data tables, who needs the one function that the statement calls.
GRANT EXECUTE ON FUNCTION raw._qb_instant(text) TO qbo_raw_owner;
-- What is covered is read as the owner of the reports.
GRANT qbo_raw_reader TO qbo_raw_owner;

GRANT SELECT ON raw.qb_run, raw.qb_progress, raw.qb_history, raw.qb_entities, raw.qb_connections, raw.qb_secrets, raw.qb_api_usage TO qbo_raw_reader;
GRANT EXECUTE ON FUNCTION raw._qb_is_utf8(), raw._qb_bar(bigint, bigint, int), raw._qb_clock(float8), raw._qb_catalogue(),
  raw._qb_entity(text), raw._qb_paused_until(text), raw._qb_report_of(text, text), raw._qb_day_of(timestamptz),
  raw._qb_days(text, text, text, date, date), raw._qb_lost(text, text, text), raw._qb_check_range(date, date), raw._qb_check_page_size(int),
  raw.qb_coverage(text, date, date, text, text), raw.qb_gaps(text, date, date, text, text) TO qbo_raw_reader;

GRANT EXECUTE ON FUNCTION
  raw.qb_backfill(text, date, date, int, int, text, timestamptz, text),
  raw.qb_backfill_windows(text, tstzrange[], int, text, text),
  raw.qb_resume(bigint), raw.qb_cancel(bigint), raw.qb_tick(),
  raw.qb_retry_failed(text, int, text, text), raw.qb_fill_gaps(text, date, date, int, int, text, text),
  raw._qb_count(text, date, date, int, text, text, boolean), raw._qb_probe(text),
  raw.qb_verify(text, date, date, int, text, text), raw.qb_plan(text, date, date, int, int, text, text), raw._qb_workers(),
  raw.qb_check(text),
  raw._qb_purge_before(timestamptz), raw.qb_purge_reports(interval),
  raw._qb_fire(text, timestamptz, text, date, date, int, int, text, timestamptz, text),
  raw.qb_schedule_once(timestamptz, text, date, date, int, int, text, timestamptz, text),
  raw._qb_wait_may(), raw._qb_wait_look(bigint, timestamptz, interval, text) TO qbo_raw_operator;
GRANT EXECUTE ON PROCEDURE raw.qb_wait(bigint, interval) TO qbo_raw_operator;

-- A plain role's pg_dump needs to read the sequence.
GRANT SELECT ON SEQUENCE raw.qb_run_run_id_seq TO qbo_raw_reader;

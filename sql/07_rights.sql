-- Who may. Nothing is granted to PUBLIC; credentials (qb_config, qb_connect) stay with superusers and whom they grant them.

-- The worker stores as the owner of the data tables, who needs the one function that the statement calls.
GRANT EXECUTE ON FUNCTION raw.qb_instant(text) TO qbo_raw_owner;

GRANT SELECT ON raw.qb_run, raw.qb_progress, raw.qb_entities, raw.qb_secrets TO qbo_raw_reader;
GRANT EXECUTE ON FUNCTION raw.qb_bar(bigint, bigint, int), raw.qb_catalogue() TO qbo_raw_reader;

GRANT EXECUTE ON FUNCTION
  raw.qb_backfill(text, date, date, int, int, text, timestamptz, text),
  raw.qb_cancel(bigint), raw.qb_tick(),
  raw.qb_wait_look(bigint, timestamptz, interval, text) TO qbo_raw_operator;
GRANT EXECUTE ON PROCEDURE raw.qb_wait(bigint, interval) TO qbo_raw_operator;

-- A plain role's pg_dump needs to read the sequence.
GRANT SELECT ON SEQUENCE raw.qb_run_run_id_seq TO qbo_raw_reader;

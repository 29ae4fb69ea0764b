-- The functions that need Rust. Each has its search_path pinned; none is STRICT, since a silent NULL would hide a mistake.

CREATE FUNCTION raw.qb_backfill(
  entity         text,                          -- 'invoices', 'customers', … see raw.qb_entities
  start_date     date,                          -- first UTC day, inclusive
  end_date       date,                          -- last UTC day, inclusive
  chunk_days     int DEFAULT 7,                 -- days in a window, the unit of commit
  page_size      int DEFAULT 100,               -- records in a page, 1 to 1000
  window_on      text DEFAULT 'updated',        -- 'updated' = MetaData.LastUpdatedTime, 'created' = MetaData.CreateTime
  execution_date timestamptz DEFAULT NULL,      -- becomes ingested_at_utc; NULL = the moment of storing
  connection     text DEFAULT 'default'         -- a row of raw.qb_config
) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'qb_backfill_wrapper';

CREATE FUNCTION raw.qb_cancel(
  run_id bigint                                 -- as qb_backfill returned it
) RETURNS text
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'qb_cancel_wrapper';

CREATE FUNCTION raw.qb_tick() RETURNS int
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'qb_tick_wrapper';

CREATE FUNCTION raw.qb_catalogue(
  OUT entity text, OUT qbo_name text, OUT kind text, OUT inactive_too boolean, OUT table_name text, OUT report_table text
) RETURNS SETOF record
LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'qb_catalogue_wrapper';

CREATE FUNCTION raw.qb_instant(
  value text                                    -- a time as QuickBooks writes it, with its offset
) RETURNS timestamptz
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'qb_instant_wrapper';

REVOKE ALL ON FUNCTION
  raw.qb_backfill(text, date, date, int, int, text, timestamptz, text),
  raw.qb_cancel(bigint), raw.qb_tick(), raw.qb_catalogue(), raw.qb_instant(text) FROM PUBLIC;

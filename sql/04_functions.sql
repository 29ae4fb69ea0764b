-- The functions that need Rust. Each has its search_path pinned; none is STRICT, since a silent NULL would hide a mistake.

CREATE FUNCTION raw.qb_backfill(
  entity         text,                          -- 'invoices', 'customers', ... see raw.qb_entities
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

CREATE FUNCTION raw.qb_resume(
  run_id bigint                                 -- as qb_backfill returned it
) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'qb_resume_wrapper';

CREATE FUNCTION raw.qb_backfill_windows(
  entity     text,
  windows    tstzrange[],                       -- each from, inclusive, to, exclusive; none overlaps another
  page_size  int DEFAULT 100,
  window_on  text DEFAULT 'updated',
  connection text DEFAULT 'default'
) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'qb_backfill_windows_wrapper';

CREATE FUNCTION raw.qb_authorize_url(
  redirect_uri text,                            -- one of the app's redirect URIs, character by character
  connection   text DEFAULT 'default'           -- a row of raw.qb_config with client id and secret
) RETURNS text
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'qb_authorize_url_wrapper';

CREATE FUNCTION raw.qb_authorize(
  callback_url text                             -- the whole address that the browser was sent back to
) RETURNS text
LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'qb_authorize_wrapper';

CREATE FUNCTION raw.qb_disconnect(
  connection text DEFAULT 'default'
) RETURNS text
LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'qb_disconnect_wrapper';

-- Asks QuickBooks for COUNT(*) of each window; with stored, the table as well.
CREATE FUNCTION raw._qb_count(
  entity text, start_date date, end_date date, chunk_days int, window_on text, connection text, stored boolean,
  OUT window_start timestamptz, OUT window_end timestamptz, OUT in_quickbooks bigint, OUT in_table bigint
) RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'qb_count_wrapper';

-- Tries a connection out: token, one query, the clock.
CREATE FUNCTION raw._qb_probe(
  connection text,
  OUT subject text, OUT works boolean, OUT found text, OUT hint text
) RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'qb_probe_wrapper';

CREATE FUNCTION raw._qb_purge_before(
  before timestamptz
) RETURNS text
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'qb_purge_before_wrapper';

CREATE FUNCTION raw._qb_entity(
  name text                                     -- as a person types it: 'invoices', 'Invoice', 'bill_payment'
) RETURNS text
LANGUAGE c IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'qb_entity_wrapper';

CREATE FUNCTION raw.qb_tick() RETURNS int
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'qb_tick_wrapper';

CREATE FUNCTION raw._qb_wait_may() RETURNS void
LANGUAGE c STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'qb_wait_may_wrapper';

CREATE FUNCTION raw._qb_catalogue(
  OUT entity text, OUT qbo_name text, OUT kind text, OUT inactive_too boolean, OUT table_name text, OUT report_table text
) RETURNS SETOF record
LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'qb_catalogue_wrapper';

CREATE FUNCTION raw._qb_instant(
  value text                                    -- a time as QuickBooks writes it, with its offset
) RETURNS timestamptz
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'qb_instant_wrapper';

REVOKE ALL ON FUNCTION
  raw.qb_backfill(text, date, date, int, int, text, timestamptz, text),
  raw.qb_resume(bigint), raw.qb_backfill_windows(text, tstzrange[], int, text, text),
  raw.qb_authorize_url(text, text), raw.qb_authorize(text), raw.qb_disconnect(text),
  raw._qb_count(text, date, date, int, text, text, boolean), raw._qb_probe(text), raw._qb_purge_before(timestamptz),
  raw._qb_entity(text), raw.qb_cancel(bigint), raw.qb_tick(), raw._qb_wait_may(), raw._qb_catalogue(), raw._qb_instant(text) FROM PUBLIC;

-- Report tables outlive the extension: run ids go on behind the highest that any of them names, so that an old report row
-- is never taken for one of a new run. What code such a table has runs as its owner, so Rust has to look; once is enough.
CREATE FUNCTION raw._qb_last_run() RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'qb_last_run_wrapper';

DO $$
DECLARE
  last pg_catalog.int8 := raw._qb_last_run();
BEGIN
  IF last OPERATOR(pg_catalog.>) 0 THEN
    PERFORM pg_catalog.setval('raw.qb_run_run_id_seq', last);
  END IF;
END
$$;

DROP FUNCTION raw._qb_last_run();

-- "Nothing lost", as views that must be empty. The simulator's ground truth stands in chk.*, what the product did in raw.*;
-- ENTITY is the entity that is looked at, QBO its name there. chk.broken gathers them all.
CREATE SCHEMA chk;
COMMENT ON SCHEMA chk IS 'ENTITY';

-- A time that names its zone, which is the same wherever it is read; so it may be kept in a generated column.
CREATE FUNCTION chk.instant(shown text) RETURNS timestamptz LANGUAGE plpgsql IMMUTABLE STRICT AS 'BEGIN RETURN shown; END';

-- Every state of every record, with the first request that could see it; no payload: it did not exist, or no more.
CREATE TABLE chk.src_version (
  id text NOT NULL, from_request bigint NOT NULL, payload jsonb,
  updated_at timestamptz GENERATED ALWAYS AS (chk.instant(payload #>> '{MetaData,LastUpdatedTime}')) STORED,
  PRIMARY KEY (id, from_request));
-- To compress it takes longer than all that is done with it.
ALTER TABLE chk.src_version ALTER COLUMN payload SET STORAGE EXTERNAL;
-- Every request that arrived, with its window; abandoned ones were sent earlier, by a client that is gone.
CREATE TABLE chk.req (
  n bigint PRIMARY KEY, at timestamptz NOT NULL, took interval NOT NULL, statement text NOT NULL, status int NOT NULL,
  rows int NOT NULL, whole boolean NOT NULL, faulted boolean NOT NULL, abandoned boolean NOT NULL DEFAULT false,
  window_start timestamptz GENERATED ALWAYS AS (chk.instant(substring(statement, '>= ''([^'']+)'''))) STORED,
  window_end timestamptz GENERATED ALWAYS AS (chk.instant(substring(statement, '< ''([^'']+)'''))) STORED,
  first int GENERATED ALWAYS AS (coalesce(substring(statement, 'STARTPOSITION (\d+)')::int, 1)) STORED);
-- What happened to the tokens: issued, redeemed, rejected, revoked.
CREATE TABLE chk.token (seq bigint PRIMARY KEY, event text NOT NULL, value text NOT NULL);
-- Texts that may stand nowhere but in the config table, and the server's log.
CREATE TABLE chk.canary (value text PRIMARY KEY);
CREATE TABLE chk.log (line text NOT NULL);
-- Whether each redemption changes the refresh token; how many answers of the token endpoint were cut off; whether the
-- documented rates were set; how long a run may be silent.
CREATE TABLE chk.world (rotates boolean NOT NULL, cut_off int NOT NULL, paced boolean NOT NULL, patience interval NOT NULL);

CREATE VIEW chk.version AS
  SELECT id, from_request, payload, updated_at,
         lead(from_request) OVER (PARTITION BY id ORDER BY from_request) AS until_request
    FROM chk.src_version;

-- Requests for records whose answer somebody was there to hear, with their window.
CREATE VIEW chk.ask AS
  SELECT * FROM chk.req WHERE statement LIKE 'SELECT * FROM QBO WHERE%' AND NOT abandoned;

-- Windows that succeeded, with the first request of the attempt that did.
CREATE VIEW chk.fetched AS
  SELECT p.*, (SELECT min(a.n) FROM chk.ask a
                WHERE a.window_start = p.window_start AND a.window_end = p.window_end
                  AND a.at BETWEEN p.started_at AND p.finished_at) AS first_request
    FROM raw.backfill_report_ENTITY p WHERE p.status = 'success';

-- Complete: what a window that succeeded must have seen is there.
CREATE VIEW chk.i1 AS
  SELECT DISTINCT v.id AS what FROM chk.version v
    JOIN chk.fetched f ON v.updated_at >= f.window_start AND v.updated_at < f.window_end
   WHERE v.until_request IS NULL AND v.from_request <= f.first_request
     AND NOT EXISTS (SELECT FROM raw.qb_ENTITY d WHERE d.id = v.id)
     AND NOT EXISTS (SELECT FROM raw.qb_rejects x WHERE x.record_id = v.id);

-- Fresh and exact: a payload is a state that the record had, and none that a later fetch must have replaced.
CREATE VIEW chk.i2 AS
  SELECT d.id AS what FROM raw.qb_ENTITY d
   WHERE NOT EXISTS (
     SELECT FROM chk.version v
      WHERE v.id = d.id AND v.payload = d.payload
        AND NOT EXISTS (SELECT FROM chk.version w
                          JOIN chk.fetched f ON w.updated_at >= f.window_start AND w.updated_at < f.window_end
                         WHERE w.id = v.id AND w.from_request > v.from_request AND w.from_request <= f.first_request
                           AND (w.until_request IS NULL OR w.until_request > f.first_request)));

-- Nothing invented.
CREATE VIEW chk.i3 AS
  SELECT d.id AS what FROM raw.qb_ENTITY d
   WHERE NOT EXISTS (SELECT FROM chk.src_version v WHERE v.id = d.id AND v.payload IS NOT NULL);

-- The report says what was served, and its parts make its sum. A page may be asked for again in smaller pieces, so places
-- in the window are counted, not answers; and a window whose rows moved is read again, so those since its last beginning.
CREATE VIEW chk.i4 AS
  SELECT f.report_id::text AS what FROM chk.fetched f
   WHERE f.row_count <> f.inserted_count + f.updated_count + f.skipped_count + f.rejected_count
      OR f.row_count <> (SELECT count(DISTINCT place) FROM chk.ask a
                          CROSS JOIN LATERAL generate_series(a.first, a.first + a.rows - 1) AS place
                          WHERE a.window_start = f.window_start AND a.window_end = f.window_end
                            AND a.at BETWEEN f.started_at AND f.finished_at AND a.whole AND a.status = 200 AND NOT a.faulted
                            AND a.n >= (SELECT max(b.n) FROM chk.ask b
                                         WHERE b.window_start = f.window_start AND b.window_end = f.window_end
                                           AND b.at BETWEEN f.started_at AND f.finished_at AND b.whole AND b.status = 200
                                           AND NOT b.faulted AND b.statement LIKE '%STARTPOSITION 1 %'));

-- The windows of a run that succeeded cover its range, without a gap or an overlap.
CREATE VIEW chk.i5 AS
  SELECT r.run_id::text AS what FROM raw.qb_run r
   CROSS JOIN LATERAL (SELECT range_agg(tstzrange(p.window_start, p.window_end)) AS covered,
                              sum(p.window_end - p.window_start) AS length
                         FROM raw.backfill_report_ENTITY p WHERE p.run_id = r.run_id AND p.status = 'success') c
   CROSS JOIN LATERAL (SELECT tstzrange(r.start_date::timestamp AT TIME ZONE 'UTC',
                                        (r.end_date + 1)::timestamp AT TIME ZONE 'UTC') AS range) w
   WHERE r.entity = 'ENTITY' AND r.status = 'success' AND r.windows IS NULL
     AND (c.covered IS DISTINCT FROM tstzmultirange(w.range)
          OR extract(epoch FROM c.length) <> extract(epoch FROM upper(w.range) - lower(w.range)));

-- A run is what its windows are.
CREATE VIEW chk.i6 AS
  SELECT r.run_id::text AS what FROM raw.qb_run r
   CROSS JOIN LATERAL (SELECT count(*) FILTER (WHERE p.status = 'success') AS done
                         FROM raw.backfill_report_ENTITY p WHERE p.run_id = r.run_id) c
   WHERE r.entity = 'ENTITY'
     AND (r.windows_done <> c.done OR (r.status = 'success') <> (c.done = r.windows_total AND r.finished_at IS NOT NULL)
          OR (r.status IN ('queued', 'running')) <> (r.finished_at IS NULL));

-- No orphan: whoever works holds the lock of its connection.
CREATE VIEW chk.i7 AS
  SELECT r.run_id::text AS what FROM raw.qb_run r JOIN raw.qb_config c USING (connection)
   WHERE r.status = 'running'
     AND NOT EXISTS (SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
                      WHERE d.datname = current_database() AND l.locktype = 'advisory' AND l.granted
                        AND l.classid = x'71626f01'::int::oid AND l.objid = c.connection_id::oid);

-- The newest refresh token is stored, or a person is asked for.
CREATE VIEW chk.i8 AS
  SELECT c.connection AS what FROM raw.qb_config c
   WHERE c.auth_state <> 'needs_reauth'
     AND c.refresh_token IS DISTINCT FROM
         (SELECT t.value FROM chk.token t WHERE t.event = 'issued' ORDER BY t.seq DESC LIMIT 1);

-- A refresh token is redeemed once; again only for an answer that was cut off.
CREATE VIEW chk.i9 AS
  SELECT t.value AS what FROM chk.token t CROSS JOIN chk.world w
   WHERE t.event = 'redeemed' AND w.rotates GROUP BY t.value, w.cut_off HAVING count(*) > 1 + w.cut_off;

-- One report row an attempt and one success a window, one live run a range.
CREATE VIEW chk.i10 AS
  SELECT run_id::text AS what FROM raw.backfill_report_ENTITY GROUP BY run_id, window_start, attempt HAVING count(*) > 1
  UNION SELECT run_id::text FROM raw.backfill_report_ENTITY WHERE status = 'success' GROUP BY run_id, window_start HAVING count(*) > 1
  UNION SELECT max(run_id)::text FROM raw.qb_run WHERE status IN ('queued', 'running') AND windows IS NULL
         GROUP BY connection, entity, start_date, end_date, chunk_days, page_size, window_on HAVING count(*) > 1;

-- No secret outside the config table.
CREATE FUNCTION chk.leaks() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
  place regclass;
BEGIN
  FOR place IN SELECT c.oid FROM pg_class c WHERE c.relnamespace = 'raw'::regnamespace AND c.relkind IN ('r', 'p')
                  AND c.oid <> 'raw.qb_config'::regclass LOOP
    -- What is long to make is made once, and then searched.
    RETURN QUERY EXECUTE format('SELECT %L::text FROM (SELECT string_agg(t::text, '' '') AS whole FROM %s t OFFSET 0) a
                                  WHERE EXISTS (SELECT FROM chk.canary c WHERE strpos(a.whole, c.value) > 0)', place, place);
  END LOOP;
  RETURN QUERY SELECT DISTINCT 'log'::text FROM chk.log l JOIN chk.canary c ON strpos(l.line, c.value) > 0;
END
$$;
CREATE VIEW chk.i11 AS SELECT l AS what FROM chk.leaks() l;

-- Quiet: a live run still needed what was asked for; ten at once; the documented rates where they were set. A run closes
-- its connections before it ends, and so does a worker that is struck: what was on its way then is abandoned.
CREATE VIEW chk.i12 AS
  SELECT a.n::text AS what FROM chk.ask a
   WHERE NOT EXISTS (
     SELECT FROM raw.qb_run r
      WHERE r.entity = 'ENTITY' AND a.at BETWEEN r.requested_at AND coalesce(r.finished_at, 'infinity')
        AND NOT EXISTS (SELECT FROM raw.backfill_report_ENTITY p
                         WHERE p.run_id = r.run_id AND p.window_start = a.window_start AND p.status = 'success'
                           AND p.finished_at < a.at))
  UNION SELECT a.n::text FROM chk.req a
   WHERE (SELECT count(*) FROM chk.req b WHERE b.at <= a.at AND b.at + b.took > a.at) > 10
  UNION SELECT a.n::text FROM chk.req a CROSS JOIN chk.world w
   WHERE w.paced AND (SELECT count(*) FROM chk.req b WHERE b.at > a.at - interval '1 minute' AND b.at <= a.at) > 500;

-- Live: a run ends, or shows that it goes on.
CREATE VIEW chk.i13 AS
  SELECT r.run_id::text AS what FROM raw.qb_run r CROSS JOIN chk.world w
   WHERE r.status IN ('queued', 'running') AND r.updated_at < clock_timestamp() - w.patience;

CREATE VIEW chk.broken AS
  SELECT 'I1' AS rule, what FROM chk.i1 UNION ALL SELECT 'I2', what FROM chk.i2 UNION ALL SELECT 'I3', what FROM chk.i3
  UNION ALL SELECT 'I4', what FROM chk.i4 UNION ALL SELECT 'I5', what FROM chk.i5 UNION ALL SELECT 'I6', what FROM chk.i6
  UNION ALL SELECT 'I7', what FROM chk.i7 UNION ALL SELECT 'I8', what FROM chk.i8 UNION ALL SELECT 'I9', what FROM chk.i9
  UNION ALL SELECT 'I10', what FROM chk.i10 UNION ALL SELECT 'I11', what FROM chk.i11
  UNION ALL SELECT 'I12', what FROM chk.i12 UNION ALL SELECT 'I13', what FROM chk.i13;

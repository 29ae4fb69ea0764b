-- What a person looks at. The views run with the rights of the extension's owner, so that a reader needs no right on the
-- tables behind them; none shows a secret.

CREATE FUNCTION raw.qb_bar(
  done  bigint,
  total bigint,
  width int DEFAULT 20                          -- characters
) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  SELECT repeat(CASE WHEN utf8 THEN U&'\2588' ELSE '#' END, filled)
      || repeat(CASE WHEN utf8 THEN U&'\2591' ELSE '-' END, qb_bar.width - filled)
    FROM (SELECT current_setting('client_encoding') IN ('UTF8', 'SQL_ASCII') AS utf8,
                 least(qb_bar.width, greatest(0, coalesce(qb_bar.done * qb_bar.width / nullif(qb_bar.total, 0), 0)))::int AS filled) b
$$;

CREATE VIEW raw.qb_entities WITH (security_barrier) AS
  SELECT entity, qbo_name, kind, inactive_too, table_name, report_table FROM raw.qb_catalogue();

CREATE VIEW raw.qb_secrets WITH (security_barrier) AS
  SELECT c.connection, s.name, s.purpose, s.is_set, s.expires_at, s.rotation, c.auth_state,
         coalesce(c.responsible, 'nobody named') AS responsible
    FROM raw.qb_config c
   CROSS JOIN LATERAL (VALUES
     (1, 'client_id', 'names the Intuit app', c.client_id IS NOT NULL, NULL::timestamptz,
      'by hand, when the app is replaced: raw.qb_connect'),
     (2, 'client_secret', 'proves the app to Intuit', c.client_secret IS NOT NULL, NULL,
      'by hand, in Intuit''s developer portal, then raw.qb_connect'),
     (3, 'refresh_token', 'gets access tokens', c.refresh_token IS NOT NULL,
      least(c.refresh_expires_at, c.refresh_hard_expires_at),
      'by itself, about once a day; after 100 days without use the company must be connected again'),
     (4, 'access_token', 'opens the API', c.access_token IS NOT NULL, c.access_expires_at, 'by itself, every hour')
   ) AS s(place, name, purpose, is_set, expires_at, rotation)
   ORDER BY c.connection, s.place;

CREATE VIEW raw.qb_progress WITH (security_barrier) AS
  SELECT r.run_id, r.connection, r.entity, r.status,
         raw.qb_bar(r.windows_done + r.windows_failed, r.windows_total) AS bar,
         r.windows_done + r.windows_failed AS windows, r.windows_total AS of_windows, r.windows_failed AS failed,
         r.row_count AS rows,
         CASE WHEN e.seconds > 0 THEN round((r.row_count / e.seconds)::numeric, 1) END AS rows_per_second,
         CASE WHEN r.windows_done + r.windows_failed > 0 AND r.status = 'running' THEN
           date_trunc('second', make_interval(secs =>
             e.seconds * (r.windows_total - r.windows_done - r.windows_failed) / (r.windows_done + r.windows_failed))) END AS time_left,
         r.started_at, r.not_before
    FROM raw.qb_run r
   CROSS JOIN LATERAL (SELECT extract(epoch FROM clock_timestamp() - r.started_at)::float8 AS seconds) e
   WHERE r.status IN ('queued', 'running')
   ORDER BY r.run_id;
REVOKE ALL ON raw.qb_entities, raw.qb_secrets, raw.qb_progress FROM PUBLIC;
REVOKE ALL ON FUNCTION raw.qb_bar(bigint, bigint, int) FROM PUBLIC;

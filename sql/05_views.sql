-- What a person looks at. The views run with the rights of the extension's owner, so that a reader needs no right on the
-- tables behind them; none shows a secret. Here and in the files below a call has the very types that its function declares,
-- with no argument left out: no other function of the name can match it better.

CREATE FUNCTION raw._qb_is_utf8() RETURNS boolean -- whether the client can show more than ASCII
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  SELECT current_setting('client_encoding') = 'UTF8'
$$;

CREATE FUNCTION raw._qb_bar(
  done  bigint,
  total bigint,
  width int DEFAULT 20                          -- characters, 1000 at most; in UTF-8 each shows eighths
) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN raw._qb_is_utf8() THEN
           repeat(E'\u2588', eighths / 8)
             || CASE WHEN eighths % 8 > 0 THEN substr(E'\u258F\u258E\u258D\u258C\u258B\u258A\u2589', eighths % 8, 1) ELSE '' END
             || repeat(E'\u2591', _qb_bar.width - (eighths + 7) / 8)
         ELSE repeat('#', eighths / 8) || repeat('-', _qb_bar.width - eighths / 8) END
    FROM (SELECT least(8::numeric * _qb_bar.width,
                       greatest(0, coalesce(div(8::numeric * _qb_bar.done * _qb_bar.width, nullif(_qb_bar.total, 0)), 0)))::int AS eighths
           WHERE _qb_bar.width BETWEEN 0 AND 1000) b
$$;

CREATE FUNCTION raw._qb_clock(
  seconds float8
) RETURNS text                                  -- '0:07', '12:30', '1:05:00', '3 days'; NULL for NULL
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN s >= 172800 THEN round(s / 86400.0) || ' days'
              WHEN s >= 3600 THEN (s / 3600) || ':' || lpad((s / 60 % 60)::text, 2, '0') || ':' || lpad((s % 60)::text, 2, '0')
              ELSE (s / 60) || ':' || lpad((s % 60)::text, 2, '0') END
    FROM (SELECT ceil(CASE WHEN _qb_clock.seconds > 1e9 THEN 1e9 WHEN _qb_clock.seconds < 0 THEN 0 ELSE _qb_clock.seconds END)::int AS s) c
$$;

CREATE VIEW raw.qb_entities WITH (security_barrier) AS
  SELECT entity, qbo_name, kind, inactive_too, table_name, report_table FROM raw._qb_catalogue();

CREATE VIEW raw.qb_connections WITH (security_barrier) AS
  SELECT c.connection, c.realm_id, c.environment, c.target_schema, c.auth_state, c.page_size, c.monthly_budget, c.responsible
    FROM raw.qb_config c;

CREATE VIEW raw.qb_secrets WITH (security_barrier) AS
  SELECT c.connection, s.name, s.purpose, s.is_set, s.expires_at, s.attention, s.rotation, c.auth_state,
         coalesce(c.responsible, 'nobody named') AS responsible
    FROM raw.qb_config c
   CROSS JOIN LATERAL (VALUES
     (1, 'client_id', 'names the Intuit app', c.client_id IS NOT NULL, NULL::timestamptz,
      CASE WHEN c.auth_state = 'bad_client' THEN 'Intuit refuses it: raw.qb_connect' END,
      'by hand, when the app is replaced: raw.qb_connect'),
     (2, 'client_secret', 'proves the app to Intuit', c.client_secret IS NOT NULL, NULL,
      CASE WHEN c.auth_state = 'bad_client' THEN 'Intuit refuses it: raw.qb_connect' END,
      'by hand, in Intuit''s developer portal, then raw.qb_connect'),
     (3, 'refresh_token', 'gets access tokens', c.refresh_token IS NOT NULL,
      least(c.refresh_expires_at, c.refresh_hard_expires_at),
      CASE WHEN c.auth_state = 'needs_reauth' OR c.refresh_token IS NULL OR c.refresh_hard_expires_at < now()
             THEN 'authorize the company: raw.qb_authorize_url'
           WHEN c.refresh_hard_expires_at < now() + interval '60 days'
             THEN format('ends for good in %s days: authorize the company again, raw.qb_authorize_url',
                         extract(day FROM c.refresh_hard_expires_at - now()))
           WHEN c.refresh_expires_at < now() + interval '30 days'
             THEN format('ends in %s days unless it is used: does raw.qb_tick run?',
                         extract(day FROM c.refresh_expires_at - now())) END,
      'by itself, about once a day; after 100 days without use the company must be connected again'),
     (4, 'access_token', 'opens the API', c.access_token IS NOT NULL, c.access_expires_at, NULL, 'by itself, every hour')
   ) AS s(place, name, purpose, is_set, expires_at, attention, rotation)
   ORDER BY c.connection, s.place;

CREATE VIEW raw.qb_progress WITH (security_barrier) AS
  SELECT r.run_id, r.connection, r.entity,
         raw._qb_bar((r.windows_done + r.windows_failed)::bigint, r.windows_total::bigint, 8) AS progress,
         (r.windows_done + r.windows_failed) || '/' || r.windows_total AS windows,
         r.row_count AS rows,
         CASE WHEN r.status = 'running' AND e.seconds > 0 THEN round((r.row_count - r.attempt_rows) / e.seconds::numeric) END AS "rows/s",
         CASE WHEN p.paused_until > now() THEN 'waits ' || raw._qb_clock(extract(epoch FROM p.paused_until - now())::float8)
              WHEN r.status = 'queued' THEN 'queued'
              WHEN e.finished > 0 THEN raw._qb_clock(e.seconds * (r.windows_total - r.windows_done - r.windows_failed) / e.finished)
              END AS "left"
    FROM raw.qb_run r
   CROSS JOIN LATERAL (SELECT extract(epoch FROM clock_timestamp() - r.attempt_started_at)::float8 AS seconds,
                              r.windows_done + r.windows_failed - r.attempt_windows AS finished) e
   CROSS JOIN LATERAL (SELECT CASE r.status WHEN 'queued' THEN raw._qb_paused_until(r.connection) END AS paused_until) p
   WHERE r.status IN ('queued', 'running')
   ORDER BY r.run_id;

CREATE VIEW raw.qb_history WITH (security_barrier) AS
  SELECT r.run_id, r.connection, r.entity, r.start_date, r.end_date, r.status, r.windows_done || '/' || r.windows_total AS windows,
         r.row_count AS rows, r.inserted_count AS new, r.updated_count AS updated, r.skipped_count AS unchanged,
         r.request_count AS requests,
         date_trunc('second', r.started_at) AS started_at,
         raw._qb_clock(extract(epoch FROM coalesce(r.finished_at, clock_timestamp()) - r.started_at)::float8) AS took, r.error_code
    FROM raw.qb_run r
   ORDER BY r.run_id DESC;

CREATE VIEW raw.qb_api_usage WITH (security_barrier) AS
  SELECT u.connection, to_char(u.month, 'YYYY-MM') AS month, u.entity, u.outcome, u.requests,
         sum(u.requests) OVER (PARTITION BY u.connection, u.month) AS of_month, c.monthly_budget AS budget
    FROM raw.qb_usage u LEFT JOIN raw.qb_config c ON c.connection = u.connection
   ORDER BY u.connection, u.month DESC, u.entity, u.outcome;

-- What live runs are at, so that the same windows are not queued twice.
CREATE VIEW raw._qb_live_windows WITH (security_barrier) AS
  SELECT r.run_id, r.connection, r.entity, r.window_on,
         CASE WHEN r.windows IS NULL THEN
                tstzmultirange(tstzrange(r.start_date::timestamp AT TIME ZONE 'UTC', (r.end_date + 1)::timestamp AT TIME ZONE 'UTC'))
              ELSE (SELECT range_agg(w) FROM unnest(r.windows) w) END AS spans
    FROM raw.qb_run r
   WHERE r.status IN ('queued', 'running') AND r.cancel_requested_at IS NULL;

REVOKE ALL ON raw.qb_entities, raw.qb_connections, raw.qb_secrets, raw.qb_progress, raw.qb_history, raw.qb_api_usage, raw._qb_live_windows FROM PUBLIC;
REVOKE ALL ON FUNCTION raw._qb_is_utf8(), raw._qb_bar(bigint, bigint, int), raw._qb_clock(float8) FROM PUBLIC;

-- What is covered, from the report rows of all runs: a day is what its newest attempt says. Everything here reads with the
-- rights of whoever asks. Each function looks at its names before they stand in a query, in a declaration even where nobody
-- needs the table: an error shows the whole query, or statement, that it comes from.

CREATE FUNCTION raw._qb_report_of(
  entity     text,
  connection text
) RETURNS regclass                              -- NULL: nothing was ever fetched
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  place name;
  known text := raw._qb_entity(_qb_report_of.entity);
BEGIN
  IF _qb_report_of.connection IS NULL THEN
    RAISE EXCEPTION 'connection must not be null' USING ERRCODE = 'null_value_not_allowed',
      HINT = 'Leave the argument out to get its default.';
  END IF;
  SELECT c.target_schema INTO place FROM raw.qb_connections c WHERE c.connection = _qb_report_of.connection;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'connection "%" does not exist', left(_qb_report_of.connection, 60) USING ERRCODE = 'invalid_parameter_value',
      HINT = 'SELECT connection FROM raw.qb_connections; lists what there is, raw.qb_connect sets one up.';
  END IF;
  RETURN (SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE n.nspname = place AND c.relname = 'backfill_report_' || known
             AND c.relkind IN ('r', 'p'));
END
$$;

-- The day, UTC, that is not over yet at a point of time. A day is over five minutes after its end: QuickBooks' clock may be
-- behind ours, and what was saved in the last moment may show up a little later.
CREATE FUNCTION raw._qb_day_of(
  moment timestamptz
) RETURNS date
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT ((moment - interval '5 minutes') AT TIME ZONE 'UTC')::date
$$;

CREATE FUNCTION raw._qb_days(
  entity     text,
  connection text,
  window_on  text,
  start_date date DEFAULT NULL,                 -- NULL = from the first day that was ever asked for
  end_date   date DEFAULT NULL                  -- NULL = to the last one
) RETURNS TABLE (
  day        date,
  status     text,                              -- 'covered', 'failed', 'open' (not over yet), 'in part' (fetched before it was over)
  report_id  bigint,                            -- the newest attempt
  run_id     bigint,
  error_code text,
  lost       boolean                            -- it was stored, in a table that is gone
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  report regclass := raw._qb_report_of(_qb_days.entity, _qb_days.connection);
  known text := raw._qb_entity(_qb_days.entity);
  gone boolean;
  rejects_gone boolean;
BEGIN
  IF _qb_days.window_on IS NULL OR _qb_days.window_on NOT IN ('updated', 'created') THEN
    RAISE EXCEPTION 'window_on is %', coalesce(quote_literal(left(_qb_days.window_on, 40)), 'null')
      USING ERRCODE = 'invalid_parameter_value', DETAIL = 'It must be ''updated'' or ''created''.';
  END IF;
  PERFORM raw._qb_check_range(coalesce(_qb_days.start_date, '1990-01-01'), coalesce(_qb_days.end_date, '2200-01-01'));
  IF report IS NULL THEN
    RETURN;
  END IF;
  -- What a table held that was dropped or renamed is covered no more.
  SELECT coalesce(bool_and(c.relname <> 'qb_' || known), true), coalesce(bool_and(c.relname <> 'qb_rejects'), true)
    INTO gone, rejects_gone
    FROM pg_class c JOIN pg_class p ON p.relnamespace = c.relnamespace
   WHERE p.oid = report AND c.relname IN ('qb_' || known, 'qb_rejects') AND c.relkind IN ('r', 'p');
  -- A window that succeeded covers the days that lie in it whole; one that failed spoils every day it touches. What was
  -- fetched while the day still went on does not have all of it. In hours, since a day of the session's zone can have 23 or 25.
  -- The same window is fetched again and again: only its newest attempt counts, and there are far fewer windows than attempts.
  RETURN QUERY EXECUTE format($q$
    SELECT DISTINCT ON (a.day) a.day,
           CASE WHEN p.status <> 'success' OR g.gone THEN 'failed'
                WHEN raw._qb_day_of(p.started_at::timestamptz) > a.day THEN 'covered'
                WHEN $5 <= a.day THEN 'open'
                ELSE 'in part' END,
           p.report_id, p.run_id, CASE WHEN g.gone THEN 'table_gone' ELSE p.error_code END,
           g.gone OR coalesce(p.error_code = 'table_made_again', false)
      FROM (
        SELECT d.day, max(w.newest) AS newest
          FROM (
            SELECT p.window_start, p.window_end, p.status, max(p.report_id) AS newest
              FROM %1$s p
              LEFT JOIN raw.qb_run r ON r.run_id = p.run_id AND r.entity = $8 AND r.connection = $9
             WHERE (r.window_on = $1 OR r.run_id IS NULL AND $1 = 'updated')
               AND p.window_start < ($3 + 1)::timestamp AT TIME ZONE 'UTC' AND p.window_end > $2::timestamp AT TIME ZONE 'UTC'
             GROUP BY p.window_start, p.window_end, p.status) w
         CROSS JOIN LATERAL (
           SELECT CASE w.status WHEN 'success' THEN w.window_start + interval '24 hours' - interval '1 microsecond' ELSE w.window_start END AS first,
                  CASE w.status WHEN 'success' THEN w.window_end - interval '24 hours' ELSE w.window_end - interval '1 microsecond' END AS last) b
         CROSS JOIN LATERAL (
           SELECT greatest((b.first AT TIME ZONE 'UTC')::date, $2) AS first, least((b.last AT TIME ZONE 'UTC')::date, $3) AS last) c
         CROSS JOIN LATERAL (SELECT c.first + n AS day FROM generate_series(0, c.last - c.first) n) d
         GROUP BY d.day LIMIT $4) a
      JOIN %1$s p ON p.report_id = a.newest
     CROSS JOIN LATERAL (SELECT p.status = 'success' AND ($6 OR $7 AND p.rejected_count > 0) AS gone) g
     ORDER BY a.day$q$, report)
    USING _qb_days.window_on, coalesce(_qb_days.start_date, '-infinity'), coalesce(_qb_days.end_date, 'infinity'),
      _qb_days.end_date - _qb_days.start_date + 1, raw._qb_day_of(now()), gone, rejects_gone,
      known, _qb_days.connection;
END
$$;

-- Days that were stored in a table that is gone, whether or not it was made again.
CREATE FUNCTION raw._qb_lost(
  entity     text,
  connection text,
  window_on  text,
  OUT message text,                             -- how many
  OUT cure text                                 -- what fetches them again; both NULL: nothing is lost
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  days int;
BEGIN
  SELECT count(*) INTO days FROM raw._qb_days(_qb_lost.entity, _qb_lost.connection, _qb_lost.window_on, NULL::date, NULL::date) d
   WHERE d.lost;
  IF days > 0 THEN
    message := format('%s %s of %s were stored in a table that is gone', days, CASE days WHEN 1 THEN 'day' ELSE 'days' END,
                      raw._qb_entity(_qb_lost.entity));
    cure := format('SELECT raw.qb_retry_failed(%L%s%s);', raw._qb_entity(_qb_lost.entity),
                   CASE WHEN _qb_lost.window_on <> 'updated' THEN format(', window_on => %L', _qb_lost.window_on) END,
                   CASE WHEN _qb_lost.connection <> 'default' THEN format(', connection => %L', _qb_lost.connection) END);
  END IF;
END
$$;

CREATE FUNCTION raw.qb_coverage(
  entity     text,
  start_date date DEFAULT NULL,                 -- NULL = the first day that was ever asked for
  end_date   date DEFAULT NULL,                 -- NULL = today, UTC
  window_on  text DEFAULT 'updated',
  connection text DEFAULT 'default'
) RETURNS TABLE (
  month   text,
  days    text,                                 -- a mark a day, from the 1st on
  covered int,
  failed  int,
  missing int                                   -- days that are over and were never fetched, or not as a whole
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  report regclass := raw._qb_report_of(qb_coverage.entity, qb_coverage.connection);
  today date := raw._qb_day_of(now());
  first date := qb_coverage.start_date;
  last date := coalesce(qb_coverage.end_date, today);
  marks text := CASE WHEN raw._qb_is_utf8() THEN E'\u2588\u00D7\u2592\u00B7' ELSE '#x~.' END;
BEGIN
  IF first IS NULL THEN
    SELECT min(d.day) INTO first FROM raw._qb_days(qb_coverage.entity, qb_coverage.connection, qb_coverage.window_on,
                                                  NULL::date, NULL::date) d;
    IF first IS NULL THEN
      RAISE NOTICE 'nothing of % was fetched yet', raw._qb_entity(qb_coverage.entity);
      RETURN;
    END IF;
  END IF;
  PERFORM raw._qb_check_range(first, last);

  RETURN QUERY SELECT ''::text, '1   5    10   15   20   25   30'::text, NULL::int, NULL::int, NULL::int;
  RETURN QUERY
    SELECT to_char(s.day, 'YYYY-MM'),
           rtrim(repeat(' ', extract(day FROM min(s.day))::int - 1)
             || string_agg(CASE WHEN d.status = 'covered' THEN substr(marks, 1, 1)
                                WHEN d.status = 'failed' THEN substr(marks, 2, 1)
                                WHEN d.status IN ('open', 'in part') THEN substr(marks, 3, 1)
                                WHEN s.day < today THEN substr(marks, 4, 1) ELSE ' ' END, '' ORDER BY s.day)),
           count(*) FILTER (WHERE d.status = 'covered')::int,
           count(*) FILTER (WHERE d.status = 'failed')::int,
           count(*) FILTER (WHERE s.day < today AND coalesce(d.status, 'in part') = 'in part')::int
      FROM (SELECT first + n AS day FROM generate_series(0, last - first) n) s
      LEFT JOIN raw._qb_days(qb_coverage.entity, qb_coverage.connection, qb_coverage.window_on, first, last) d ON d.day = s.day
     GROUP BY 1 ORDER BY 1;
  RETURN QUERY SELECT ''::text,
    format('%s covered %s failed %s in part %s missing', substr(marks, 1, 1), substr(marks, 2, 1), substr(marks, 3, 1), substr(marks, 4, 1)),
    NULL::int, NULL::int, NULL::int;
END
$$;

CREATE FUNCTION raw._qb_check_range(
  start_date date,
  end_date   date
) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF _qb_check_range.end_date < _qb_check_range.start_date THEN
    RAISE EXCEPTION 'end_date % is before start_date %', _qb_check_range.end_date, _qb_check_range.start_date
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Both days belong to the range; for a single day give it twice.';
  END IF;
  IF _qb_check_range.start_date < '1990-01-01' OR _qb_check_range.end_date > '2200-01-01' THEN
    RAISE EXCEPTION 'the range % to % is too long', _qb_check_range.start_date, _qb_check_range.end_date
      USING ERRCODE = 'invalid_parameter_value', DETAIL = 'It must lie between 1990-01-01 and 2200-01-01.';
  END IF;
END
$$;

CREATE FUNCTION raw._qb_check_page_size(
  page_size int
) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF _qb_check_page_size.page_size IS NULL OR _qb_check_page_size.page_size NOT BETWEEN 1 AND 1000 THEN
    RAISE EXCEPTION 'page_size is %', coalesce(_qb_check_page_size.page_size::text, 'null')
      USING ERRCODE = CASE WHEN _qb_check_page_size.page_size IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
            DETAIL = 'It must be 1 to 1000, the most that QuickBooks gives in one page.';
  END IF;
END
$$;

CREATE FUNCTION raw.qb_gaps(
  entity     text,
  start_date date DEFAULT NULL,                 -- NULL = the first day that was ever asked for
  end_date   date DEFAULT NULL,                 -- NULL = yesterday, UTC; later days are not over and so no gap
  window_on  text DEFAULT 'updated',
  connection text DEFAULT 'default',
  OUT gap_start date,                           -- both days belong to the gap
  OUT gap_end   date,
  OUT days      int,
  OUT reason    text
) RETURNS SETOF record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  report regclass := raw._qb_report_of(qb_gaps.entity, qb_gaps.connection);
  yesterday date := raw._qb_day_of(now()) - 1;
  first date := qb_gaps.start_date;
  last date := least(coalesce(qb_gaps.end_date, yesterday), yesterday);
BEGIN
  IF first IS NULL THEN
    SELECT min(d.day) INTO first FROM raw._qb_days(qb_gaps.entity, qb_gaps.connection, qb_gaps.window_on,
                                                  NULL::date, NULL::date) d;
    IF first IS NULL THEN
      RAISE NOTICE 'nothing of % was fetched yet', raw._qb_entity(qb_gaps.entity)
        USING HINT = 'Name a range: raw.qb_gaps(entity, start_date, end_date).';
      RETURN;
    END IF;
  END IF;
  PERFORM raw._qb_check_range(first, coalesce(qb_gaps.end_date, greatest(first, last)));
  IF first > yesterday THEN
    RAISE NOTICE 'no day from % on is over yet', first;
  END IF;

  RETURN QUERY
    SELECT min(g.day), max(g.day), count(*)::int, g.why
      FROM (SELECT s.day, w.why, s.day - (row_number() OVER (PARTITION BY w.why ORDER BY s.day))::int AS island
              FROM (SELECT first + n AS day FROM generate_series(0, last - first) n) s
              LEFT JOIN raw._qb_days(qb_gaps.entity, qb_gaps.connection, qb_gaps.window_on, first, greatest(first, last)) d ON d.day = s.day
             CROSS JOIN LATERAL (SELECT CASE d.status WHEN 'failed' THEN 'failed: ' || d.error_code
                                                      WHEN 'in part' THEN 'fetched before it was over'
                                                      ELSE 'never fetched' END AS why) w
             WHERE coalesce(d.status, 'missing') NOT IN ('covered', 'open')) g
     GROUP BY g.why, g.island ORDER BY 1;
END
$$;

CREATE FUNCTION raw.qb_fill_gaps(
  entity     text,
  start_date date DEFAULT NULL,                 -- as for qb_gaps
  end_date   date DEFAULT NULL,
  chunk_days int DEFAULT 7,
  page_size  int DEFAULT 100,
  window_on  text DEFAULT 'updated',
  connection text DEFAULT 'default'
) RETURNS bigint                                -- the run; NULL when there is no gap
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  report regclass := raw._qb_report_of(qb_fill_gaps.entity, qb_fill_gaps.connection);
  wanted tstzrange[];
BEGIN
  IF coalesce(qb_fill_gaps.chunk_days, 0) < 1 THEN
    RAISE EXCEPTION 'chunk_days is %', coalesce(qb_fill_gaps.chunk_days::text, 'null')
      USING ERRCODE = CASE WHEN qb_fill_gaps.chunk_days IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
            DETAIL = 'It must be 1 or more.';
  END IF;
  PERFORM raw._qb_check_page_size(qb_fill_gaps.page_size);
  -- Gaps that touch are one stretch, whatever each is there for.
  SELECT array_agg(tstzrange(w.day::timestamp AT TIME ZONE 'UTC',
                             (least(w.day + least(qb_fill_gaps.chunk_days, 100000), s.last + 1))::timestamp AT TIME ZONE 'UTC') ORDER BY w.day)
    INTO wanted
    FROM (SELECT min(g.gap_start) AS first, max(g.gap_end) AS last
            FROM (SELECT o.gap_start, o.gap_end, count(*) FILTER (WHERE o.apart) OVER (ORDER BY o.gap_start) AS stretch
                    FROM (SELECT i.gap_start, i.gap_end,
                                 i.gap_start > lag(i.gap_end) OVER (ORDER BY i.gap_start) + 1 AS apart
                            FROM raw.qb_gaps(qb_fill_gaps.entity, qb_fill_gaps.start_date, qb_fill_gaps.end_date,
                                             qb_fill_gaps.window_on, qb_fill_gaps.connection) i) o) g
           GROUP BY g.stretch) s
   CROSS JOIN LATERAL (SELECT s.first + n * least(qb_fill_gaps.chunk_days, 100000) AS day
                         FROM generate_series(0, (s.last - s.first) / least(qb_fill_gaps.chunk_days, 100000)) n) w;
  IF wanted IS NULL THEN
    RAISE NOTICE 'there is no gap in %', raw._qb_entity(qb_fill_gaps.entity);
    RETURN NULL;
  END IF;
  RETURN raw.qb_backfill_windows(qb_fill_gaps.entity, wanted, qb_fill_gaps.page_size, qb_fill_gaps.window_on, qb_fill_gaps.connection);
END
$$;

CREATE FUNCTION raw.qb_retry_failed(
  entity     text,
  page_size  int DEFAULT NULL,                  -- NULL = as in the run that failed last
  window_on  text DEFAULT 'updated',
  connection text DEFAULT 'default'
) RETURNS bigint                                -- the run; NULL when nothing has failed
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  report regclass := raw._qb_report_of(qb_retry_failed.entity, qb_retry_failed.connection);
  wanted tstzrange[];
  size int;
BEGIN
  PERFORM raw._qb_check_page_size(coalesce(qb_retry_failed.page_size, 100));
  -- The same windows again: the days whose newest attempt is the same report row, as far as they hang together.
  SELECT array_agg(tstzrange(w.first::timestamp AT TIME ZONE 'UTC', (w.last + 1)::timestamp AT TIME ZONE 'UTC') ORDER BY w.first),
         coalesce(qb_retry_failed.page_size, (SELECT r.page_size FROM raw.qb_run r WHERE r.run_id = max(w.run_id)), 100)
    INTO wanted, size
    FROM (SELECT min(i.day) AS first, max(i.day) AS last, i.run_id
            FROM (SELECT d.day, d.report_id, d.run_id,
                         d.day - (row_number() OVER (PARTITION BY d.report_id ORDER BY d.day))::int AS island
                    FROM raw._qb_days(qb_retry_failed.entity, qb_retry_failed.connection, qb_retry_failed.window_on,
                                       NULL::date, NULL::date) d
                   WHERE d.status = 'failed') i
           GROUP BY i.report_id, i.run_id, i.island) w;
  IF wanted IS NULL THEN
    RAISE NOTICE 'no window of % has failed', raw._qb_entity(qb_retry_failed.entity);
    RETURN NULL;
  END IF;
  RETURN raw.qb_backfill_windows(qb_retry_failed.entity, wanted, size, qb_retry_failed.window_on, qb_retry_failed.connection);
END
$$;

CREATE FUNCTION raw.qb_purge_reports(
  older_than interval                           -- '2 years'; what is needed for coverage stays, however old it is
) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF qb_purge_reports.older_than IS NULL OR qb_purge_reports.older_than < interval '1 day' THEN
    RAISE EXCEPTION 'older_than is %', coalesce(qb_purge_reports.older_than::text, 'null')
      USING ERRCODE = CASE WHEN qb_purge_reports.older_than IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
            DETAIL = 'It must be an interval of a day or more.';
  END IF;
  -- Nothing is older than that, and a longer interval would leave the calendar.
  RETURN raw._qb_purge_before(now() - least(qb_purge_reports.older_than, interval '1000 years'));
END
$$;

REVOKE ALL ON FUNCTION raw._qb_report_of(text, text), raw._qb_day_of(timestamptz), raw._qb_days(text, text, text, date, date), raw._qb_lost(text, text, text),
  raw._qb_check_range(date, date), raw._qb_check_page_size(int),
  raw.qb_coverage(text, date, date, text, text), raw.qb_gaps(text, date, date, text, text),
  raw.qb_fill_gaps(text, date, date, int, int, text, text), raw.qb_retry_failed(text, int, text, text),
  raw.qb_purge_reports(interval) FROM PUBLIC;

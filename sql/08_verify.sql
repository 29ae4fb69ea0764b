-- What QuickBooks is asked without loading anything: verification, a dry run, and the doctor.

CREATE FUNCTION raw.qb_verify(
  entity     text,
  start_date date,
  end_date   date,
  chunk_days int DEFAULT 7,                     -- each window costs a request
  window_on  text DEFAULT 'updated',
  connection text DEFAULT 'default'
) RETURNS TABLE (
  window_start  timestamptz,
  window_end    timestamptz,
  in_quickbooks bigint,                         -- records whose time lies in the window now
  in_table      bigint,                         -- records of the table whose time lies in it, rejects included
  missing       bigint,                         -- records that should be in the table
  changed_since bigint,                         -- records that left the window since: changed again, or deleted
  verdict       text
)
-- To compile its statement takes longer than to run it, however many rows the planner expects of the functions in it.
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
  wrong int := 0;
  lost bigint := 0;
BEGIN
  FOR window_start, window_end, in_quickbooks, in_table, missing, changed_since, verdict IN
    SELECT c.window_start, c.window_end, c.in_quickbooks, c.in_table,
           greatest(c.in_quickbooks - c.in_table, 0), greatest(c.in_table - c.in_quickbooks, 0),
           CASE WHEN c.in_quickbooks = c.in_table THEN 'same'
                WHEN c.in_quickbooks < c.in_table THEN 'changed since'
                WHEN d.failed THEN 'failed'
                WHEN d.covered THEN 'missing'
                WHEN c.window_end > now() THEN 'not over yet'
                WHEN d.fetched THEN 'fetched in part'
                ELSE 'not fetched' END
      FROM raw._qb_count(qb_verify.entity, qb_verify.start_date, qb_verify.end_date, qb_verify.chunk_days,
                        qb_verify.window_on, qb_verify.connection, true) c
     CROSS JOIN LATERAL (
       SELECT bool_or(t.status = 'failed' AND NOT t.lost) AS failed, bool_or(t.status IS NOT NULL) AS fetched,
              bool_and(coalesce(t.status = 'covered' OR t.lost, false)) AS covered
         FROM generate_series(0, (c.window_end AT TIME ZONE 'UTC')::date - (c.window_start AT TIME ZONE 'UTC')::date - 1) n
         LEFT JOIN raw._qb_days(qb_verify.entity, qb_verify.connection, qb_verify.window_on,
                                qb_verify.start_date, qb_verify.end_date) t
           ON t.day = (c.window_start AT TIME ZONE 'UTC')::date + n) d
     ORDER BY c.window_start
  LOOP
    IF verdict = 'missing' THEN
      wrong := wrong + 1;
      lost := lost + missing;
    END IF;
    RETURN NEXT;
  END LOOP;
  IF wrong > 0 THEN
    RAISE WARNING '% records of % are missing in % windows that were fetched', lost, raw._qb_entity(qb_verify.entity), wrong
      USING HINT = 'Fetch these windows again with raw.qb_backfill; what is there already is not written twice.';
  END IF;
END
$$;

CREATE FUNCTION raw.qb_plan(
  entity     text,
  start_date date,
  end_date   date,
  chunk_days int DEFAULT 7,
  page_size  int DEFAULT 100,
  window_on  text DEFAULT 'updated',
  connection text DEFAULT 'default'
) RETURNS TABLE (
  window_start timestamptz,
  window_end   timestamptz,
  records      bigint,                          -- COUNT(*) of QuickBooks
  requests     bigint                           -- that fetching them will cost
)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  known raw.qb_connections;
  size int;
  windows int := 0;
  total bigint := 0;
  cost bigint := 0;
  spent bigint;
  pace int;
BEGIN
  -- Loads the library, and so its settings.
  PERFORM raw._qb_entity(qb_plan.entity);
  pace := current_setting('qbo_raw.requests_per_minute')::int;
  PERFORM raw._qb_check_page_size(qb_plan.page_size);
  SELECT * INTO known FROM raw.qb_connections c WHERE c.connection = qb_plan.connection;
  size := least(qb_plan.page_size, known.page_size);
  FOR window_start, window_end, records IN
    SELECT c.window_start, c.window_end, c.in_quickbooks
      FROM raw._qb_count(qb_plan.entity, qb_plan.start_date, qb_plan.end_date, qb_plan.chunk_days, qb_plan.window_on,
                        qb_plan.connection, false) c
  LOOP
    -- A page that is not full is the last one.
    requests := records / size + 1;
    windows := windows + 1;
    total := total + records;
    cost := cost + requests;
    RETURN NEXT;
  END LOOP;
  SELECT coalesce(sum(u.requests), 0) INTO spent FROM raw.qb_api_usage u
   WHERE u.connection = qb_plan.connection AND u.month = to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM');
  RAISE NOTICE '% %, % %: % %, % at % a minute', windows, CASE windows WHEN 1 THEN 'window' ELSE 'windows' END,
    total, CASE total WHEN 1 THEN 'record' ELSE 'records' END, cost, CASE cost WHEN 1 THEN 'request' ELSE 'requests' END,
    CASE WHEN cost <= pace THEN 'less than a minute' ELSE format('%s minutes', ceil(cost::numeric / pace)) END, pace;
  RAISE NOTICE '% of % requests of this month are spent', spent, coalesce(known.monthly_budget::text, 'unlimited');
  IF known.monthly_budget < spent + cost THEN
    RAISE WARNING 'the run would pass the budget of the month' USING
      HINT = 'It would stop with budget_spent, and raw.qb_resume goes on next month. A larger page_size costs fewer requests.';
  END IF;
END
$$;

-- What pg_stat_activity hides from others: free slots for workers, and whether the launcher is there. The launcher of
-- logical replication counts as a background worker too.
CREATE FUNCTION raw._qb_workers(
  OUT free int, OUT launcher boolean
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT (current_setting('max_worker_processes')::int - count(*) FILTER (WHERE a.backend_type NOT IN (
            'client backend', 'autovacuum launcher', 'autovacuum worker', 'background writer', 'checkpointer', 'startup',
            'walreceiver', 'walsender', 'walwriter', 'archiver', 'slotsync worker', 'walsummarizer', 'io worker',
            'standalone backend')))::int,
         coalesce(bool_or(a.backend_type = 'qbo_raw launcher'), false)
    FROM pg_stat_activity a
$$;

CREATE FUNCTION raw.qb_check(
  connection text DEFAULT 'default'
) RETURNS TABLE (
  subject    text,
  ok         boolean,
  result     text,
  what_to_do text
)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  known raw.qb_connections;
  free int;
  preloaded boolean;
  ticks boolean := false;
  missed text;
  secret record;
BEGIN
  IF qb_check.connection IS NULL THEN
    RAISE EXCEPTION 'connection must not be null' USING ERRCODE = 'null_value_not_allowed',
      HINT = 'Leave the argument out to get its default.';
  END IF;
  SELECT * INTO known FROM raw.qb_connections c WHERE c.connection = qb_check.connection;
  IF NOT FOUND AND EXISTS (SELECT 1 FROM raw.qb_connections) THEN
    RAISE EXCEPTION 'connection "%" does not exist', left(qb_check.connection, 60) USING ERRCODE = 'invalid_parameter_value',
      HINT = 'SELECT connection FROM raw.qb_connections; lists what there is, raw.qb_connect sets one up.';
  END IF;

  -- Loads the library, and so its settings.
  PERFORM raw._qb_entity('customers');
  subject := 'server';
  ok := NOT pg_is_in_recovery() AND current_setting('qbo_raw.enabled')::boolean;
  result := CASE WHEN pg_is_in_recovery() THEN 'a standby' WHEN ok THEN 'PostgreSQL ' || current_setting('server_version')
                ELSE 'qbo_raw.enabled is off' END;
  what_to_do := CASE WHEN pg_is_in_recovery() THEN 'Runs work on the primary; after a promotion here too.'
                     WHEN NOT ok THEN 'ALTER SYSTEM RESET qbo_raw.enabled; SELECT pg_reload_conf(); but not in a copy of production.' END;
  RETURN NEXT;

  SELECT w.free, w.launcher INTO free, preloaded FROM raw._qb_workers() w;
  subject := 'worker slots';
  ok := free > 0;
  result := format('%s of %s free', free, current_setting('max_worker_processes'));
  what_to_do := CASE WHEN NOT ok THEN 'Raise max_worker_processes; it takes a restart.' END;
  RETURN NEXT;

  -- Before there are secrets to lose. As CREATE EXTENSION asks: a function beside ours, with other types of arguments, could be
  -- the one that a call finds.
  subject := 'rights';
  ok := false;
  FOR result, what_to_do IN
    SELECT DISTINCT format('%s may create objects in schema raw', g.name), format('REVOKE CREATE ON SCHEMA raw FROM %s CASCADE;', g.name)
      FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
     CROSS JOIN LATERAL (SELECT coalesce(quote_ident(r.rolname), 'PUBLIC') AS name) g
     WHERE n.nspname = 'raw' AND a.privilege_type = 'CREATE' AND a.grantee <> n.nspowner AND r.rolsuper IS NOT TRUE
     UNION ALL
    SELECT format('schema raw belongs to %I, who is no superuser', r.rolname),
           format('ALTER SCHEMA raw OWNER TO %s; when you have read what is in it.',
                  (SELECT quote_ident(s.rolname) FROM pg_roles s WHERE s.rolsuper ORDER BY s.oid LIMIT 1))
      FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner WHERE n.nspname = 'raw' AND NOT r.rolsuper
     UNION ALL
    SELECT format('function %s belongs to %I, who is no superuser', p.oid::regprocedure, r.rolname),
           format('DROP ROUTINE %s; or, when you have read it, ALTER ROUTINE %1$s SET SCHEMA another one.', p.oid::regprocedure)
      FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner
     WHERE p.pronamespace = 'raw'::regnamespace AND NOT r.rolsuper
       AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
     ORDER BY 1
  LOOP
    RETURN NEXT;
  END LOOP;

  -- FOR ALL TABLES has no exceptions, and a subscriber would get the secrets.
  SELECT string_agg(quote_ident(p.pubname), ', ') INTO result FROM pg_publication_tables p
   WHERE p.schemaname = 'raw' AND p.tablename = 'qb_config';
  IF result IS NOT NULL THEN
    subject := 'publication';
    ok := false;
    result := format('%s carries the secrets of qb_config', result);
    what_to_do := 'Drop it, and name the tables: CREATE PUBLICATION ... FOR TABLE raw.qb_invoices, ...';
    RETURN NEXT;
  END IF;

  IF known.connection IS NULL THEN
    subject := 'connection';
    ok := false;
    result := 'there is none yet';
    what_to_do := 'SELECT raw.qb_connect(realm_id, client_id, client_secret, refresh_token); or raw.qb_authorize_url after it.';
    RETURN NEXT;
    RETURN;
  END IF;

  subject := 'schema';
  ok := coalesce((SELECT has_schema_privilege('qbo_raw_owner', n.oid, 'USAGE') FROM pg_namespace n
                   WHERE n.nspname = known.target_schema), false);
  result := known.target_schema;
  what_to_do := CASE WHEN NOT ok THEN format('CREATE SCHEMA IF NOT EXISTS %I; GRANT USAGE ON SCHEMA %1$I TO qbo_raw_owner, qbo_raw_operator, qbo_raw_reader;', known.target_schema) END;
  RETURN NEXT;

  subject := 'credentials';
  SELECT string_agg(s.name, ', ') FILTER (WHERE NOT s.is_set AND s.name <> 'access_token') AS missing,
         min(s.attention) FILTER (WHERE s.name = 'refresh_token') AS attention,
         min(s.expires_at) FILTER (WHERE s.name = 'refresh_token') AS expires
    INTO secret FROM raw.qb_secrets s WHERE s.connection = qb_check.connection;
  ok := secret.missing IS NULL AND known.auth_state IN ('ok', 'refreshing') AND secret.attention IS NULL;
  result := CASE WHEN secret.missing IS NOT NULL THEN 'not set: ' || secret.missing
                WHEN known.auth_state NOT IN ('ok', 'refreshing') THEN known.auth_state
                WHEN secret.expires IS NOT NULL THEN format('good until %s if not used', secret.expires::date)
                ELSE 'set' END;
  what_to_do := coalesce(secret.attention, CASE WHEN NOT ok THEN 'raw.qb_connect, or raw.qb_authorize_url' END);
  RETURN NEXT;

  IF known.auth_state NOT IN ('needs_reauth', 'bad_client') AND secret.missing IS NULL THEN
    BEGIN
      FOR subject, ok, result, what_to_do IN SELECT p.subject, p.works, p.found, p.hint FROM raw._qb_probe(qb_check.connection) p LOOP
        RETURN NEXT;
      END LOOP;
    EXCEPTION
      -- A run at work is the proof that it works, or will say why not.
      WHEN object_in_use THEN
        subject := 'query'; ok := true; result := 'a run is at work on it';
        what_to_do := NULL;
        RETURN NEXT;
      WHEN OTHERS THEN
        subject := 'query'; ok := false; result := SQLERRM;
        GET STACKED DIAGNOSTICS what_to_do = PG_EXCEPTION_HINT;
        RETURN NEXT;
    END;
  END IF;

  BEGIN
    IF to_regclass('cron.job') IS NOT NULL THEN
      EXECUTE 'SELECT EXISTS (SELECT 1 FROM cron.job j WHERE j.active AND j.database = current_database() AND j.command LIKE ''%qb_tick%'')' INTO ticks;
      -- It is called until the end of its day, and then not for a year. Compared as text: a name can hold what is no time.
      EXECUTE $q$
        SELECT min(j.jobname) FROM cron.job j
         WHERE j.schedule <> '0 0 30 2 *' AND j.database = current_database()
           AND (regexp_match(j.jobname, '^qbo once \w+ (\d{4}-\d\d-\d\d \d\d:\d\d) '))[1] COLLATE "C"
               < to_char((now() - interval '1 day') AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')$q$
        INTO missed;
    END IF;
  EXCEPTION
    -- Whoever may not use the schema may not even ask whether the table is there.
    WHEN insufficient_privilege THEN
      ticks := NULL;
  END;
  subject := 'after a restart';
  ok := preloaded OR coalesce(ticks, false);
  result := CASE WHEN preloaded THEN 'the launcher goes on with runs' WHEN ticks THEN 'a tick of pg_cron goes on with runs'
                WHEN ticks IS NULL THEN 'pg_cron, whose jobs you may not see'
                ELSE 'runs wait for the next call' END;
  what_to_do := CASE WHEN NOT ok THEN 'SELECT cron.schedule(''qbo tick'', ''* * * * *'', ''SELECT raw.qb_tick()''), or preload qbo_raw.' END;
  RETURN NEXT;

  IF missed IS NOT NULL THEN
    subject := 'schedule';
    ok := false;
    result := format('job "%s" was missed: the server was down', missed);
    what_to_do := format('Call raw.qb_backfill if it is still wanted, and SELECT cron.unschedule(%L);', missed);
    RETURN NEXT;
  END IF;

  subject := 'tables';
  ok := false;
  BEGIN
    FOR result, what_to_do IN
      SELECT l.message, l.cure
        FROM raw.qb_entities e
       CROSS JOIN unnest(ARRAY['updated', 'created']) w
       CROSS JOIN LATERAL raw._qb_lost(e.entity, qb_check.connection, w) l
       WHERE raw._qb_report_of(e.entity, qb_check.connection) IS NOT NULL AND l.cure IS NOT NULL
       ORDER BY e.entity
    LOOP
      RETURN NEXT;
    END LOOP;
  EXCEPTION
    -- Such as a report table that somebody changed.
    WHEN OTHERS THEN
      result := SQLERRM; what_to_do := NULL;
      RETURN NEXT;
  END;

  -- A run that was not whole is well again when later ones have fetched its days.
  subject := 'runs';
  BEGIN
    SELECT count(*) FILTER (WHERE w.lacks) = 0,
           format('%s ended in the last week, %s of them not whole', count(*) FILTER (WHERE a.late), count(w.lacks) FILTER (WHERE a.late))
             || CASE WHEN bool_or(a.late AND NOT w.lacks) THEN format(', %s mended since', count(*) FILTER (WHERE a.late AND NOT w.lacks))
                     ELSE '' END
             || CASE WHEN bool_or(w.lacks AND NOT a.late) THEN format(', %s earlier', count(*) FILTER (WHERE w.lacks AND NOT a.late)) ELSE '' END
      INTO ok, result FROM raw.qb_run r
     CROSS JOIN LATERAL (SELECT r.finished_at > now() - interval '7 days' AS late) a
     CROSS JOIN LATERAL (SELECT CASE WHEN r.status IN ('failed', 'partial', 'blocked_auth') THEN EXISTS (
         SELECT 1 FROM generate_series(0, least(r.end_date, (now() AT TIME ZONE 'UTC')::date) - r.start_date) n
           LEFT JOIN raw._qb_days(r.entity, r.connection, r.window_on, r.start_date, r.end_date) d ON d.day = r.start_date + n
          WHERE coalesce(d.status, 'failed') = 'failed'
            AND (r.windows IS NULL
                 OR EXISTS (SELECT 1 FROM unnest(r.windows) u WHERE (r.start_date + n)::timestamp AT TIME ZONE 'UTC' <@ u)))
       -- QuickBooks counted more records than were stored, and not all days were fetched again since.
       WHEN r.source_count > r.stored_count THEN EXISTS (
         SELECT 1 FROM generate_series(0, least(r.end_date, raw._qb_day_of(r.started_at) - 1) - r.start_date) n
           LEFT JOIN raw._qb_days(r.entity, r.connection, r.window_on, r.start_date, r.end_date) d ON d.day = r.start_date + n
          WHERE coalesce(d.status, 'failed') = 'failed' OR d.run_id <= r.run_id) END AS lacks) w
     WHERE r.connection = qb_check.connection AND (a.late OR r.source_count > r.stored_count);
  EXCEPTION
    WHEN OTHERS THEN
      ok := false; result := SQLERRM;
  END;
  what_to_do := CASE WHEN NOT ok THEN
    'SELECT run_id, entity, status, error_code, error_hint, source_count, stored_count FROM raw.qb_run WHERE status <> ''success'' OR source_count > stored_count;' END;
  RETURN NEXT;
END
$$;

REVOKE ALL ON FUNCTION raw.qb_verify(text, date, date, int, text, text), raw.qb_plan(text, date, date, int, int, text, text),
  raw._qb_workers(), raw.qb_check(text) FROM PUBLIC;

-- The one-time trigger. Regular schedules are plain cron.schedule; pg_cron has none that fires once.

CREATE FUNCTION raw._qb_fire(
  job            text,                          -- name of the job that calls
  run_at         timestamptz,                   -- when it was meant to
  entity         text,
  start_date     date,
  end_date       date,
  chunk_days     int,
  page_size      int,
  window_on      text,
  execution_date timestamptz,
  connection     text
) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  command text;
BEGIN
  -- pg_cron knows no year.
  IF now() < _qb_fire.run_at - interval '1 minute' THEN
    RETURN NULL;
  END IF;
  EXECUTE 'SELECT j.command FROM cron.job j WHERE j.jobname = $1 AND j.username = current_user' INTO command USING _qb_fire.job;
  IF command IS NOT NULL THEN
    -- 30 February never comes. A job that is made inactive would be ended by pg_cron at once, while it waits for its run; so
    -- it stays as it is, beside the evidence in cron.job_run_details.
    EXECUTE 'SELECT cron.schedule($1, $2, $3)' USING _qb_fire.job, '0 0 30 2 *', command;
  END IF;
  IF now() > _qb_fire.run_at + interval '1 day' THEN
    RAISE WARNING 'the run of % was missed at %: the server was down then', _qb_fire.entity, _qb_fire.run_at
      USING HINT = 'Call raw.qb_backfill now, if it is still wanted.';
    RETURN NULL;
  END IF;
  RETURN raw.qb_backfill(_qb_fire.entity, _qb_fire.start_date, _qb_fire.end_date, _qb_fire.chunk_days, _qb_fire.page_size,
                         _qb_fire.window_on, _qb_fire.execution_date, _qb_fire.connection);
END
$$;

CREATE FUNCTION raw.qb_schedule_once(
  run_at         timestamptz,                   -- when; the next whole minute
  entity         text,
  start_date     date,
  end_date       date,
  chunk_days     int DEFAULT 7,
  page_size      int DEFAULT 100,
  window_on      text DEFAULT 'updated',
  execution_date timestamptz DEFAULT NULL,
  connection     text DEFAULT 'default'
) RETURNS bigint                                -- the job, see cron.job and cron.job_run_details
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
-- The job's text is read by another session, whatever this one's style of dates is.
SET datestyle = 'ISO, YMD' SET timezone = 'UTC' AS $$
DECLARE
  minute timestamptz;
  clock timestamp;
  job text;
  id bigint;
BEGIN
  IF to_regclass('cron.job') IS NULL THEN
    RAISE EXCEPTION 'pg_cron is not installed in this database' USING ERRCODE = 'object_not_in_prerequisite_state',
      HINT = 'CREATE EXTENSION pg_cron in the database that cron.database_name names; it needs shared_preload_libraries.';
  END IF;
  IF qb_schedule_once.run_at IS NULL THEN
    RAISE EXCEPTION 'run_at must not be null' USING ERRCODE = 'null_value_not_allowed',
      HINT = 'SELECT raw.qb_schedule_once(''2026-01-31 02:00+00'', ''invoices'', ''2026-01-01'', ''2026-01-30'');';
  END IF;
  IF qb_schedule_once.run_at < now() OR qb_schedule_once.run_at > now() + interval '360 days' THEN
    RAISE EXCEPTION 'run_at is %', qb_schedule_once.run_at USING ERRCODE = 'invalid_parameter_value',
      DETAIL = 'It must be a time from now to 360 days ahead.';
  END IF;
  minute := date_trunc('minute', qb_schedule_once.run_at + interval '1 minute' - interval '1 microsecond');
  IF qb_schedule_once.start_date IS NULL OR qb_schedule_once.end_date IS NULL THEN
    RAISE EXCEPTION '% must not be null', CASE WHEN qb_schedule_once.start_date IS NULL THEN 'start_date' ELSE 'end_date' END
      USING ERRCODE = 'null_value_not_allowed';
  END IF;
  -- What the job would be refused for at night is refused now.
  PERFORM raw._qb_check_range(qb_schedule_once.start_date, qb_schedule_once.end_date);
  PERFORM raw._qb_check_page_size(qb_schedule_once.page_size);
  PERFORM raw._qb_report_of(qb_schedule_once.entity, qb_schedule_once.connection);
  IF qb_schedule_once.window_on IS NULL OR qb_schedule_once.window_on NOT IN ('updated', 'created') THEN
    RAISE EXCEPTION 'window_on is %', coalesce(quote_literal(left(qb_schedule_once.window_on, 40)), 'null')
      USING ERRCODE = 'invalid_parameter_value', DETAIL = 'It must be ''updated'' or ''created''.';
  END IF;
  IF coalesce(qb_schedule_once.chunk_days, 0) < 1 THEN
    RAISE EXCEPTION 'chunk_days is %', coalesce(qb_schedule_once.chunk_days::text, 'null')
      USING ERRCODE = CASE WHEN qb_schedule_once.chunk_days IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
            DETAIL = 'It must be 1 or more.';
  END IF;
  IF qb_schedule_once.end_date > (qb_schedule_once.run_at AT TIME ZONE 'UTC')::date + 2 THEN
    RAISE EXCEPTION 'end_date is %', qb_schedule_once.end_date USING ERRCODE = 'invalid_parameter_value',
      DETAIL = 'It must not be later than two days after run_at.';
  END IF;
  IF qb_schedule_once.execution_date NOT BETWEEN '1990-01-01' AND qb_schedule_once.run_at + interval '2 days' THEN
    RAISE EXCEPTION 'execution_date is %', qb_schedule_once.execution_date USING ERRCODE = 'invalid_parameter_value',
      DETAIL = 'It must be a finite time from 1990-01-01 to two days after run_at.';
  END IF;

  -- Before pg_cron 1.6 schedules are in GMT always; pg_settings leaves settings out that nobody defined.
  clock := minute AT TIME ZONE coalesce((SELECT s.setting FROM pg_settings s WHERE s.name = 'cron.timezone'), 'GMT');
  -- A name has 63 characters at most; the same call has the same name, and so is the same job.
  job := format('qbo once %s %s %s', raw._qb_entity(qb_schedule_once.entity), to_char(minute AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'),
                left(md5(concat_ws('|', qb_schedule_once.connection, qb_schedule_once.start_date, qb_schedule_once.end_date,
                                   qb_schedule_once.chunk_days, qb_schedule_once.page_size, qb_schedule_once.window_on,
                                   extract(epoch FROM qb_schedule_once.execution_date))), 8));
  -- pg_cron does not make good for a minute in which the server was down: each later hour of the day is another chance.
  EXECUTE 'SELECT cron.schedule($1, $2, $3)' INTO id
    USING job, to_char(clock, 'FMMI FMHH24"-23" FMDD FMMM "*"'),
          format('CALL raw.qb_wait(raw._qb_fire(%L::pg_catalog.text, %L::pg_catalog.timestamptz, %L::pg_catalog.text, '
                 '%L::pg_catalog.date, %L::pg_catalog.date, %L::pg_catalog.int4, %L::pg_catalog.int4, %L::pg_catalog.text, '
                 '%L::pg_catalog.timestamptz, %L::pg_catalog.text), NULL::pg_catalog.interval)', job, minute, qb_schedule_once.entity,
                 qb_schedule_once.start_date, qb_schedule_once.end_date, qb_schedule_once.chunk_days, qb_schedule_once.page_size,
                 qb_schedule_once.window_on, qb_schedule_once.execution_date, qb_schedule_once.connection);
  RAISE NOTICE 'job % loads % at %', id, raw._qb_entity(qb_schedule_once.entity), minute;
  RETURN id;
END
$$;

REVOKE ALL ON FUNCTION
  raw._qb_fire(text, timestamptz, text, date, date, int, int, text, timestamptz, text),
  raw.qb_schedule_once(timestamptz, text, date, date, int, int, text, timestamptz, text) FROM PUBLIC;

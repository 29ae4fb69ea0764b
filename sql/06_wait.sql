-- Waiting for a run. The procedure commits between two looks, which no procedure with a SET clause may do; so it is kept
-- to a loop, and everything that resolves a name stands in the function, which has its search_path pinned.

CREATE FUNCTION raw._qb_wait_look(
  run_id bigint,
  began  timestamptz,                           -- when the waiting began
  within interval,                              -- how long it may last, NULL = without limit
  shown  text,                                  -- what the last NOTICE said
  OUT notice text, OUT done boolean,
  OUT sqlstate text, OUT message text, OUT detail text, OUT hint text -- of the error that the run ended with, or the waiting
)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  run raw.qb_run;
  seconds float8;
  finished int;
  lately int;
  line text;
  paused_until timestamptz;
  lost record;
BEGIN
  -- What had nothing to do gave no run.
  IF _qb_wait_look.run_id IS NULL THEN
    RAISE NOTICE 'there is nothing to wait for';
    done := true;
    RETURN;
  END IF;
  SELECT * INTO run FROM raw.qb_run r WHERE r.run_id = _qb_wait_look.run_id;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'run % does not exist', _qb_wait_look.run_id USING ERRCODE = 'invalid_parameter_value',
      HINT = 'SELECT run_id, entity, status FROM raw.qb_run ORDER BY run_id DESC LIMIT 10;';
  END IF;

  finished := run.windows_done + run.windows_failed;
  -- The pace is that of the present attempt; a run may have slept for a month before.
  lately := finished - run.attempt_windows;
  seconds := extract(epoch FROM coalesce(run.finished_at, clock_timestamp()) - run.attempt_started_at);
  done := run.status NOT IN ('queued', 'running');
  notice := _qb_wait_look.shown;
  paused_until := raw._qb_paused_until(run.connection);

  line := CASE
    WHEN run.status = 'queued' AND paused_until IS NOT NULL THEN
      format('run %s of %s: waits until %s, as QuickBooks asked', run.run_id, run.entity, date_trunc('second', paused_until))
    WHEN run.status = 'queued' THEN format('run %s of %s: queued', run.run_id, run.entity)
    WHEN run.status = 'running' THEN
      format('%s %s %s/%s, %s rows%s%s%s', run.entity, raw._qb_bar(finished::bigint, run.windows_total::bigint, 12), finished,
             run.windows_total, run.row_count,
             CASE WHEN seconds > 0 THEN format(', %s/s', round((run.row_count - run.attempt_rows) / seconds::numeric)) END,
             CASE WHEN run.windows_failed > 0 THEN format(', %s failed', run.windows_failed) END,
             CASE WHEN lately > 0 AND finished < run.windows_total THEN
               format(', %s left', raw._qb_clock(seconds * (run.windows_total - finished) / lately)) END)
    ELSE
      format('%s %s %s/%s windows: %s, %s %s, %s s', run.entity, raw._qb_bar(finished::bigint, run.windows_total::bigint, 12),
             run.windows_done, run.windows_total, run.status, run.request_count,
             CASE run.request_count WHEN 1 THEN 'request' ELSE 'requests' END, coalesce(round(seconds::numeric, 1), 0))
    END;
  -- A finished run is always shown; while it works, only that there is more of it.
  IF done OR split_part(line, ' rows', 1) IS DISTINCT FROM split_part(_qb_wait_look.shown, ' rows', 1) THEN
    RAISE NOTICE '%', line;
    notice := line;
  END IF;
  IF done THEN
    RAISE NOTICE '% %: % new, % updated, % unchanged, % rejected', run.row_count,
      CASE run.row_count WHEN 1 THEN 'row' ELSE 'rows' END, run.inserted_count,
      run.updated_count, run.skipped_count, run.rejected_count;
    IF run.source_count > run.stored_count AND run.status = 'success' THEN
      RAISE WARNING 'QuickBooks counts % records in the range, % of them are stored', run.source_count, run.stored_count
        USING HINT = format('SELECT raw.qb_backfill(%L, %L, %L, window_on => %L, connection => %L); fetches it again, raw.qb_verify counts window by window.',
                            run.entity, run.start_date, run.end_date, run.window_on, run.connection);
    END IF;
    BEGIN
      SELECT * INTO lost FROM raw._qb_lost(run.entity, run.connection, run.window_on);
      IF lost.cure IS NOT NULL THEN
        RAISE WARNING '%', lost.message USING HINT = lost.cure || ' fetches them again.';
      END IF;
    EXCEPTION
      -- Of a report that cannot be read the run says what is wrong, and so does the doctor.
      WHEN OTHERS THEN NULL;
    END;
  END IF;

  IF run.status IN ('failed', 'partial', 'blocked_auth', 'cancelled') THEN
    sqlstate := CASE run.status WHEN 'cancelled' THEN '57014' WHEN 'blocked_auth' THEN '28000' ELSE '38000' END;
    message := format('run %s ended as %s', run.run_id, run.status)
      || CASE WHEN run.windows_failed > 0 THEN format(', %s of %s windows failed', run.windows_failed, run.windows_total) ELSE '' END;
    detail := CASE WHEN run.error_code IS NULL THEN format('%s of %s windows are stored.', run.windows_done, run.windows_total)
                   ELSE format('The first error was %s: %s.', run.error_code, run.error_message) END;
    hint := concat_ws(' ', replace(run.error_hint, 'raw.qb_resume(run_id)', format('raw.qb_resume(%s)', run.run_id)),
                      CASE WHEN strpos(coalesce(run.error_hint, ''), 'raw.qb_resume(run_id)') = 0
                           THEN format('To go on: SELECT raw.qb_resume(%s);', run.run_id) END);
  END IF;
  IF NOT done AND _qb_wait_look.within IS NOT NULL AND clock_timestamp() - _qb_wait_look.began >= _qb_wait_look.within THEN
    sqlstate := '57014';
    message := format('run %s is still %s after %s', run.run_id, run.status, _qb_wait_look.within);
    detail := format('%s of %s windows are stored.', run.windows_done, run.windows_total);
    hint := 'Only the waiting ended; the run goes on. SELECT * FROM raw.qb_progress;';
  END IF;
END
$$;

CREATE PROCEDURE raw.qb_wait(
  run_id  bigint,                               -- as qb_backfill returned it
  timeout interval DEFAULT NULL                 -- NULL = until the run ends
)
LANGUAGE plpgsql AS $$
DECLARE
  began pg_catalog.timestamptz := pg_catalog.clock_timestamp();
  look pg_catalog.record;
  shown pg_catalog.text := ''::pg_catalog.text;
  looks pg_catalog.int4 := 0::pg_catalog.int4;
BEGIN
  PERFORM raw._qb_wait_may();
  LOOP
    -- The run starts when its caller commits, and each look needs a new snapshot.
    COMMIT;
    SELECT l.* INTO look FROM raw._qb_wait_look(qb_wait.run_id, began, qb_wait.timeout, shown) AS l;
    -- Raised here, so that no more than one line of CONTEXT stands below it.
    IF look.message IS NOT NULL THEN
      RAISE EXCEPTION USING ERRCODE = look.sqlstate, MESSAGE = look.message, DETAIL = look.detail, HINT = look.hint;
    END IF;
    EXIT WHEN look.done;
    shown := look.notice;
    -- A run that lost its worker, in a crash or for want of a slot, is picked up by whoever waits for it.
    looks := (looks OPERATOR(pg_catalog.+) 1::pg_catalog.int4) OPERATOR(pg_catalog.%) 10::pg_catalog.int4;
    IF looks OPERATOR(pg_catalog.=) 0::pg_catalog.int4 THEN
      PERFORM raw.qb_tick();
    END IF;
    PERFORM pg_catalog.pg_sleep(0.2::pg_catalog.float8);
  END LOOP;
END
$$;
REVOKE ALL ON FUNCTION raw._qb_wait_look(bigint, timestamptz, interval, text) FROM PUBLIC;
REVOKE ALL ON PROCEDURE raw.qb_wait(bigint, interval) FROM PUBLIC;

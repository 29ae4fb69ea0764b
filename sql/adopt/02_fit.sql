
-- What the extension needs, and under which other names pipelines keep it.
CREATE TEMP TABLE wanted (kind text, place int, name name, type text, addition text, also text[]) ON COMMIT DROP;
GRANT SELECT ON wanted TO qbo_raw_owner;
INSERT INTO wanted VALUES
  ('data', 1, 'id', 'text', '', '{qbo_id,qb_id,record_id}'),
  ('data', 2, 'payload', 'jsonb', '', '{raw_payload,data,raw_json,json}'),
  ('data', 3, 'ingested_at_utc', 'timestamp with time zone', '', '{ingested_at,loaded_at}'),
  ('data', 4, 'extract_window_start_utc', 'timestamp with time zone', '', '{extract_window_start,window_start_utc,window_start}'),
  ('data', 5, 'extract_window_end_utc', 'timestamp with time zone', '', '{extract_window_end,window_end_utc,window_end}'),
  ('data', 6, 'page_number', 'integer', '', '{page}'),
  ('data', 7, 'page_size', 'integer', '', '{}'),
  ('data', 8, 'request_payload', 'jsonb', '', '{request}'),
  ('report', 1, 'report_id', 'bigint', '', '{}'),
  ('report', 2, 'run_id', 'bigint', 'NOT NULL DEFAULT 0', '{}'),
  ('report', 3, 'attempt', 'integer', 'NOT NULL DEFAULT 1', '{}'),
  ('report', 4, 'window_start', 'timestamp with time zone', '', '{window_start_utc,extract_window_start_utc,chunk_start,chunk_start_utc,start_date,fecha_inicio}'),
  ('report', 5, 'window_end', 'timestamp with time zone', '', '{window_end_utc,extract_window_end_utc,chunk_end,chunk_end_utc,end_date,fecha_fin}'),
  ('report', 6, 'status', 'text', '', '{state,result}'),
  ('report', 7, 'row_count', 'bigint', 'DEFAULT 0', '{rows,total_rows,rows_fetched,rows_extracted,records,record_count}'),
  ('report', 8, 'inserted_count', 'bigint', 'DEFAULT 0', '{inserted,rows_inserted,inserted_rows}'),
  ('report', 9, 'updated_count', 'bigint', 'DEFAULT 0', '{updated,rows_updated,updated_rows}'),
  ('report', 10, 'skipped_count', 'bigint', 'DEFAULT 0', '{skipped,rows_skipped}'),
  ('report', 11, 'rejected_count', 'bigint', 'DEFAULT 0', '{rejected,rows_rejected}'),
  ('report', 12, 'page_count', 'integer', 'DEFAULT 0', '{pages,pages_read,total_pages}'),
  ('report', 13, 'request_count', 'integer', 'DEFAULT 0', '{requests}'),
  ('report', 14, 'error_code', 'text', '', '{}'),
  ('report', 15, 'error_message', 'text', '', '{error,message,error_msg}'),
  ('report', 16, 'intuit_tid', 'text', '', '{}'),
  ('report', 17, 'started_at', 'timestamp with time zone', '', '{started_at_utc,start_time}'),
  ('report', 18, 'finished_at', 'timestamp with time zone', '', '{finished_at_utc,end_time,ended_at,completed_at,created_at,executed_at}');

-- The table that is being adopted, and what is done in it: with the rights of its owner, see below.
CREATE TEMP TABLE task (rel regclass, kind text, relkind "char", fits boolean, newest boolean) ON COMMIT DROP;
GRANT SELECT ON task TO qbo_raw_owner;
GRANT INSERT ON did TO qbo_raw_owner;
CREATE FUNCTION pg_temp.adopt() RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  t task := (SELECT x FROM task x);
  w record;              -- a column that is wanted
  col record;            -- the column as it is
  r record;
  numbers regclass;      -- the sequence that report_id comes from
  said text[] := '{}';
  parts text[] := '{}';  -- of one ALTER TABLE, so that PostgreSQL reads the table at most once
  added text[] := '{}';
  node oid := pg_relation_filenode(t.rel);
  n bigint;
BEGIN

  -- Ids of two companies are the same numbers.
  FOR col IN
    SELECT attname FROM pg_attribute
     WHERE attrelid = t.rel AND NOT attisdropped AND attname IN ('realm_id', 'realmid', 'qbo_realm_id', 'company_id', 'tenant_id')
  LOOP
    EXECUTE format('SELECT count(DISTINCT %I) FROM %s', col.attname, t.rel) INTO n;
    IF n > 1 THEN
      RAISE EXCEPTION 'it holds % companies, by its column %', n, col.attname
        USING HINT = 'Give each company a table in a schema of its own, and adopt one after the other: -v schema=NAME.';
    END IF;
  END LOOP;

  -- Run ids of another program say nothing here, and could be those of runs to come.
  IF t.kind = 'report' AND NOT t.fits AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = t.rel AND attname = 'run_id' AND NOT attisdropped) THEN
    EXECUTE format('ALTER TABLE %s RENAME COLUMN run_id TO old_run_id', t.rel);
    said := said || 'column run_id is called old_run_id now; what the pipeline reported has run 0'::text;
  END IF;

  -- What would refuse the rows to come: one row a window, other words for the status.
  IF t.kind = 'report' THEN
    FOR r IN
      SELECT c.conname, c.contype FROM pg_constraint c
       WHERE c.conrelid = t.rel AND (
         (c.contype = 'c' AND NOT t.fits)
         OR (c.contype IN ('p', 'u') AND NOT EXISTS (
               SELECT FROM pg_attribute a WHERE a.attrelid = t.rel AND a.attnum = ANY (c.conkey)
                  AND (a.attname IN ('report_id', 'run_id') OR a.atthasdef OR a.attidentity <> '')))
         OR (c.contype = 'f'))
    LOOP
      EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', t.rel, r.conname);
      said := said || format('constraint %s dropped: it would refuse later reports', r.conname);
    END LOOP;
    FOR r IN
      SELECT i.indexrelid::regclass::text AS index FROM pg_index i
       WHERE i.indrelid = t.rel AND i.indisunique AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid)
         AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = t.rel AND a.attnum = ANY (i.indkey)
                            AND (a.attname IN ('report_id', 'run_id') OR a.atthasdef OR a.attidentity <> ''))
    LOOP
      EXECUTE format('DROP INDEX %s', r.index);
      said := said || format('index %s dropped: it would refuse later reports', r.index);
    END LOOP;
  END IF;

  -- The sequence of its identity or its default, if it counts up and the owner of the table may use it.
  SELECT s.oid INTO numbers
    FROM pg_attribute a LEFT JOIN pg_attrdef e ON e.adrelid = a.attrelid AND e.adnum = a.attnum
    JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = e.oid
                     OR d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum AND d.deptype = 'i'
    JOIN pg_class s ON s.oid IN (d.objid, d.refobjid) AND s.relowner = 'qbo_raw_owner'::regrole
    JOIN pg_sequence q ON q.seqrelid = s.oid AND q.seqincrement > 0
   WHERE t.kind = 'report' AND a.attrelid = t.rel AND a.attname = 'report_id';
  FOR w IN SELECT * FROM wanted WHERE kind = t.kind ORDER BY place LOOP
    SELECT a.attname, format_type(a.atttypid, NULL) AS type, a.atthasdef INTO col
      FROM pg_attribute a
     WHERE a.attrelid = t.rel AND a.attnum > 0 AND NOT a.attisdropped AND (a.attname = w.name OR a.attname = ANY (w.also))
     ORDER BY a.attname <> w.name, array_position(w.also, a.attname::text) LIMIT 1;
    IF NOT FOUND THEN
      IF t.kind = 'data' AND w.place <= 2 THEN
        RAISE EXCEPTION 'it has no column %', w.name USING HINT = 'Rename the column that holds it.';
      END IF;
      parts := parts || format('ADD COLUMN %I %s %s', w.name, w.type, w.addition);
      added := added || w.name::text;
      CONTINUE;
    END IF;
    IF col.attname <> w.name THEN
      EXECUTE format('ALTER TABLE %s RENAME COLUMN %I TO %I', t.rel, col.attname, w.name);
      said := said || format('column %s is called %s now', col.attname, w.name);
    END IF;
    IF (col.type, w.type) IN (('timestamp without time zone', 'timestamp with time zone'), ('character varying', 'text')) THEN
      parts := parts || format('ALTER COLUMN %I TYPE %s', w.name, w.type);
      said := said || format('column %s was %s, is %s%s', w.name, col.type, w.type, CASE w.type WHEN 'text' THEN '' ELSE ': the same times, in UTC' END);
    ELSIF col.type <> w.type THEN
      IF col.atthasdef THEN
        parts := parts || format('ALTER COLUMN %I DROP DEFAULT', w.name);
      END IF;
      parts := parts || format('ALTER COLUMN %I TYPE %s USING %1$I::%s', w.name, w.type, w.type);
      IF col.atthasdef AND w.name = 'report_id' AND numbers IS NOT NULL THEN
        parts := parts || format('ALTER COLUMN report_id SET DEFAULT nextval(%L)', numbers);
      END IF;
      said := said || format('column %s was %s, is %s', w.name, col.type, w.type);
    END IF;
  END LOOP;
  -- A column of the pipeline alone gets no value from now on.
  FOR col IN
    SELECT a.attname FROM pg_attribute a
     WHERE a.attrelid = t.rel AND a.attnum > 0 AND NOT a.attisdropped AND a.attnotnull AND NOT a.atthasdef AND a.attidentity = ''
       AND NOT EXISTS (SELECT FROM wanted x WHERE x.kind = t.kind AND x.name = a.attname)
       AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = t.rel AND i.indisprimary AND a.attnum = ANY (i.indkey))
  LOOP
    parts := parts || format('ALTER COLUMN %I DROP NOT NULL', col.attname);
    said := said || format('column %s may be empty: nothing fills it any more', col.attname);
  END LOOP;
  SELECT a.attname, c.conname INTO col
    FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) JOIN pg_constraint c ON c.conindid = i.indexrelid
   WHERE i.indrelid = t.rel AND i.indisprimary AND NOT a.atthasdef AND a.attidentity = ''
     AND NOT EXISTS (SELECT FROM wanted x WHERE x.kind = t.kind AND x.name = a.attname);
  IF FOUND THEN
    RAISE EXCEPTION 'its primary key has the column %, which nothing fills any more', col.attname
      USING HINT = format('ALTER TABLE %s DROP CONSTRAINT %I; then again.', t.rel, col.conname);
  END IF;
  IF cardinality(parts) > 0 THEN
    EXECUTE format('ALTER TABLE %s %s', t.rel, array_to_string(parts, ', '));
  END IF;
  IF cardinality(added) > 0 THEN
    said := said || format('columns added: %s', array_to_string(added, ', '));
  END IF;
  IF cardinality(parts) > 0 AND t.relkind = 'r' THEN
    said := said || CASE WHEN node = pg_relation_filenode(t.rel) THEN 'nothing was copied'
                         ELSE 'written anew once: these types cannot be changed in place' END;
  END IF;

  -- The number of a row is no Id of QuickBooks: records to come would meet rows of others.
  IF t.kind = 'data' THEN
    EXECUTE format($q$SELECT count(*) FROM %s WHERE payload ->> 'Id' <> id$q$, t.rel) INTO n;
    IF n > 0 THEN
      RAISE EXCEPTION '% rows have another id than the record in their payload', n
        USING HINT = format('ALTER TABLE %s RENAME COLUMN id TO row_id; and let the Id of QuickBooks be a column id; then again.', t.rel);
    END IF;
  END IF;

  IF t.kind = 'data' AND NOT EXISTS (
       SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attname = 'id'
        WHERE i.indrelid = t.rel AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL
          AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum) THEN
    EXECUTE format('SELECT count(*) FROM %s WHERE id IS NULL', t.rel) INTO n;
    IF n > 0 THEN
      RAISE EXCEPTION '% rows have no id', n USING HINT = format('DELETE FROM %s WHERE id IS NULL; then again.', t.rel);
    END IF;
    EXECUTE format('SELECT count(*) - count(DISTINCT id) FROM %s', t.rel) INTO n;
    IF n > 0 AND NOT t.newest THEN
      RAISE EXCEPTION '% rows are older or equal copies of records that are there twice', n
        USING HINT = 'psql -v keep=newest deletes them and keeps the newest.';
    ELSIF n > 0 THEN
      EXECUTE format($q$
        DELETE FROM %s d USING (
          SELECT tableoid AS part, ctid AS at, row_number() OVER (PARTITION BY id ORDER BY raw._qb_instant(payload #>> '{MetaData,LastUpdatedTime}') DESC NULLS LAST,
                   ingested_at_utc DESC NULLS LAST, tableoid, ctid DESC) AS place FROM %1$s) o
         WHERE o.part = d.tableoid AND o.at = d.ctid AND o.place > 1$q$, t.rel);
      said := said || format('%s older copies of records deleted', n);
    END IF;
    SELECT conname INTO r FROM pg_constraint WHERE conrelid = t.rel AND contype = 'p';
    IF FOUND THEN
      EXECUTE format('CREATE UNIQUE INDEX ON %s (id)', t.rel);
      said := said || format('unique index on id made; the primary key %s stays', r.conname);
    ELSE
      EXECUTE format('ALTER TABLE %s ADD PRIMARY KEY (id)', t.rel);
      said := said || 'primary key (id) made'::text;
    END IF;
  END IF;

  IF t.kind = 'data' THEN
    EXECUTE format($q$UPDATE %s SET payload = '{}' WHERE payload IS NULL$q$, t.rel);
    GET DIAGNOSTICS n = ROW_COUNT;
    IF n > 0 THEN
      said := said || format('%s records had no payload: they have an empty one, which the next run of their range replaces', n);
    END IF;
  ELSIF NOT t.fits THEN
    EXECUTE format($q$
      UPDATE %s AS d SET error_message = CASE WHEN o.good THEN error_message ELSE coalesce(error_message, 'the pipeline said: ' || coalesce(status, 'nothing')) END,
                    error_code = CASE WHEN o.good THEN error_code ELSE coalesce(error_code, 'earlier_pipeline') END,
                    status = CASE WHEN o.good THEN 'success' ELSE 'error' END, attempt = o.attempt
        FROM (SELECT tableoid AS part, ctid AS at, row_number() OVER (PARTITION BY window_start ORDER BY coalesce(started_at, finished_at), tableoid, ctid) AS attempt,
                     CASE WHEN status IS NULL THEN %L AND error_message IS NULL
                          ELSE lower(status) IN ('success', 'succeeded', 'successful', 'ok', 'done', 'completed', 'complete', 'exito', 'éxito') END AS good
                FROM %1$s) o
       WHERE o.part = d.tableoid AND o.at = d.ctid AND (d.status IS DISTINCT FROM CASE WHEN o.good THEN 'success' ELSE 'error' END OR d.attempt <> o.attempt)$q$,
      t.rel, 'status' = ANY (added));
    IF 'started_at' = ANY (added) THEN
      -- What was fetched before a day was over does not cover it, so the guess is early rather than late.
      EXECUTE format($q$UPDATE %s SET started_at = finished_at - interval '1 day'$q$, t.rel);
      said := said || CASE WHEN 'finished_at' = ANY (added)
        THEN 'no time of a report is known: what succeeded counts as fetched in part, and raw.qb_fill_gaps fetches it again'
        ELSE 'started_at is not known: taken as a day before finished_at' END;
    END IF;
    EXECUTE format($q$SELECT count(*), count(*) FILTER (WHERE status = 'success') AS good FROM %s$q$, t.rel) INTO r;
    said := said || format('%s reports taken over: %s success, %s error', r.count, r.good, r.count - r.good);
    said := said || 'their windows count as windows on MetaData.LastUpdatedTime'::text;
    EXECUTE format('CREATE UNIQUE INDEX ON %s (run_id, window_start, attempt)', t.rel);
    EXECUTE format('CREATE INDEX ON %s (window_start, window_end)', t.rel);
    EXECUTE format('ALTER TABLE %s ALTER status SET NOT NULL, ADD CHECK (status IN (''success'', ''error''))', t.rel);
  END IF;

  -- The worker leaves report_id out: something has to number the rows to come, above those that are there.
  IF t.kind = 'report' THEN
    EXECUTE format('SELECT greatest(max(report_id), 0) AS last, count(*) - count(report_id) AS bare FROM %s', t.rel) INTO r;
    n := r.last + r.bare;
    IF r.bare > 0 THEN
      -- The newest report of a window is the one with the highest number.
      EXECUTE format($q$
        UPDATE %s d SET report_id = %s + o.place
          FROM (SELECT tableoid AS part, ctid AS at, row_number() OVER (ORDER BY coalesce(started_at, finished_at), attempt) AS place FROM %1$s WHERE report_id IS NULL) o
         WHERE o.part = d.tableoid AND o.at = d.ctid$q$, t.rel, r.last);
      said := said || format('%s reports had no report_id: they are numbered', r.bare);
    END IF;
    IF numbers IS NULL THEN
      EXECUTE format('ALTER TABLE %s ALTER report_id DROP DEFAULT, ALTER report_id SET NOT NULL, ALTER report_id ADD GENERATED ALWAYS AS IDENTITY (START WITH %s)', t.rel, n + 1);
      said := said || format('report_id is an identity now, from %s on', n + 1);
    ELSE
      IF (SELECT seqtypid <> 'bigint'::regtype FROM pg_sequence WHERE seqrelid = numbers) THEN
        EXECUTE format('ALTER SEQUENCE %s AS bigint', numbers);
        said := said || format('sequence %s is bigint now', numbers);
      END IF;
      EXECUTE format('SELECT setval(%L, %s) FROM %s WHERE last_value < %2$s OR last_value = %2$s AND NOT is_called', numbers, n, numbers) INTO n;
      IF n IS NOT NULL THEN
        said := said || format('sequence %s goes on above %s', numbers, n);
      END IF;
    END IF;
  END IF;
  FOR r IN SELECT tgname FROM pg_trigger WHERE tgrelid = t.rel AND NOT tgisinternal LOOP
    said := said || format('trigger %s stays, and runs as qbo_raw_owner', r.tgname);
  END LOOP;
  INSERT INTO did ("table", did) SELECT t.rel::text, s FROM unnest(said) s;
  RETURN true;
END
$$;
GRANT EXECUTE ON FUNCTION pg_temp.adopt() TO qbo_raw_owner;


-- The tables, one after the other.
DO $$
DECLARE
  place name := current_setting('qbo_adopt.schema');
  t record;          -- a table
  r record;
  said text[];       -- what was done to the table
  message text;
  detail text;
  hint text;
BEGIN
  -- Defaults, triggers, checks and index expressions of the tables are somebody else's code. SET ROLE would not hold it: it
  -- could say RESET ROLE, or wait for the COMMIT. PostgreSQL refreshes a materialized view as the owner of that, as a
  -- security-restricted operation: in there nobody takes another role, puts off a trigger or holds a cursor until the COMMIT,
  -- and settings end with it. So the tables are adopted by refreshing one.
  EXECUTE format('CREATE MATERIALIZED VIEW %I.qbo_adopt AS SELECT pg_temp.adopt() WITH NO DATA', place);
  EXECUTE format('ALTER MATERIALIZED VIEW %I.qbo_adopt OWNER TO qbo_raw_owner', place);
  FOR t IN
    SELECT e.entity, k.kind, k.name, c.oid::regclass AS rel, c.relkind, pg_get_userbyid(c.relowner) AS owner,
           (SELECT count(*) FROM wanted x JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = x.name AND NOT a.attisdropped
                AND format_type(a.atttypid, NULL) = x.type WHERE x.kind = k.kind) = (SELECT count(*) FROM wanted x WHERE x.kind = k.kind) AS fits
      FROM raw.qb_entities e
     CROSS JOIN LATERAL (VALUES ('data', 'qb_' || e.entity), ('report', 'backfill_report_' || e.entity)) k (kind, name)
      JOIN pg_class c ON c.relname = k.name AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
      JOIN pg_namespace s ON s.oid = c.relnamespace AND s.nspname = place
     WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
     ORDER BY k.kind, e.entity
  LOOP
    said := '{}';
    BEGIN
      IF t.relkind NOT IN ('r', 'p') THEN
        RAISE EXCEPTION 'it is no table' USING HINT = 'Rename it; the extension makes a table of this name.';
      END IF;
      -- PostgreSQL works these out while it plans, with the rights of whoever asks: a superuser who only looks, too.
      SELECT c.what, c.cure, p.oid::regprocedure AS function, o.rolname AS owner INTO r
        FROM (SELECT t.rel::oid AS rel UNION SELECT relid FROM pg_partition_tree(t.rel)) k
       CROSS JOIN LATERAL (
         SELECT 'pg_class'::regclass AS class, k.rel AS id, format('the partition key of %s', k.rel::regclass) AS what, 'make the table anew without it' AS cure
         UNION ALL SELECT 'pg_class'::regclass, i.indexrelid, format('its index %s', i.indexrelid::regclass), format('DROP INDEX %s', i.indexrelid::regclass)
           FROM pg_index i WHERE i.indrelid = k.rel
         UNION ALL SELECT 'pg_constraint'::regclass, x.oid, format('its constraint %I', x.conname), format('ALTER TABLE %s DROP CONSTRAINT %I', k.rel::regclass, x.conname)
           FROM pg_constraint x WHERE x.conrelid = k.rel AND x.contype = 'c'
         UNION ALL SELECT 'pg_statistic_ext'::regclass, s.oid, format('its statistics %s.%I', s.stxnamespace::regnamespace, s.stxname),
                          format('DROP STATISTICS %s.%I', s.stxnamespace::regnamespace, s.stxname)
           FROM pg_statistic_ext s WHERE s.stxrelid = k.rel) c
        JOIN pg_depend d ON d.classid = c.class AND d.objid = c.id
        LEFT JOIN pg_operator x ON d.refclassid = 'pg_operator'::regclass AND x.oid = d.refobjid
        JOIN pg_proc p ON p.oid = x.oprcode OR d.refclassid = 'pg_proc'::regclass AND p.oid = d.refobjid
        JOIN pg_roles o ON o.oid = p.proowner AND NOT o.rolsuper
       -- An index of a partition goes with that of its table.
       ORDER BY k.rel <> t.rel LIMIT 1;
      IF FOUND THEN
        RAISE EXCEPTION '% calls %, a function of "%", who is no superuser', r.what, r.function, r.owner
          USING HINT = format('%s; then again.', r.cure);
      END IF;
      IF t.owner <> 'qbo_raw_owner' THEN
        EXECUTE format('ALTER TABLE %s OWNER TO qbo_raw_owner', t.rel);
        said := said || format('belongs to qbo_raw_owner now, was %s''s', t.owner);
        IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = t.owner) THEN
          EXECUTE format('GRANT SELECT ON %s TO %I', t.rel, t.owner);
          said := said || format('%s may still read it', t.owner);
        END IF;
      END IF;
      FOR r IN SELECT p.relid::regclass AS part FROM pg_partition_tree(t.rel) p JOIN pg_class c ON c.oid = p.relid
                WHERE p.level > 0 AND c.relowner <> 'qbo_raw_owner'::regrole LOOP
        EXECUTE format('ALTER TABLE %s OWNER TO qbo_raw_owner', r.part);
        said := said || format('its partition %s belongs to qbo_raw_owner now', r.part);
      END LOOP;
      IF NOT has_table_privilege('qbo_raw_reader', t.rel, 'SELECT') THEN
        EXECUTE format('GRANT SELECT ON %s TO qbo_raw_reader', t.rel);
        said := said || 'qbo_raw_reader may read it'::text;
      END IF;
      -- A worker writes in such an operation too, and there a trigger that waits for the COMMIT is an error in every window.
      SELECT tgname, tgrelid::regclass AS rel INTO r FROM pg_trigger
       WHERE tginitdeferred AND NOT tgisinternal AND (tgrelid = t.rel OR tgrelid IN (SELECT relid FROM pg_partition_tree(t.rel))) LIMIT 1;
      IF FOUND THEN
        RAISE EXCEPTION 'its trigger % is deferred: it would run at the COMMIT, with the rights of whoever writes', r.tgname
          USING HINT = format('DROP TRIGGER %I ON %s, or make it INITIALLY IMMEDIATE; then again.', r.tgname, r.rel);
      END IF;
      INSERT INTO did ("table", did) SELECT t.rel::text, s FROM unnest(said) s;
      DELETE FROM task;
      INSERT INTO task VALUES (t.rel, t.kind, t.relkind, t.fits, current_setting('qbo_adopt.keep') = 'newest');
      EXECUTE format('REFRESH MATERIALIZED VIEW %I.qbo_adopt', place);
      INSERT INTO did ("table", did) SELECT t.rel::text, 'fits as it is' WHERE NOT EXISTS (SELECT FROM did WHERE "table" = t.rel::text);
    EXCEPTION WHEN OTHERS THEN
      GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
      INSERT INTO did ("table", did, failed) VALUES (t.rel::text, 'left as it was: ' || concat_ws('. ', message, nullif(detail, ''), nullif(hint, '')), true);
    END;
  END LOOP;
  EXECUTE format('DROP MATERIALIZED VIEW IF EXISTS %I.qbo_adopt', place);
  IF (SELECT nspowner <> 'qbo_raw_owner'::regrole FROM pg_namespace WHERE nspname = place) THEN
    EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM qbo_raw_owner', place);
  END IF;
  IF NOT EXISTS (SELECT FROM did WHERE "table" NOT LIKE '%.*') THEN
    INSERT INTO did ("table", did) VALUES (place || '.*', 'has no table of an entity');
  END IF;
END
$$;
COMMIT;

-- The path of the session is back, and may lead anywhere.
SELECT "table", did FROM pg_temp.did ORDER BY step;
-- psql ends with an error when a table was left as it was.
DO $$
DECLARE
  n bigint := (SELECT pg_catalog.count(*) FROM pg_temp.did WHERE failed);
BEGIN
  IF n OPERATOR(pg_catalog.>) 0 THEN
    RAISE EXCEPTION '% tables were left as they were', n USING HINT = 'The rows above say why.';
  END IF;
END
$$;

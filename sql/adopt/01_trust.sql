-- Adopts the tables of an earlier pipeline: raw.qb_<entity> and raw.backfill_report_<entity>. For psql, as a superuser:
--
--   psql -X -d DATABASE -f qbo_raw_adopt.sql                    adopts what can be adopted, and says what it did
--   psql -X -d DATABASE -v keep=newest -f qbo_raw_adopt.sql     also deletes the older ones of records that are there twice
--   psql -X -d DATABASE -v schema=other -f qbo_raw_adopt.sql    tables in another schema than raw
--
-- The extension is created if it is not there yet. Each table is adopted whole or left as it was. Columns that the
-- extension does not know stay. A TIMESTAMP without time zone is taken as UTC. Stop the old pipeline first.
\set ON_ERROR_STOP on
\set QUIET on
\if :{?schema} \else
  \set schema raw
\endif
\if :{?keep} \else
  \set keep all
\endif
BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;
-- In this zone a timestamp and a timestamptz have the same bytes, so the type is changed without copying the table.
SET LOCAL timezone = 'UTC';
SET LOCAL quote_all_identifiers = off;
SET LOCAL lock_timeout = '30s';
SELECT set_config('qbo_adopt.schema', :'schema', true), set_config('qbo_adopt.keep', :'keep', true) \g /dev/null

-- The schema has to belong to somebody whom the extension trusts.
DO $$
DECLARE
  place name := current_setting('qbo_adopt.schema');
  old name := (SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = place);
  e record;
BEGIN
  IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
    RAISE EXCEPTION 'only a superuser can adopt tables' USING ERRCODE = 'insufficient_privilege';
  END IF;
  IF current_setting('qbo_adopt.keep') NOT IN ('all', 'newest') THEN
    RAISE EXCEPTION 'keep is "%"', current_setting('qbo_adopt.keep')
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave it out, or say -v keep=newest.';
  END IF;
  IF old IS NULL THEN
    RAISE EXCEPTION 'schema "%" does not exist', place
      USING ERRCODE = 'invalid_schema_name', HINT = 'Name the schema of the old tables: -v schema=NAME.';
  END IF;
  -- It would run at the first thing that is created here, with the rights of a superuser.
  SELECT t.evtname, p.oid::regprocedure AS function, o.rolname AS owner INTO e
    FROM pg_event_trigger t JOIN pg_proc p ON p.oid = t.evtfoid JOIN pg_roles o ON o.oid = p.proowner
   WHERE t.evtenabled <> 'D' AND NOT o.rolsuper LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'event trigger "%" runs %, a function of "%", who is no superuser', e.evtname, e.function, e.owner
      USING ERRCODE = 'insufficient_privilege',
            HINT = format('Read the function, then ALTER FUNCTION %s OWNER TO a superuser, or ALTER EVENT TRIGGER %I DISABLE.', e.function, e.evtname);
  END IF;
  CREATE TEMP TABLE did (step int GENERATED ALWAYS AS IDENTITY, "table" text, did text, failed boolean DEFAULT false) ON COMMIT PRESERVE ROWS;
  IF (old <> 'qbo_raw_owner' OR place = 'raw') AND NOT EXISTS (
       SELECT FROM pg_roles o, pg_database d
        WHERE d.datname = current_database() AND o.rolname = old AND (o.rolsuper OR o.oid = d.datdba AND place <> 'raw')) THEN
    EXECUTE format('ALTER SCHEMA %I OWNER TO CURRENT_USER', place);
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', place, old);
    INSERT INTO did ("table", did) VALUES (place || '.*', format('the schema belongs to %s now, was %s''s; %2$s may still use it', current_user, old));
  END IF;
  -- CREATE EXTENSION refuses a schema raw in which they may, and what they left in it.
  FOR e IN
    SELECT DISTINCT coalesce(quote_ident(g.rolname), 'PUBLIC') AS role
      FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) a LEFT JOIN pg_roles g ON g.oid = a.grantee
     WHERE n.nspname = place AND a.privilege_type = 'CREATE' AND a.grantee <> n.nspowner
       AND g.rolsuper IS NOT TRUE AND g.rolname IS DISTINCT FROM 'qbo_raw_owner'
  LOOP
    EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM %s CASCADE', place, e.role);
    INSERT INTO did ("table", did) VALUES (place || '.*', format('%s may no longer create objects in the schema', e.role));
  END LOOP;
  IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'qbo_raw') THEN
    CREATE EXTENSION qbo_raw;
    INSERT INTO did ("table", did) VALUES (place || '.*', 'extension qbo_raw created');
  END IF;
  -- What is done in the tables is done as their owner, whose indexes take the right to create; it is taken back below.
  EXECUTE format('GRANT USAGE, CREATE ON SCHEMA %I TO qbo_raw_owner', place);
  EXECUTE format('GRANT USAGE ON SCHEMA %I TO qbo_raw_operator, qbo_raw_reader', place);
END
$$;

-- What must hold before anything is created: the encoding, the schema and the three roles.
--
-- The schema comes from the control file, so that it is no member of the extension and DROP EXTENSION leaves the data in it.
-- CREATE EXTENSION would also take a schema that already exists; one that belongs to a stranger could hold traps.
SET LOCAL search_path TO pg_catalog, pg_temp;

DO $$
DECLARE
  schema_owner pg_catalog.name;
  trusted boolean;
  stranger pg_catalog.text;
  planted pg_catalog.text;
BEGIN
  IF pg_catalog.getdatabaseencoding() OPERATOR(pg_catalog.<>) 'UTF8' THEN
    RAISE EXCEPTION 'qbo_raw needs a database with encoding UTF8, this one has %', pg_catalog.getdatabaseencoding()
      USING ERRCODE = 'feature_not_supported',
            HINT = 'Create the database with ENCODING ''UTF8'': QuickBooks answers in Unicode.';
  END IF;

  -- The owner of the schema could give it another name and make one in its place, for the worker to find.
  SELECT o.rolname, o.rolsuper INTO schema_owner, trusted
    FROM pg_catalog.pg_namespace n
    JOIN pg_catalog.pg_roles o ON o.oid OPERATOR(pg_catalog.=) n.nspowner
   WHERE n.nspname OPERATOR(pg_catalog.=) 'raw';
  IF NOT trusted THEN
    RAISE EXCEPTION 'schema "raw" belongs to "%"', schema_owner
      USING ERRCODE = 'insufficient_privilege',
            DETAIL = 'What a stranger placed in the schema could be run by the extension.',
            HINT = 'Look at what is in it, then ALTER SCHEMA raw OWNER TO a superuser, or rename it.';
  END IF;

  -- A function beside ours, with other types of arguments, could be the one that a call finds. (qbo_raw_owner loses the right
  -- below.)
  SELECT coalesce(pg_catalog.quote_ident(g.rolname), 'PUBLIC') INTO stranger
    FROM pg_catalog.pg_namespace n
   CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) a
    LEFT JOIN pg_catalog.pg_roles g ON g.oid OPERATOR(pg_catalog.=) a.grantee
   WHERE n.nspname OPERATOR(pg_catalog.=) 'raw' AND a.privilege_type OPERATOR(pg_catalog.=) 'CREATE'
     AND g.rolsuper IS NOT TRUE AND (g.rolname OPERATOR(pg_catalog.=) 'qbo_raw_owner') IS NOT TRUE
   LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION '% may create objects in schema "raw"', stranger
      USING ERRCODE = 'insufficient_privilege',
            HINT = pg_catalog.format('REVOKE CREATE ON SCHEMA raw FROM %s first; others load into a schema of their own.', stranger);
  END IF;

  SELECT p.oid::pg_catalog.regprocedure::pg_catalog.text, o.rolname INTO planted, stranger
    FROM pg_catalog.pg_proc p
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
    JOIN pg_catalog.pg_roles o ON o.oid OPERATOR(pg_catalog.=) p.proowner
   WHERE n.nspname OPERATOR(pg_catalog.=) 'raw' AND NOT o.rolsuper
   LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'function % belongs to "%", who is no superuser', planted, stranger
      USING ERRCODE = 'insufficient_privilege',
            HINT = pg_catalog.format('DROP ROUTINE %s; or, when you have read it, ALTER ROUTINE %1$s SET SCHEMA another one.', planted);
  END IF;
END
$$;

-- Roles belong to the cluster, not to the extension: they are made when absent and never dropped. Where several databases get
-- the extension at once, one makes them and the others wait.
DO $$
DECLARE
  wanted pg_catalog.name;
  existing pg_catalog.pg_roles;
BEGIN
  IF (SELECT pg_catalog.count(*) FROM pg_catalog.pg_roles r
       WHERE r.rolname OPERATOR(pg_catalog.=) ANY (ARRAY['qbo_raw_owner', 'qbo_raw_operator', 'qbo_raw_reader']::pg_catalog.name[]))
     OPERATOR(pg_catalog.<) 3 THEN
    LOCK TABLE pg_catalog.pg_authid IN SHARE ROW EXCLUSIVE MODE;
  END IF;
  FOREACH wanted IN ARRAY ARRAY['qbo_raw_owner', 'qbo_raw_operator', 'qbo_raw_reader']::pg_catalog.name[] LOOP
    SELECT * INTO existing FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) wanted;
    IF NOT FOUND THEN
      EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS', wanted);
    ELSIF existing.rolsuper OR existing.rolcanlogin THEN
      RAISE EXCEPTION 'role "%" exists and %', wanted,
                      CASE WHEN existing.rolsuper THEN 'is a superuser' ELSE 'may log in' END
        USING ERRCODE = 'invalid_role_specification',
              HINT = 'The extension gives this role rights on the data; it must be a role without login that is no superuser.';
    END IF;
  END LOOP;
END
$$;

GRANT qbo_raw_reader TO qbo_raw_operator;
-- The code on the tables runs as their owner: a function that it put beside ours could be taken for one of them. So the
-- worker lends the owner the right to create, for the moment in which it makes tables.
REVOKE CREATE ON SCHEMA raw FROM qbo_raw_owner;
GRANT USAGE ON SCHEMA raw TO qbo_raw_owner, qbo_raw_operator, qbo_raw_reader;

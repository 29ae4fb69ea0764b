-- The restricted config table: one row a connection, with its secrets.
--
-- Nobody but its owner (the superuser who created the extension) reads it: nothing is granted, and row security without a
-- policy hides the rows from pg_read_all_data as well. It is not registered for pg_dump, so no secret gets into a dump.
-- The form of the values is checked by a trigger, since a failing CHECK or NOT NULL would print the row with its secrets.
CREATE TABLE raw.qb_config (
  connection               text PRIMARY KEY DEFAULT 'default',
  connection_id            int GENERATED ALWAYS AS IDENTITY UNIQUE,
  realm_id                 text,
  environment              text DEFAULT 'production',
  client_id                text,
  client_secret            text,
  refresh_token            text,
  refresh_expires_at       timestamptz,
  refresh_hard_expires_at  timestamptz,
  access_token             text,
  access_expires_at        timestamptz,
  token_generation         bigint NOT NULL DEFAULT 0,
  auth_state               text NOT NULL DEFAULT 'ok',
  refresh_started_at       timestamptz,
  refreshed_at             timestamptz,
  last_error               text,
  last_intuit_tid          text,
  target_schema            name DEFAULT 'raw' UNIQUE,
  page_size                int DEFAULT 1000,
  monthly_budget           bigint DEFAULT 500000,
  consent_state            bytea,
  consent_redirect_uri     text,
  consent_expires_at       timestamptz,
  responsible              text,
  created_at               timestamptz NOT NULL DEFAULT pg_catalog.now(),
  updated_at               timestamptz NOT NULL DEFAULT pg_catalog.now(),
  UNIQUE (realm_id, environment)
);
ALTER TABLE raw.qb_config ENABLE ROW LEVEL SECURITY;
REVOKE ALL ON raw.qb_config FROM PUBLIC;

CREATE FUNCTION raw._qb_config_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  wrong text;
  hint text;
  behind text;
BEGIN
  SELECT min(a.attname) INTO wrong FROM pg_attribute a
   WHERE a.attrelid = TG_RELID AND a.attnum > 0 AND a.attnotnull AND NOT a.attisdropped AND to_jsonb(NEW) ->> a.attname IS NULL;
  IF wrong IS NOT NULL THEN
    RAISE EXCEPTION '% must not be null', wrong
      USING ERRCODE = 'null_value_not_allowed', HINT = 'Leave the column out to get its default, or to keep what it holds.';
  END IF;

  IF NEW.connection !~ '^[a-z][a-z0-9_]{0,39}$' THEN
    wrong := 'connection';
    hint := 'A connection has a short name of lower-case letters, digits and underscores, such as ''default'' or ''acme_ltd''.';
  ELSIF NEW.realm_id IS NOT NULL AND NEW.realm_id !~ '^[0-9]{1,20}$' THEN
    wrong := 'realm_id';
    hint := 'The realm id is the company id of QuickBooks Online: digits only, as it came with the authorization.';
  ELSIF NEW.environment IS NULL OR NEW.environment NOT IN ('production', 'sandbox') THEN
    wrong := 'environment';
    hint := 'It is ''production'' or ''sandbox''.';
  ELSIF NEW.client_id IS NOT NULL AND (NEW.client_id !~ '^[!-~]+$' OR length(NEW.client_id) > 512) THEN
    wrong := 'client_id';
    hint := 'Copy the client id from the keys of the app: printable characters without blanks.';
  ELSIF NEW.client_secret IS NOT NULL AND (NEW.client_secret !~ '^[!-~]+$' OR length(NEW.client_secret) > 512) THEN
    wrong := 'client_secret';
    hint := 'Copy the client secret from the keys of the app: printable characters without blanks.';
  ELSIF NEW.refresh_token IS NOT NULL AND (NEW.refresh_token !~ '^[!-~]+$' OR length(NEW.refresh_token) > 4096) THEN
    wrong := 'refresh_token';
    hint := 'A refresh token is printable text without blanks, at most 512 characters in Intuit''s documents.';
  ELSIF NEW.target_schema IS NULL OR NEW.target_schema = '' OR NEW.target_schema ~ '^pg_' OR NEW.target_schema IN ('public', 'information_schema') THEN
    wrong := 'target_schema';
    hint := 'Choose a schema of its own: not public, not information_schema, none that begins with pg_.';
  ELSIF NEW.page_size IS NULL OR NEW.page_size NOT BETWEEN 1 AND 1000 THEN
    wrong := 'page_size';
    hint := 'QuickBooks gives 1 to 1000 records a page.';
  ELSIF NEW.monthly_budget < 0 THEN
    wrong := 'monthly_budget';
    hint := 'It is a number of requests, or NULL for no limit.';
  ELSIF NEW.auth_state NOT IN ('ok', 'refreshing', 'needs_reauth', 'bad_client') THEN
    wrong := 'auth_state';
    hint := 'It is ''ok'', ''refreshing'', ''needs_reauth'' or ''bad_client''; leave it to the extension.';
  END IF;
  IF wrong IS NOT NULL THEN
    RAISE EXCEPTION '% does not have the form it must have', wrong
      USING ERRCODE = 'invalid_parameter_value', HINT = hint;
  END IF;

  -- The tables of the connection hold the records of one company, and ids of two companies are the same numbers. Until a
  -- window is stored, a realm or environment that was wrong is put right.
  IF TG_OP = 'UPDATE' AND (NEW.realm_id IS DISTINCT FROM OLD.realm_id AND OLD.realm_id IS NOT NULL OR NEW.environment <> OLD.environment)
     AND EXISTS (SELECT 1 FROM raw.qb_run r WHERE r.connection = OLD.connection AND (r.windows_done > 0 OR r.status = 'running')) THEN
    RAISE EXCEPTION 'connection "%" has loaded another company, % (%)', OLD.connection, OLD.realm_id, OLD.environment
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'Give the other company a connection of its own: connection => ''...'', with its own schema.';
  END IF;

  -- Its runs know it by name.
  IF TG_OP = 'UPDATE' AND NEW.connection <> OLD.connection AND EXISTS (SELECT 1 FROM raw.qb_run r WHERE r.connection = OLD.connection) THEN
    RAISE EXCEPTION 'connection "%" has runs: it cannot be renamed', OLD.connection
      USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Keep the name: runs and coverage go by it.';
  END IF;

  -- What is covered is read from the tables in the target schema: tables that stay behind would be lost from sight, and
  -- loaded anew.
  IF TG_OP = 'UPDATE' AND NEW.target_schema <> OLD.target_schema
     AND EXISTS (SELECT 1 FROM raw.qb_run r WHERE r.connection = OLD.connection AND (r.windows_done > 0 OR r.status = 'running')) THEN
    SELECT min(c.relname) INTO behind
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = OLD.target_schema AND c.relkind IN ('r', 'p')
       AND (c.relname = 'qb_rejects' OR EXISTS (SELECT 1 FROM raw.qb_entities e WHERE c.relname IN (e.table_name, e.report_table)));
    IF behind IS NOT NULL THEN
      RAISE EXCEPTION 'the tables of connection "%" are in schema "%"', OLD.connection, OLD.target_schema
        USING ERRCODE = 'object_not_in_prerequisite_state',
              HINT = format('Move them first, while no run works: ALTER TABLE %I.%I SET SCHEMA ..., and so on with each; then set target_schema.',
                            OLD.target_schema, behind);
    END IF;
  END IF;

  -- A token or a client that somebody wrote by hand starts a new generation: what was known of the old one is void, and
  -- an answer for the old token that is still on its way is dropped.
  IF TG_OP = 'UPDATE' AND NEW.token_generation = OLD.token_generation
     AND (NEW.refresh_token IS DISTINCT FROM OLD.refresh_token
          OR NEW.client_id IS DISTINCT FROM OLD.client_id
          OR NEW.client_secret IS DISTINCT FROM OLD.client_secret
          OR NEW.realm_id IS DISTINCT FROM OLD.realm_id
          OR NEW.environment IS DISTINCT FROM OLD.environment) THEN
    NEW.token_generation := OLD.token_generation + 1;
    -- A new secret makes no token good that Intuit rejected; the client that it was given to may.
    NEW.auth_state := CASE WHEN NEW.refresh_token IS NULL THEN 'needs_reauth'
                           WHEN NEW.auth_state = 'needs_reauth' AND (NEW.refresh_token, NEW.client_id, NEW.environment)
                                IS NOT DISTINCT FROM (OLD.refresh_token, OLD.client_id, OLD.environment) THEN 'needs_reauth'
                           ELSE 'ok' END;
    NEW.access_token := NULL;
    NEW.access_expires_at := NULL;
    IF NEW.refresh_token IS DISTINCT FROM OLD.refresh_token THEN
      NEW.refresh_expires_at := NULL;
      NEW.refresh_hard_expires_at := NULL;
    END IF;
  END IF;
  IF TG_OP = 'INSERT' AND NEW.refresh_token IS NULL THEN
    NEW.auth_state := 'needs_reauth';
  END IF;
  IF NEW.auth_state = 'ok' THEN
    NEW.last_error := NULL;
  END IF;
  NEW.updated_at := now();
  RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION raw._qb_config_guard() FROM PUBLIC;

CREATE TRIGGER _qb_config_guard BEFORE INSERT OR UPDATE ON raw.qb_config
  FOR EACH ROW EXECUTE FUNCTION raw._qb_config_guard();

CREATE FUNCTION raw.qb_connect(
  realm_id      text DEFAULT NULL,           -- company id of QuickBooks Online, digits; NULL = as it is, or as the consent says
  client_id     text DEFAULT NULL,           -- of the Intuit app; NULL = as it is
  client_secret text DEFAULT NULL,           -- of the Intuit app; NULL = as it is
  refresh_token text DEFAULT NULL,           -- as it came with an authorization; NULL = as it is, or by qb_authorize
  environment   text DEFAULT NULL,           -- 'production' or 'sandbox'; NULL = as it is, or production
  connection    text DEFAULT 'default',      -- name of the connection
  target_schema name DEFAULT NULL            -- schema of its tables, made when absent; NULL = as it is, or raw, raw_<connection>
) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  empty text;
  hint text;
  known raw.qb_config;
  schema_owner name;
  trusted boolean;
  schema name;
BEGIN
  -- No value is ever put into a message: with arguments in the wrong order any of them may be a secret.
  SELECT * INTO known FROM raw.qb_config c WHERE c.connection = qb_connect.connection;
  empty := CASE WHEN qb_connect.connection IS NULL THEN 'connection'
                WHEN coalesce(qb_connect.client_id, known.client_id) IS NULL THEN 'client_id'
                WHEN coalesce(qb_connect.client_secret, known.client_secret) IS NULL THEN 'client_secret'
                WHEN qb_connect.refresh_token IS NOT NULL AND coalesce(qb_connect.realm_id, known.realm_id) IS NULL
                  THEN 'realm_id' END;
  IF empty IS NOT NULL THEN
    RAISE EXCEPTION '% must not be null', empty
      USING ERRCODE = 'null_value_not_allowed',
            HINT = 'raw.qb_connect(realm_id, client_id, client_secret, refresh_token, environment, connection, target_schema)';
  END IF;
  schema := coalesce(qb_connect.target_schema, known.target_schema,
                     CASE qb_connect.connection WHEN 'default' THEN 'raw' ELSE 'raw_' || qb_connect.connection END);
  IF schema = '' OR schema ~ '^pg_' OR schema IN ('public', 'information_schema') THEN
    RAISE EXCEPTION 'target_schema does not have the form it must have'
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Choose a schema of its own: not public, not information_schema, none that begins with pg_.';
  END IF;
  SELECT o.rolname, o.rolsuper OR o.rolname = 'qbo_raw_owner' OR o.oid = d.datdba INTO schema_owner, trusted
    FROM pg_namespace n JOIN pg_roles o ON o.oid = n.nspowner JOIN pg_database d ON d.datname = current_database()
   WHERE n.nspname = schema;
  IF FOUND AND NOT trusted THEN
    RAISE EXCEPTION 'the target schema belongs to "%"', schema_owner
      USING ERRCODE = 'insufficient_privilege',
            HINT = 'Choose a schema that belongs to a superuser, to the owner of the database or to qbo_raw_owner.';
  END IF;
  -- Its owner lets nobody in but whom he wants to: who was only lent this function cannot open it to operators and readers.
  IF schema_owner NOT IN ('qbo_raw_owner', session_user) AND schema <> 'raw' AND schema IS DISTINCT FROM known.target_schema
     AND NOT (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = session_user) THEN
    RAISE EXCEPTION 'the target schema belongs to "%"', schema_owner
      USING ERRCODE = 'insufficient_privilege',
            HINT = 'Leave target_schema out to have one made: only a superuser may choose one that belongs to another role.';
  END IF;

  INSERT INTO raw.qb_config AS c (connection, realm_id, environment, client_id, client_secret, refresh_token, target_schema)
  VALUES (qb_connect.connection, qb_connect.realm_id, coalesce(qb_connect.environment, 'production'), qb_connect.client_id,
          qb_connect.client_secret, qb_connect.refresh_token, schema)
  ON CONFLICT (connection) DO UPDATE
    SET realm_id = coalesce(excluded.realm_id, c.realm_id), environment = coalesce(qb_connect.environment, c.environment),
        client_id = coalesce(excluded.client_id, c.client_id),
        client_secret = coalesce(excluded.client_secret, c.client_secret),
        refresh_token = coalesce(excluded.refresh_token, c.refresh_token), target_schema = excluded.target_schema,
        -- What Intuit refused is tried again when somebody says that it is right: an outage can look like a refusal.
        auth_state = CASE WHEN c.refresh_token IS NULL THEN c.auth_state
                          WHEN c.auth_state = 'needs_reauth' AND excluded.refresh_token IS NOT NULL THEN 'ok'
                          WHEN c.auth_state = 'bad_client' AND num_nonnulls(excluded.client_id, excluded.client_secret) > 0 THEN 'ok'
                          ELSE c.auth_state END
  RETURNING * INTO known;
  IF schema_owner IS NULL THEN
    EXECUTE format('CREATE SCHEMA %I AUTHORIZATION qbo_raw_owner', schema);
  END IF;
  -- The worker lends qbo_raw_owner the right to create while it makes tables; no GRANT that changes nothing gets in its way.
  IF NOT (has_schema_privilege('qbo_raw_owner', schema, 'USAGE') AND has_schema_privilege('qbo_raw_operator', schema, 'USAGE')
          AND has_schema_privilege('qbo_raw_reader', schema, 'USAGE')) THEN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO qbo_raw_owner, qbo_raw_operator, qbo_raw_reader', schema);
  END IF;

  IF known.refresh_token IS NULL THEN
    RETURN format('connection %s is set, tables in schema %I; now authorize it: SELECT raw.qb_authorize_url(''https://...'', ''%1$s'')',
                  known.connection, known.target_schema);
  END IF;
  RETURN format('connection %s is set: realm %s (%s), tables in schema %I', known.connection, known.realm_id,
                known.environment, known.target_schema);
EXCEPTION
  -- What the trigger refuses is said without the statement that it stands in.
  WHEN invalid_parameter_value OR object_not_in_prerequisite_state THEN
    GET STACKED DIAGNOSTICS empty = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
    RAISE EXCEPTION '%', empty USING ERRCODE = SQLSTATE, HINT = hint;
  WHEN unique_violation THEN
    IF EXISTS (SELECT 1 FROM raw.qb_config c WHERE c.target_schema = schema AND c.connection <> qb_connect.connection) THEN
      RAISE EXCEPTION 'schema "%" holds the tables of another connection', schema
        USING ERRCODE = 'unique_violation', HINT = 'Each company has a schema of its own; leave target_schema out to get one.';
    END IF;
    RAISE EXCEPTION 'another connection already has this realm'
      USING ERRCODE = 'unique_violation',
            HINT = 'A company is connected once in a database; see raw.qb_connections for those that exist.';
END
$$;
REVOKE ALL ON FUNCTION raw.qb_connect(text, text, text, text, text, text, name) FROM PUBLIC;

-- Intuit lets a refresh token end after a hundred days without use. A tick renews one that nobody used for half of that;
-- after a failure, an hour later again. Where an answer names no later end, once a day is enough.
CREATE FUNCTION raw._qb_token_is_idle(
  config raw.qb_config
) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT config.refresh_token IS NOT NULL AND config.client_id IS NOT NULL AND config.client_secret IS NOT NULL
     AND config.realm_id IS NOT NULL AND config.auth_state IN ('ok', 'refreshing')
     AND coalesce(config.refresh_expires_at, coalesce(config.refreshed_at, config.updated_at) + interval '100 days')
         < now() + interval '50 days'
     AND coalesce(config.refresh_started_at < now() - interval '1 hour', true)
     AND coalesce(config.refreshed_at < now() - interval '1 day', true)
     AND coalesce(config.refresh_hard_expires_at > now(), true)
$$;
REVOKE ALL ON FUNCTION raw._qb_token_is_idle(raw.qb_config) FROM PUBLIC;

//! Who may what, and that nobody's code runs with more rights than its author has.

use qbo_e2e::{Database, RANGE, Server, refused};
use qbo_sim::Options;

fn role(db: &Database, name: &str, rights: &str) {
    db.server.sql("postgres", &format!("DROP ROLE IF EXISTS {name}; CREATE ROLE {name} LOGIN; {rights}"));
}

#[test]
fn the_secrets_are_read_by_their_owner_only() {
    let server = Server::private("");
    let db = Database::on(&server, Options::default());
    role(&db, "plain", "");
    role(&db, "reads_all", "GRANT pg_read_all_data TO reads_all");
    role(&db, "operates", "GRANT qbo_raw_operator TO operates");
    role(&db, "watches", "GRANT pg_monitor TO watches");
    for name in ["plain", "operates", "watches"] {
        assert_eq!(
            refused(&mut db.client_as(name), "SELECT * FROM raw.qb_config").sqlstate,
            "42501",
            "{name}"
        );
    }
    let seen = qbo_e2e::rows(&mut db.client_as("reads_all"), "SELECT count(*) FROM raw.qb_config").unwrap();
    assert_eq!(seen, [["0"]], "row security without a policy");
    // An operator sees that there are secrets, never which.
    let text = qbo_e2e::rows(&mut db.client_as("operates"), "SELECT s::text FROM raw.qb_secrets s")
        .unwrap()
        .concat()
        .concat();
    let (_, id, secret, token) = db.sim.credentials();
    assert!(
        text.contains("refresh_token") && ![id, secret, token].iter().any(|value| text.contains(value)),
        "{text}"
    );
}

#[test]
fn an_operator_runs_a_reader_reads_and_nobody_else_does_either() {
    let server = Server::private("");
    let db = Database::on(&server, Options::default());
    role(&db, "plain", "");
    role(&db, "operates", "GRANT qbo_raw_operator TO operates");
    role(&db, "reads", "GRANT qbo_raw_reader TO reads");
    let call = format!("SELECT raw.qb_backfill('invoices', {RANGE})");
    for name in ["plain", "reads"] {
        assert_eq!(refused(&mut db.client_as(name), &call).sqlstate, "42501", "{name}");
    }
    let run = qbo_e2e::rows(&mut db.client_as("operates"), &call).unwrap()[0][0].parse().unwrap();
    assert_eq!(db.ended(run), "success");
    assert_eq!(db.of_run(run, "requested_by"), "operates");
    db.client_as("operates").batch_execute(&format!("CALL raw.qb_wait({run})")).unwrap();
    for table in
        ["qb_invoices", "backfill_report_invoices", "qb_rejects", "qb_run", "qb_progress", "qb_entities"]
    {
        let text = format!("SELECT count(*) FROM raw.{table}");
        for name in ["reads", "operates"] {
            qbo_e2e::rows(&mut db.client_as(name), &text)
                .unwrap_or_else(|error| panic!("{name} {table}: {error:?}"));
        }
        assert_eq!(refused(&mut db.client_as("plain"), &text).sqlstate, "42501", "{table}");
    }
    assert_eq!(refused(&mut db.client_as("operates"), "DELETE FROM raw.qb_invoices").sqlstate, "42501");
    assert_eq!(
        refused(&mut db.client_as("operates"), "UPDATE raw.qb_run SET status = 'success'").sqlstate,
        "42501"
    );
}

#[test]
fn who_lost_the_right_after_asking_does_not_get_the_work() {
    let server = Server::private("");
    let db = Database::on(&server, Options::default());
    role(&db, "operates", "GRANT qbo_raw_operator TO operates");
    // Nobody works while the connection's lock is held by us.
    let mut holder = db.client();
    let key = db.value("SELECT connection_id FROM raw.qb_config");
    holder.batch_execute(&format!("SELECT pg_advisory_lock({}, {key})", 0x7162_6f01)).unwrap();
    let call = format!("SELECT raw.qb_backfill('invoices', {RANGE})");
    let run = qbo_e2e::rows(&mut db.client_as("operates"), &call).unwrap()[0][0].parse().unwrap();
    server.sql("postgres", "REVOKE qbo_raw_operator FROM operates");
    drop(holder);
    qbo_e2e::wait_until("the lock is free", qbo_e2e::seconds(30), || {
        db.number("SELECT raw.qb_tick()") == 1 || !["queued"].contains(&db.of_run(run, "status").as_str())
    });
    assert_eq!(db.ended(run), "failed");
    assert_eq!(db.of_run(run, "error_code"), "permission_denied");
    assert_eq!(db.sim.request_count(), 0);
}

/// What a hostile role would like its code to do.
const ESCALATE: &str = "CREATE OR REPLACE FUNCTION evil.take() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN EXECUTE 'ALTER ROLE mallory SUPERUSER'; RETURN NEW; EXCEPTION WHEN OTHERS THEN RETURN NEW; END $$";

fn nothing_gained(db: &Database) {
    assert_eq!(db.value("SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'"), "f");
    let spied =
        "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'evil' AND table_name = 'loot'";
    if db.number(spied) > 0 {
        assert_eq!(
            db.number("SELECT count(*) FROM evil.loot"),
            0,
            "{:?}",
            db.rows("SELECT * FROM evil.loot")
        );
    }
}

#[test]
fn code_planted_on_the_tables_runs_as_their_owner_only() {
    let server = Server::private("");
    let db =
        Database::on(&server, Options { counts: vec![("Invoice".to_owned(), 30)], ..Options::default() });
    role(&db, "mallory", "");
    db.exec("CREATE SCHEMA evil AUTHORIZATION mallory; GRANT USAGE ON SCHEMA evil TO PUBLIC");
    db.client_as("mallory").batch_execute(ESCALATE).unwrap();
    db.client_as("mallory")
        .batch_execute(
            "CREATE TABLE evil.loot (who text, may boolean);
             GRANT INSERT ON evil.loot TO PUBLIC;
             CREATE FUNCTION evil.act() RETURNS void LANGUAGE plpgsql AS $$
               BEGIN
                 IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
                   INSERT INTO evil.loot VALUES (current_user, true);
                 END IF;
                 BEGIN EXECUTE 'ALTER ROLE mallory SUPERUSER'; EXCEPTION WHEN OTHERS THEN NULL; END;
                 BEGIN EXECUTE 'SET ROLE postgres'; EXCEPTION WHEN OTHERS THEN NULL; END;
                 BEGIN EXECUTE 'RESET SESSION AUTHORIZATION'; EXCEPTION WHEN OTHERS THEN NULL; END;
               END $$;
             CREATE FUNCTION evil.spy(x text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
               BEGIN PERFORM evil.act(); RETURN x; END $$",
        )
        .unwrap();
    db.backfill("invoices");
    // Everything a table can carry, planted by a superuser's mistake: it runs as qbo_raw_owner, in a restricted operation.
    db.exec(
        "CREATE TRIGGER t BEFORE INSERT OR UPDATE ON raw.qb_invoices FOR EACH ROW EXECUTE FUNCTION evil.take();
         CREATE TRIGGER a AFTER INSERT OR UPDATE ON raw.qb_invoices FOR EACH ROW EXECUTE FUNCTION evil.take();
         CREATE TRIGGER r BEFORE INSERT ON raw.backfill_report_invoices FOR EACH ROW EXECUTE FUNCTION evil.take();
         ALTER TABLE raw.qb_invoices ADD COLUMN d text DEFAULT evil.spy('x');
         ALTER TABLE raw.qb_invoices ADD COLUMN g text GENERATED ALWAYS AS (evil.spy(id)) STORED;
         ALTER TABLE raw.qb_invoices ADD CONSTRAINT c CHECK (evil.spy(id) IS NOT NULL);
         CREATE INDEX ON raw.qb_invoices (evil.spy(id))",
    );
    // What the superuser did just now ran that code as superuser; the worker must not.
    assert!(db.number("SELECT count(*) FROM evil.loot") > 0, "the code tells who runs it");
    db.exec("DELETE FROM raw.qb_invoices");
    db.exec("DELETE FROM evil.loot; ALTER ROLE mallory NOSUPERUSER");
    let run = db.backfill("invoices");
    assert_eq!(db.of_run(run, "inserted_count"), "30", "the code did run");
    nothing_gained(&db);
}

#[test]
fn a_table_of_a_stranger_is_not_written_to() {
    let server = Server::private("");
    let db = Database::on(&server, Options::default());
    role(&db, "mallory", "");
    db.exec("GRANT CREATE, USAGE ON SCHEMA raw TO mallory; CREATE SCHEMA evil AUTHORIZATION mallory");
    let mut mallory = db.client_as("mallory");
    mallory.batch_execute(ESCALATE).unwrap();
    mallory
        .batch_execute(
            "CREATE TABLE raw.qb_invoices (id text PRIMARY KEY, payload jsonb, ingested_at_utc timestamptz,
               extract_window_start_utc timestamptz, extract_window_end_utc timestamptz, page_number int, page_size int,
               request_payload jsonb);
             CREATE TRIGGER t BEFORE INSERT ON raw.qb_invoices FOR EACH ROW EXECUTE FUNCTION evil.take();
             CREATE FUNCTION raw.count(text) RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint';
             CREATE FUNCTION raw.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT NULL::timestamptz'",
        )
        .unwrap();
    let run = db.queue("invoices");
    assert_eq!(db.ended(run), "failed");
    assert_eq!(db.of_run(run, "error_code"), "target_of_a_stranger");
    assert_eq!(db.of_run(run, "error_hint"), "ALTER TABLE raw.qb_invoices OWNER TO qbo_raw_owner;");
    assert_eq!(db.number("SELECT count(*) FROM raw.qb_invoices"), 0, "the company's data is not given away");
    nothing_gained(&db);
    // The hint mends it.
    db.exec("DROP TRIGGER t ON raw.qb_invoices; ALTER TABLE raw.qb_invoices OWNER TO qbo_raw_owner");
    db.backfill("invoices");
    db.check_equal("invoices", "Invoice");
}

#[test]
fn a_hostile_search_path_and_temporary_schema_change_nothing() {
    let server = Server::private("");
    let db = Database::on(&server, Options::default());
    role(&db, "mallory", "GRANT qbo_raw_operator TO mallory");
    db.exec("GRANT CREATE ON SCHEMA public TO mallory");
    let mut mallory = db.client_as("mallory");
    mallory
        .batch_execute(
            "CREATE FUNCTION public.spring() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN ALTER ROLE mallory SUPERUSER; RETURN true; END $$;
             CREATE FUNCTION public.eq(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT public.spring()';
             CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = text, FUNCTION = public.eq);
             CREATE FUNCTION public.format(text, text) RETURNS text LANGUAGE sql AS 'SELECT public.spring()::text';
             CREATE TEMP TABLE qb_config (connection text);
             SET search_path = public, pg_temp, pg_catalog",
        )
        .unwrap();
    let run: i64 = qbo_e2e::rows(&mut mallory, &format!("SELECT raw.qb_backfill('invoices', {RANGE})"))
        .unwrap()[0][0]
        .parse()
        .unwrap();
    mallory.batch_execute(&format!("CALL raw.qb_wait({run})")).unwrap();
    mallory.batch_execute(&format!("SELECT raw.qb_tick(); SELECT raw.qb_cancel({run})")).unwrap();
    assert_eq!(db.value("SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'"), "f");
    db.check_equal("invoices", "Invoice");
}

#[test]
fn the_script_refuses_a_schema_and_a_role_of_a_stranger() {
    let server = Server::private("");
    for text in [
        "CREATE ROLE mallory",
        "CREATE DATABASE taken",
        "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0",
    ] {
        server.sql("postgres", text);
    }
    server.sql("taken", "CREATE SCHEMA raw AUTHORIZATION mallory");
    let mut client = server.connect("taken", "postgres").unwrap();
    assert_eq!(refused(&mut client, "CREATE EXTENSION qbo_raw").sqlstate, "42501");
    // The owner of the database is a stranger too: he could put a schema of his own in the place of this one.
    client.batch_execute("ALTER DATABASE taken OWNER TO mallory").unwrap();
    assert_eq!(refused(&mut client, "CREATE EXTENSION qbo_raw").sqlstate, "42501");
    client.batch_execute("ALTER SCHEMA raw OWNER TO postgres; GRANT CREATE ON SCHEMA raw TO PUBLIC").unwrap();
    assert_eq!(refused(&mut client, "CREATE EXTENSION qbo_raw").sqlstate, "42501");
    client
        .batch_execute("REVOKE CREATE ON SCHEMA raw FROM PUBLIC; GRANT CREATE ON SCHEMA raw TO mallory")
        .unwrap();
    let error = refused(&mut client, "CREATE EXTENSION qbo_raw");
    assert_eq!(
        (error.sqlstate.as_str(), error.message.as_str()),
        ("42501", "mallory may create objects in schema \"raw\"")
    );
    // What she left there: SELECT raw.qb_backfill('invoices', '2025-07-01', '2025-07-02') would be a call of it.
    client
        .batch_execute(
            "CREATE FUNCTION raw.qb_backfill(text, text, text) RETURNS int LANGUAGE sql AS 'SELECT 1';
             ALTER FUNCTION raw.qb_backfill(text, text, text) OWNER TO mallory; REVOKE CREATE ON SCHEMA raw FROM mallory",
        )
        .unwrap();
    let error = refused(&mut client, "CREATE EXTENSION qbo_raw");
    assert_eq!(error.sqlstate, "42501");
    assert!(error.hint.starts_with("DROP ROUTINE raw.qb_backfill(text,text,text);"), "{error:?}");
    client
        .batch_execute("DROP ROUTINE raw.qb_backfill(text, text, text); ALTER ROLE qbo_raw_reader LOGIN")
        .unwrap();
    assert_eq!(refused(&mut client, "CREATE EXTENSION qbo_raw").sqlstate, "0P000");
    client.batch_execute("ALTER ROLE qbo_raw_reader NOLOGIN SUPERUSER").unwrap();
    assert_eq!(refused(&mut client, "CREATE EXTENSION qbo_raw").sqlstate, "0P000");
    client.batch_execute("ALTER ROLE qbo_raw_reader NOSUPERUSER; CREATE EXTENSION qbo_raw").unwrap();
    let mut latin = server.connect("latin", "postgres").unwrap();
    assert_eq!(refused(&mut latin, "CREATE EXTENSION qbo_raw").sqlstate, "0A000");
}

#[test]
fn nothing_is_granted_to_public_and_every_function_pins_its_search_path() {
    let db = Database::new();
    let members = "SELECT p.oid FROM pg_proc p WHERE p.pronamespace = 'raw'::regnamespace";
    let open = db.rows(&format!("SELECT p.proname FROM pg_proc p WHERE p.oid IN ({members}) AND has_function_privilege('public', p.oid, 'EXECUTE')"));
    assert!(open.is_empty(), "{open:?}");
    let tables = db.rows("SELECT relname FROM pg_class WHERE relnamespace = 'raw'::regnamespace AND relacl::text LIKE '%{=%' OR relacl::text LIKE '%,=%' AND relnamespace = 'raw'::regnamespace");
    assert!(tables.is_empty(), "{tables:?}");
    let loose = db.rows(&format!("SELECT p.proname FROM pg_proc p WHERE p.oid IN ({members}) AND NOT coalesce(p.proconfig::text LIKE '%search_path%', false)"));
    assert_eq!(loose, [["qb_wait"]], "only the procedure that commits");
    let definers = db.rows(&format!(
        "SELECT p.proname FROM pg_proc p WHERE p.oid IN ({members}) AND p.prosecdef ORDER BY 1"
    ));
    // Each reads or writes what its caller must not touch, and checks who may call it by its grants.
    let wanted = [
        "_qb_purge_before",
        "_qb_workers",
        "qb_authorize_url",
        "qb_backfill",
        "qb_backfill_windows",
        "qb_cancel",
        "qb_connect",
        "qb_resume",
        "qb_tick",
    ];
    assert_eq!(definers.concat(), wanted);
    let undescribed = db.rows(&format!("SELECT p.proname FROM pg_proc p WHERE p.oid IN ({members}) AND obj_description(p.oid, 'pg_proc') IS NULL"));
    assert!(undescribed.is_empty(), "{undescribed:?}");
}

/// Everything in the schema, and who may do what with it, one line each.
const MAY: &str = "
  WITH who AS (SELECT unnest(ARRAY['public', 'plain', 'pg_monitor', 'qbo_raw_reader', 'qbo_raw_operator']) AS role),
  what AS (
    SELECT CASE p.prokind WHEN 'p' THEN 'procedure ' ELSE 'function ' END || p.proname AS name, w.role,
           CASE WHEN has_function_privilege(w.role, p.oid, 'EXECUTE') THEN 'execute' END AS may
      FROM pg_proc p, who w WHERE p.pronamespace = 'raw'::regnamespace
    UNION ALL
    SELECT CASE c.relkind WHEN 'v' THEN 'view ' WHEN 'S' THEN 'sequence ' ELSE 'table ' END || c.relname, w.role,
           (SELECT string_agg(lower(x), ', ') FROM unnest(CASE c.relkind WHEN 'S' THEN ARRAY['SELECT', 'UPDATE', 'USAGE']
                      ELSE ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER'] END) x
             WHERE CASE c.relkind WHEN 'S' THEN has_sequence_privilege(w.role, c.oid, x) ELSE has_table_privilege(w.role, c.oid, x) END)
      FROM pg_class c, who w WHERE c.relnamespace = 'raw'::regnamespace AND c.relkind IN ('r', 'v', 'S')
    UNION ALL
    SELECT 'schema raw', w.role, (SELECT string_agg(lower(x), ', ') FROM unnest(ARRAY['USAGE', 'CREATE']) x
                                   WHERE has_schema_privilege(w.role, 'raw', x)) FROM who w)
  SELECT name || ': ' || coalesce(string_agg(role || ' ' || may, '; ' ORDER BY role) FILTER (WHERE may IS NOT NULL), 'nobody')
    FROM what GROUP BY name ORDER BY name COLLATE \"C\"";

#[test]
fn who_may_do_what_is_written_down() {
    let server = Server::private("");
    let db = Database::on(&server, Options::default());
    role(&db, "plain", "");
    db.backfill("items");
    let now = db.rows(MAY).concat().join("\n") + "\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/rights.txt");
    if std::env::var("QBO_RAW_WRITE_GOLDEN").is_ok() {
        std::fs::write(path, &now).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap();
    assert_eq!(now, written, "set QBO_RAW_WRITE_GOLDEN to write it anew, and read what changed");
}

#[test]
fn everything_a_person_can_list_is_described() {
    let db = Database::new();
    db.backfill("items");
    let undescribed = db.rows(
        "SELECT p.proname FROM pg_proc p WHERE p.pronamespace = 'raw'::regnamespace AND coalesce(obj_description(p.oid, 'pg_proc'), '') = ''
         UNION ALL
         SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'raw'::regnamespace AND c.relkind IN ('r', 'v')
            AND coalesce(obj_description(c.oid, 'pg_class'), '') = ''
         UNION ALL
         SELECT c.relname || '.' || a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
          WHERE c.relnamespace = 'raw'::regnamespace AND c.relkind IN ('r', 'v') AND coalesce(col_description(c.oid, a.attnum), '') = ''",
    );
    assert!(undescribed.is_empty(), "{undescribed:?}");
}

#[test]
fn an_operator_can_do_the_whole_of_it_and_a_reader_can_look() {
    let server = Server::private("");
    let db = Database::on(&server, Options::default());
    role(&db, "operates", "GRANT qbo_raw_operator TO operates");
    role(&db, "reads", "GRANT qbo_raw_reader TO reads");
    let fault = qbo_sim::When::Statement("LastUpdatedTime >= '2025-08-05T".to_owned());
    db.sim.fault(fault, qbo_sim::Fault::named("4001").unwrap());
    let mut operates = db.client_as("operates");
    let run = qbo_e2e::rows(&mut operates, &format!("SELECT raw.qb_backfill('invoices', {RANGE})")).unwrap()
        [0][0]
        .clone();
    assert_eq!(refused(&mut operates, &format!("CALL raw.qb_wait({run})")).sqlstate, "38000");
    db.sim.clear_faults();
    for call in [
        "CALL raw.qb_wait(raw.qb_retry_failed('invoices'))".to_owned(),
        format!("CALL raw.qb_wait(raw.qb_resume({run}))"),
        "CALL raw.qb_wait(raw.qb_fill_gaps('invoices', '2025-06-28', '2025-10-02'))".to_owned(),
        format!("SELECT * FROM raw.qb_verify('invoices', {RANGE}, 31)"),
        format!("SELECT * FROM raw.qb_plan('invoices', {RANGE}, 31)"),
        "SELECT raw.qb_purge_reports('1 year'), raw.qb_tick()".to_owned(),
        format!("SELECT raw.qb_cancel({run})"),
    ] {
        operates.batch_execute(&call).unwrap_or_else(|error| panic!("{call}: {error:?}"));
    }
    let wrong =
        qbo_e2e::rows(&mut operates, "SELECT subject, result FROM raw.qb_check() WHERE NOT ok").unwrap();
    assert_eq!(
        wrong,
        [
            ["after a restart", "runs wait for the next call"],
            ["runs", "3 ended in the last week, 0 of them not whole"]
        ][..1]
    );
    let mut reads = db.client_as("reads");
    for look in [
        "raw.qb_coverage('invoices', '2025-07-01', '2025-09-30')",
        "raw.qb_gaps('invoices')",
        "raw.qb_progress",
        "raw.qb_run",
        "raw.qb_secrets",
        "raw.qb_connections",
        "raw.qb_api_usage",
        "raw.qb_entities",
        "raw.qb_invoices",
        "raw.backfill_report_invoices",
        "raw.qb_rejects",
    ] {
        qbo_e2e::rows(&mut reads, &format!("SELECT * FROM {look}"))
            .unwrap_or_else(|error| panic!("{look}: {error:?}"));
    }
    for call in [
        "raw.qb_resume(1)",
        "raw.qb_retry_failed('invoices')",
        "raw.qb_fill_gaps('invoices', '2025-06-01')",
        "raw.qb_check()",
    ] {
        assert_eq!(refused(&mut reads, &format!("SELECT {call}")).sqlstate, "42501", "{call}");
    }
}

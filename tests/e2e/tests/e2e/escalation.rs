//! Code that somebody hangs on the tables, in every way that PostgreSQL offers: none of it ever runs with more rights than
//! the owner of the table has, whoever calls and whatever is done with the tables.

use qbo_e2e::{Database, RANGE, Server, refused, rows};
use qbo_sim::Options;

/// What the code does: it notes who runs it, and tries to become more.
const TRAP: &str = "
    CREATE TABLE evil.loot (how text, who text, super boolean, gained text);
    GRANT INSERT ON evil.loot TO PUBLIC;
    CREATE FUNCTION evil.act(how text) RETURNS void LANGUAGE plpgsql AS $$
      DECLARE
        try text;
        gained text := '';
      BEGIN
        FOREACH try IN ARRAY ARRAY[
          'ALTER ROLE mallory SUPERUSER', 'GRANT qbo_raw_operator TO mallory', 'SET ROLE postgres', 'SET SESSION AUTHORIZATION postgres',
          'RESET SESSION AUTHORIZATION', 'SELECT 1 / count(*) FROM raw.qb_config', 'COPY (SELECT 1) TO PROGRAM ''true''',
          'CREATE TEMP TABLE pg_temp_trap (x int)', 'UPDATE raw.qb_run SET requested_by = ''mallory''',
          'SELECT raw.qb_connect(client_secret => ''mine'')'] LOOP
          BEGIN
            EXECUTE try;
            gained := gained || try || '; ';
          EXCEPTION WHEN OTHERS THEN NULL;
          END;
        END LOOP;
        INSERT INTO evil.loot VALUES (how, current_user, (SELECT rolsuper FROM pg_roles WHERE rolname = current_user), gained);
      END $$;
    CREATE FUNCTION evil.spy(how text, x anyelement) RETURNS anyelement LANGUAGE plpgsql IMMUTABLE AS
      $$ BEGIN PERFORM evil.act(how); RETURN x; END $$;
    CREATE FUNCTION evil.take() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN PERFORM evil.act(TG_NAME); RETURN NEW; END $$;
    CREATE FUNCTION evil.ddl() RETURNS event_trigger LANGUAGE plpgsql AS
      $$ BEGIN PERFORM evil.act('event trigger'); END $$;
    GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA evil TO PUBLIC";

/// How the code gets onto the tables, by the name it has in the loot. Whatever the test itself does to them it does as their
/// owner: PostgreSQL runs such code as whoever touches a table.
const WAYS: &[(&str, &str)] = &[
    (
        "before trigger",
        "CREATE TRIGGER \"before trigger\" BEFORE INSERT OR UPDATE ON raw.qb_invoices FOR EACH ROW EXECUTE FUNCTION evil.take()",
    ),
    (
        "after trigger",
        "CREATE TRIGGER \"after trigger\" AFTER INSERT OR UPDATE ON raw.qb_invoices FOR EACH STATEMENT EXECUTE FUNCTION evil.take()",
    ),
    (
        "report trigger",
        "CREATE TRIGGER \"report trigger\" AFTER INSERT OR DELETE ON raw.backfill_report_invoices FOR EACH ROW EXECUTE FUNCTION evil.take()",
    ),
    (
        "default",
        "ALTER TABLE raw.qb_invoices ADD COLUMN d text; ALTER TABLE raw.qb_invoices ALTER d SET DEFAULT evil.spy('default', 'x'::text)",
    ),
    (
        "generated column",
        "ALTER TABLE raw.qb_invoices ADD COLUMN g text GENERATED ALWAYS AS (evil.spy('generated column', id)) STORED",
    ),
    ("index expression", "CREATE INDEX ON raw.qb_invoices (evil.spy('index expression', id))"),
    (
        "index predicate",
        "CREATE INDEX ON raw.qb_invoices (page_number) WHERE evil.spy('index predicate', 1) = 1",
    ),
    (
        "report predicate",
        "CREATE INDEX ON raw.backfill_report_invoices (run_id) WHERE evil.spy('report predicate', 1) = 1",
    ),
    ("check", "ALTER TABLE raw.qb_invoices ADD CHECK (evil.spy('check', id) IS NOT NULL)"),
    (
        "domain",
        "CREATE DOMAIN evil.d AS text CHECK (evil.spy('domain', VALUE) IS NOT NULL);
                ALTER TABLE raw.qb_invoices ADD COLUMN o evil.d DEFAULT 'x'",
    ),
    (
        "policy",
        "CREATE POLICY p ON raw.qb_invoices USING (evil.spy('policy', true)); ALTER TABLE raw.qb_invoices ENABLE ROW LEVEL SECURITY",
    ),
    ("event trigger", "CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION evil.ddl()"),
];

/// Whose code runs only where something else is refused: who made it, and the word of the run.
const REFUSED: &[(&str, &str, &str)] = &[
    (
        "CREATE CONSTRAINT TRIGGER \"deferred trigger\" AFTER INSERT ON raw.qb_invoices DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION evil.take()",
        "permission_denied",
        "DROP TRIGGER \"deferred trigger\" ON raw.qb_invoices",
    ),
    (
        "CREATE RULE r AS ON INSERT TO raw.qb_invoices DO ALSO SELECT evil.act('rule')",
        "target_unsupported",
        "DROP RULE r ON raw.qb_invoices",
    ),
    (
        "ALTER TABLE raw.qb_invoices FORCE ROW LEVEL SECURITY",
        "permission_denied",
        "ALTER TABLE raw.qb_invoices NO FORCE ROW LEVEL SECURITY",
    ),
];

/// Statements as the owner of the tables, in a session that is no superuser's: there SET ROLE would bring all rights back.
fn as_owner(db: &Database, text: &str) {
    let mut client = db.client_as("keeper");
    client
        .batch_execute(&format!("SET ROLE qbo_raw_owner; {text}"))
        .unwrap_or_else(|error| panic!("{text}: {error:?}"));
}

fn scene(server: &Server) -> Database<'_> {
    let db = Database::on(server, Options { counts: vec![("Invoice".to_owned(), 30)], ..Options::default() });
    server.sql(
        "postgres",
        "CREATE ROLE mallory LOGIN; CREATE ROLE keeper LOGIN; GRANT qbo_raw_owner TO keeper",
    );
    db.exec("CREATE SCHEMA evil AUTHORIZATION mallory; GRANT USAGE, CREATE ON SCHEMA evil TO PUBLIC");
    db.client_as("mallory").batch_execute(TRAP).unwrap();
    db
}

/// Nothing ran as anybody but the owner of the tables, and nothing was gained.
fn nothing_gained(db: &Database, what: &str) {
    let wrong = db.rows("SELECT DISTINCT how, who, super, gained FROM evil.loot WHERE who <> 'qbo_raw_owner' OR super OR gained <> ''");
    assert!(wrong.is_empty(), "{what}: {wrong:?}");
    assert_eq!(db.value("SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'"), "f", "{what}");
}

#[test]
fn code_on_the_tables_runs_as_their_owner_in_every_way() {
    let server = Server::private("");
    let db = scene(&server);
    db.backfill("invoices");
    db.exec("CREATE ROLE operates LOGIN; GRANT qbo_raw_operator TO operates");
    // The owner of the tables plants it, as far as he may; an event trigger takes a superuser's mistake.
    for (way, plant) in WAYS {
        if plant.contains("EVENT") {
            db.exec(plant)
        } else {
            // An index takes the right to create, which the owner does not have for good.
            db.exec("GRANT CREATE ON SCHEMA raw TO qbo_raw_owner");
            as_owner(&db, plant);
            db.exec("REVOKE CREATE ON SCHEMA raw FROM qbo_raw_owner");
        }
        as_owner(&db, "DELETE FROM raw.qb_invoices");
        db.exec("TRUNCATE evil.loot");
        let run = db.backfill("invoices");
        assert_eq!(db.of_run(run, "inserted_count"), "30", "{way}");
        nothing_gained(&db, way);
        // What only looks at the tables, or deletes from them, for whoever calls.
        as_owner(&db, "UPDATE raw.backfill_report_invoices SET finished_at = '2020-01-01'");
        db.exec("UPDATE raw.qb_run SET finished_at = '2020-01-01'; TRUNCATE evil.loot");
        for call in [
            "raw.qb_purge_reports('1 year')",
            "raw.qb_verify('invoices', '2025-07-01', '2025-09-30', 100)",
            "raw.qb_plan('invoices', '2025-07-01', '2025-07-02')",
        ] {
            // The operator looks at what was fetched with his own rights.
            let called = db.client_as("operates").batch_execute(&format!("SELECT * FROM {call}"));
            let more = db.rows("SELECT DISTINCT how, who FROM evil.loot WHERE who NOT IN ('qbo_raw_owner', 'operates') OR super");
            assert!(more.is_empty(), "{way}: {call}: {more:?}");
            called.unwrap_or_else(|error| panic!("{way}: {call}: {error:?}"));
        }
        let again =
            if *way == "event trigger" { "DROP TABLE raw.qb_rejects" } else { "DELETE FROM raw.qb_invoices" };
        as_owner(&db, again);
        db.exec("TRUNCATE evil.loot");
        db.backfill("invoices");
        nothing_gained(&db, way);
        // A policy is passed over by whom it does not bind, and the owner is such a one.
        let seen = db.number(&format!("SELECT count(*) FROM evil.loot WHERE how = '{way}'"));
        assert_eq!(seen > 0, *way != "policy", "{way}: did the code run at all?");
    }
    // Whoever looks for secrets in the end is a superuser, and would run all of it.
    db.exec("DROP EVENT TRIGGER e; DROP SCHEMA evil CASCADE");
}

#[test]
fn code_on_a_report_table_gains_nothing_from_whoever_makes_the_extension() {
    let server = Server::private("");
    let db = scene(&server);
    let run = db.backfill("invoices");
    db.exec("GRANT CREATE ON SCHEMA raw TO qbo_raw_owner");
    as_owner(
        &db,
        "CREATE INDEX ON raw.backfill_report_invoices (run_id) WHERE evil.spy('report predicate', 1) = 1",
    );
    db.exec("DROP EXTENSION qbo_raw; TRUNCATE evil.loot");
    db.exec("CREATE EXTENSION qbo_raw");
    nothing_gained(&db, "CREATE EXTENSION");
    assert!(db.number("SELECT count(*) FROM evil.loot") > 0, "did the code run at all?");
    db.connect_company();
    assert_eq!(db.backfill("items"), run + 1, "it looked, and goes on behind the old reports");
    db.exec("DROP SCHEMA evil CASCADE");
}

#[test]
fn code_that_would_run_at_another_time_is_refused() {
    let server = Server::private("");
    let db = scene(&server);
    db.backfill("invoices");
    as_owner(
        &db,
        "CREATE POLICY p ON raw.qb_invoices USING (evil.spy('policy', true)); ALTER TABLE raw.qb_invoices ENABLE ROW LEVEL SECURITY",
    );
    for (plant, code, mend) in REFUSED {
        as_owner(&db, &format!("{plant}; TRUNCATE raw.qb_invoices"));
        db.exec("TRUNCATE evil.loot");
        let run = db.queue("invoices");
        assert_eq!(db.ended(run), "partial", "{plant}");
        assert_eq!(db.of_run(run, "error_code"), *code, "{plant}: {}", db.of_run(run, "error_message"));
        assert_eq!(db.number("SELECT count(*) FROM evil.loot"), 0, "{plant}");
        assert_eq!(db.number("SELECT count(*) FROM raw.qb_invoices"), 0, "{plant}");
        nothing_gained(&db, plant);
        db.exec(mend);
        db.exec(&format!("CALL raw.qb_wait(raw.qb_resume({run}))"));
    }
    db.check_equal("invoices", "Invoice");
}

#[test]
fn overloads_in_public_and_in_the_temporary_schema_are_not_taken() {
    let server = Server::private("");
    let db = scene(&server);
    db.exec("GRANT CREATE ON SCHEMA public TO mallory; GRANT qbo_raw_operator TO mallory");
    let mut mallory = db.client_as("mallory");
    // Names and operators that the functions use, better matching than PostgreSQL's own, wherever a path may lead.
    for schema in ["public", "pg_temp"] {
        for (name, arguments, result) in [
            ("now", "", "timestamptz"),
            ("clock_timestamp", "", "timestamptz"),
            ("format", "text, text", "text"),
            ("format", "text, bigint, text", "text"),
            ("coalesce_any", "text, text", "text"),
            ("left", "text, int", "text"),
            ("current_setting", "text", "text"),
            ("_qb_entity", "text", "text"),
            ("_qb_instant", "text", "timestamptz"),
            ("_qb_is_utf8", "", "boolean"),
            ("to_char", "timestamp, text", "text"),
            ("isfinite", "date", "boolean"),
        ] {
            mallory
                .batch_execute(&format!(
                    "CREATE FUNCTION {schema}.{name}({arguments}) RETURNS {result} LANGUAGE plpgsql AS
                       $$ BEGIN PERFORM evil.act('{schema}.{name}'); RETURN NULL; END $$"
                ))
                .unwrap();
        }
        mallory
            .batch_execute(&format!(
                "CREATE FUNCTION {schema}.eq(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM evil.act('{schema}.='); RETURN true; END $$;
                 CREATE OPERATOR {schema}.= (LEFTARG = text, RIGHTARG = text, FUNCTION = {schema}.eq);
                 CREATE OPERATOR {schema}.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = {schema}.eq);
                 CREATE FUNCTION {schema}.before(date, date) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM evil.act('{schema}.<'); RETURN true; END $$;
                 CREATE OPERATOR {schema}.< (LEFTARG = date, RIGHTARG = date, FUNCTION = {schema}.before)"
            ))
            .unwrap();
    }
    mallory
        .batch_execute(
            "CREATE TEMP TABLE qb_config (connection text); CREATE TEMP TABLE qb_run (run_id bigint);
             CREATE TEMP TABLE pg_class (oid oid); CREATE TEMP TABLE pg_roles (rolname name); CREATE TEMP VIEW qb_connections AS SELECT 'default' AS connection;
             SET search_path = pg_temp, public, evil, pg_catalog, raw",
        )
        .unwrap();
    let run =
        rows(&mut mallory, &format!("SELECT raw.qb_backfill('invoices', {RANGE})")).unwrap()[0][0].clone();
    for call in [
        format!("CALL raw.qb_wait({run})"),
        format!("SELECT raw.qb_cancel({run}), raw.qb_resume({run}), raw.qb_tick()"),
        "SELECT * FROM raw.qb_coverage('invoices')".to_owned(),
        "SELECT * FROM raw.qb_gaps('invoices')".to_owned(),
        format!("SELECT * FROM raw.qb_verify('invoices', {RANGE}, 31)"),
        format!("SELECT * FROM raw.qb_plan('invoices', {RANGE}, 31)"),
        "SELECT raw.qb_retry_failed('invoices'), raw.qb_purge_reports('1 year')".to_owned(),
        "SELECT * FROM raw.qb_check()".to_owned(),
        "SELECT * FROM raw.qb_progress, raw.qb_secrets, raw.qb_api_usage, raw.qb_entities".to_owned(),
    ] {
        mallory.batch_execute(&call).unwrap_or_else(|error| panic!("{call}: {error:?}"));
    }
    let taken = db.rows("SELECT DISTINCT how, who FROM evil.loot");
    assert!(taken.is_empty(), "{taken:?}");
    // A superuser who is careless with his path is not tricked either.
    let mut admin = db.client();
    admin.batch_execute("SET search_path = public, evil, pg_catalog").unwrap();
    for call in [
        "SELECT * FROM raw.qb_coverage('invoices')",
        "SELECT raw.qb_connect(client_id => 'another')",
        "SELECT raw.qb_purge_reports('1 year')",
    ] {
        admin.batch_execute(call).unwrap_or_else(|error| panic!("{call}: {error:?}"));
    }
    let taken = db.rows("SELECT DISTINCT how, who FROM evil.loot");
    assert!(taken.is_empty(), "{taken:?}");
    assert_eq!(refused(&mut mallory, "SELECT * FROM raw.qb_config").sqlstate, "42501");
    db.check_equal("invoices", "Invoice");
}

#[test]
fn no_function_of_the_owner_of_the_tables_is_taken_for_one_of_ours() {
    let server = Server::private("");
    let db = scene(&server);
    db.backfill("invoices");
    let mut keeper = db.client_as("keeper");
    keeper.batch_execute("SET ROLE qbo_raw_owner").unwrap();
    for create in
        ["FUNCTION raw.x() RETURNS int LANGUAGE sql AS 'SELECT 1'", "TABLE raw.x ()", "TYPE raw.x AS ()"]
    {
        assert_eq!(refused(&mut keeper, &format!("CREATE {create}")).sqlstate, "42501", "{create}");
    }

    // Who had the right once has them still: they match values, and literals, better than ours would.
    let days = "TABLE (day date, status text, report_id bigint, run_id bigint, error_code text)";
    for (name, arguments, result, last) in [
        ("_qb_bar", "int, int, int", "text", "NULL"),
        ("_qb_bar", "bigint, int, int", "text", "NULL"),
        ("_qb_clock", "numeric", "text", "NULL"),
        ("_qb_days", "text, text, text", days, ""),
        ("_qb_fire", "text, text, text, text, text, text, text, text, text, text", "bigint", "NULL"),
        ("_qb_lost", "text, text, name", "text", "NULL"),
    ] {
        db.exec(&format!(
            "CREATE FUNCTION raw.{name}({arguments}) RETURNS {result} LANGUAGE plpgsql AS
               $$ BEGIN PERFORM evil.act('{name}'); RETURN {last}; END $$;
             ALTER FUNCTION raw.{name}({arguments}) OWNER TO qbo_raw_owner"
        ));
    }
    for again in [false, true] {
        if again {
            db.exec("DROP EXTENSION qbo_raw");
            let error = db.refused("CREATE EXTENSION qbo_raw");
            assert!(
                error.message.ends_with("belongs to \"qbo_raw_owner\", who is no superuser"),
                "{error:?}"
            );
            // Nor would the script take them for its own.
            db.exec(
                "DO $$ DECLARE f regprocedure; BEGIN
                   FOR f IN SELECT oid FROM pg_proc WHERE proowner = 'qbo_raw_owner'::regrole LOOP
                     EXECUTE format('ALTER FUNCTION %s OWNER TO postgres', f);
                   END LOOP; END $$; CREATE EXTENSION qbo_raw",
            );
            db.connect_company();
        }
        let run = db.queue("invoices");
        for call in [
            &format!("CALL raw.qb_wait({run})"),
            "SELECT * FROM raw.qb_coverage('invoices')",
            "SELECT * FROM raw.qb_gaps('invoices')",
            "SELECT raw.qb_fill_gaps('invoices', '2025-07-01', '2025-07-02')",
            "SELECT raw.qb_retry_failed('invoices'), raw.qb_purge_reports('1 year')",
            "SELECT * FROM raw.qb_verify('invoices', '2025-07-01', '2025-07-02')",
            "SELECT * FROM raw.qb_check()",
            "SELECT * FROM raw.qb_progress, raw.qb_history",
        ] {
            db.exec(call);
            let taken = db.rows("SELECT DISTINCT how, who FROM evil.loot");
            assert!(taken.is_empty(), "{call}: {taken:?}");
        }
        let bound = "SELECT p.oid::regprocedure FROM pg_depend d JOIN pg_proc p ON d.refclassid = 'pg_proc'::regclass AND d.refobjid = p.oid
                      WHERE p.pronamespace = 'raw'::regnamespace AND p.prosrc LIKE '%evil.act%'";
        assert!(db.rows(bound).is_empty(), "{:?}", db.rows(bound));
    }
}

//! The tables of an earlier pipeline carry code of whoever owned them. A superuser adopts the tables, and none of that code
//! ever runs as one: not while they are adopted, not at the COMMIT, not afterwards.

use crate::adopt::{adopt, has};
use qbo_e2e::{Database, Server};
use qbo_sim::Options;

/// What the code does: it notes who runs it, and tries to become more, at once or later.
const TRAP: &str = "
    CREATE TABLE evil.loot (how text, who text, super boolean, gained text);
    CREATE TABLE evil.later (how text);
    GRANT INSERT ON evil.loot, evil.later TO PUBLIC;
    CREATE FUNCTION evil.act(how text) RETURNS text LANGUAGE plpgsql AS $$
      DECLARE
        try text;
        gained text := '';
      BEGIN
        FOREACH try IN ARRAY ARRAY[
          'RESET ROLE', 'SET ROLE postgres', 'SET SESSION AUTHORIZATION postgres', 'ALTER ROLE mage SUPERUSER',
          'DECLARE later CURSOR WITH HOLD FOR SELECT evil.act(''cursor'')', 'SET CONSTRAINTS ALL DEFERRED',
          'INSERT INTO evil.later VALUES (''row'')', CASE how WHEN 'after trigger' THEN 'SET search_path = evil, pg_catalog' ELSE 'SET application_name = mage' END,
          'ALTER FUNCTION pg_temp.adopt() SECURITY INVOKER', 'CREATE TRIGGER t BEFORE INSERT ON pg_temp.did EXECUTE FUNCTION evil.take()',
          'CREATE INDEX ON pg_temp.did ((evil.spy(''did'', 1)))'] LOOP
          BEGIN
            EXECUTE try;
            gained := gained || CASE WHEN try ~ '^(SET (CONS|search|app)|INSERT)' THEN '' ELSE try || '; ' END;
          EXCEPTION WHEN OTHERS THEN NULL;
          END;
        END LOOP;
        INSERT INTO evil.loot VALUES (how, current_user, (SELECT rolsuper FROM pg_roles WHERE rolname = current_user), gained);
        RETURN how;
      END $$;
    CREATE FUNCTION evil.spy(how text, x anyelement) RETURNS anyelement LANGUAGE plpgsql IMMUTABLE AS
      $$ BEGIN PERFORM evil.act(how); RETURN x; END $$;
    CREATE FUNCTION evil.sign(x int) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT evil.spy('sign', x) $$;
    CREATE FUNCTION evil.take() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN PERFORM evil.act(TG_NAME); RETURN coalesce(NEW, OLD); END $$;
    CREATE FUNCTION evil.note() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN INSERT INTO evil.loot VALUES ('later', current_user, (SELECT rolsuper FROM pg_roles WHERE rolname = current_user), ''); RETURN NEW; END $$;
    CREATE FUNCTION evil.ddl() RETURNS event_trigger LANGUAGE plpgsql AS
      $$ BEGIN INSERT INTO evil.loot VALUES ('event trigger', current_user, (SELECT rolsuper FROM pg_roles WHERE rolname = current_user), ''); END $$;
    CREATE FUNCTION evil.format(text, text) RETURNS text LANGUAGE sql AS $$ SELECT evil.act('format') $$;
    CREATE FUNCTION evil.join(text[], text) RETURNS text[] LANGUAGE sql AS $$ SELECT ARRAY[evil.act('operator')] $$;
    CREATE OPERATOR evil.|| (LEFTARG = text[], RIGHTARG = text, FUNCTION = evil.join);
    CREATE VIEW evil.did AS SELECT 1 AS step, 'x' AS \"table\", evil.act('view') AS did, false AS failed;
    GRANT SELECT ON evil.did TO PUBLIC;
    CREATE CONSTRAINT TRIGGER later AFTER INSERT ON evil.later DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION evil.note();
    GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA evil TO PUBLIC";

/// A data and a report table on which adopting has everything to do.
const TABLES: &str = "
    CREATE TABLE raw.qb_invoices (id VARCHAR(50), payload JSON, ingested_at TIMESTAMP, page BIGINT);
    CREATE TABLE raw.backfill_report_invoices (report_id INTEGER, chunk_start DATE, chunk_end DATE, rows INTEGER, status TEXT);
    INSERT INTO raw.qb_invoices VALUES ('1', '{}', '2025-10-01', 1), ('2', NULL, '2025-10-01', 1), ('2', '{}', '2025-10-02', 1), ('3', NULL, NULL, NULL);
    INSERT INTO raw.backfill_report_invoices VALUES (1, '2025-07-01', '2025-07-08', 3, 'ok'), (NULL, '2025-07-08', '2025-07-15', 3, 'ok')";

/// How the code gets onto the tables, by the name it has in the loot.
const WAYS: &[(&str, &str)] = &[
    (
        "before trigger",
        "CREATE TRIGGER \"before trigger\" BEFORE UPDATE OR DELETE ON raw.qb_invoices FOR EACH ROW EXECUTE FUNCTION evil.take()",
    ),
    (
        "after trigger",
        "CREATE CONSTRAINT TRIGGER \"after trigger\" AFTER UPDATE ON raw.qb_invoices DEFERRABLE FOR EACH ROW EXECUTE FUNCTION evil.take()",
    ),
    (
        "report trigger",
        "CREATE TRIGGER \"report trigger\" AFTER UPDATE ON raw.backfill_report_invoices FOR EACH STATEMENT EXECUTE FUNCTION evil.take()",
    ),
    (
        "generated column",
        // With a trigger before it, every generated column is worked out anew.
        "ALTER TABLE raw.qb_invoices ADD COLUMN g int GENERATED ALWAYS AS (evil.spy('generated column', 1)) STORED;
         CREATE TRIGGER r BEFORE UPDATE ON raw.qb_invoices FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    ),
    ("rule", "CREATE RULE r AS ON UPDATE TO raw.qb_invoices DO ALSO SELECT evil.act('rule')"),
    (
        "policy",
        "CREATE POLICY p ON raw.qb_invoices USING (evil.spy('policy', true)); ALTER TABLE raw.qb_invoices ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
    ),
];

/// Code that PostgreSQL works out as soon as somebody plans anything with the table, and what takes it away.
const PLANNED: &[(&str, &str)] = &[
    (
        "ALTER TABLE raw.qb_invoices ADD CONSTRAINT c CHECK (evil.spy('check', id) IS NOT NULL) NOT VALID",
        "ALTER TABLE raw.qb_invoices DROP CONSTRAINT c",
    ),
    ("CREATE INDEX i ON raw.qb_invoices (evil.spy('index expression', id))", "DROP INDEX raw.i"),
    ("CREATE INDEX i ON raw.backfill_report_invoices ((evil.spy('constant', 1)))", "DROP INDEX raw.i"),
    (
        "CREATE INDEX i ON raw.backfill_report_invoices (status) WHERE evil.spy('predicate', true)",
        "DROP INDEX raw.i",
    ),
    (
        "CREATE OPERATOR evil.## (RIGHTARG = int, FUNCTION = evil.sign); CREATE INDEX i ON raw.backfill_report_invoices ((OPERATOR(evil.##) 1))",
        "DROP INDEX raw.i",
    ),
    (
        "CREATE STATISTICS raw.s ON (evil.spy('statistics', 1)), status FROM raw.backfill_report_invoices",
        "DROP STATISTICS raw.s",
    ),
    (
        "DROP TABLE raw.qb_invoices; CREATE TABLE raw.qb_invoices (id TEXT, payload JSONB) PARTITION BY RANGE (evil.spy('key', id))",
        "make the table anew without it",
    ),
];

/// A database in which only the pipeline of `mage` has worked.
fn scene<'a>(server: &'a Server, plant: &str) -> Database<'a> {
    let db = Database::on(server, Options { counts: vec![("Invoice".to_owned(), 30)], ..Options::default() });
    db.exec(
        "DROP EXTENSION qbo_raw; ALTER SCHEMA raw OWNER TO mage;
         CREATE SCHEMA evil AUTHORIZATION mage; GRANT USAGE ON SCHEMA evil TO PUBLIC",
    );
    let mut mage = db.client_as("mage");
    mage.batch_execute(TRAP).unwrap();
    for text in [TABLES, plant, "TRUNCATE evil.loot, evil.later"] {
        mage.batch_execute(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
    }
    db
}

/// What ran as anybody but the owner of the tables, or gained something.
const GAINED: &str = "SELECT DISTINCT how, who, super, gained FROM evil.loot WHERE who <> 'qbo_raw_owner' OR super OR gained <> ''
                      UNION SELECT 'role', rolname, rolsuper, '' FROM pg_roles WHERE rolname = 'mage' AND rolsuper";

#[test]
fn code_on_adopted_tables_runs_as_their_owner_in_every_way() {
    let server = Server::private("");
    server.sql("postgres", "CREATE ROLE mage LOGIN");
    let mut wrong = Vec::new();
    for (way, plant) in WAYS {
        let db = scene(&server, plant);
        let (_, lines, errors) = adopt(&db, &["keep=newest"]);
        wrong.extend(db.rows(GAINED));
        let seen = db.number(&format!("SELECT count(*) FROM evil.loot WHERE how = '{way}'"));
        if seen == 0 {
            wrong.push(vec![
                (*way).to_owned(),
                format!("did the code run at all? {errors}\n{}", lines.join("\n")),
            ]);
        }
        let left = "SELECT count(*) FROM pg_class WHERE relname = 'qbo_adopt'";
        assert_eq!(db.value(left), "0", "{way}");
        db.exec("DROP SCHEMA evil CASCADE");
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// After the adoption it would run as a superuser who looks at the coverage.
#[test]
fn code_that_planning_runs_keeps_its_table_out() {
    let server = Server::private("");
    server.sql("postgres", "CREATE ROLE mage LOGIN");
    for (plant, cure) in PLANNED {
        let db = scene(&server, plant);
        let (ok, lines, errors) = adopt(&db, &["keep=newest"]);
        assert!(
            !ok && errors.contains("1 tables were left as they were"),
            "{plant}: {errors}\n{}",
            lines.join("\n")
        );
        let left: Vec<&String> = lines.iter().filter(|line| line.contains("|left as it was: ")).collect();
        assert!(
            left[0].contains("a function of \"mage\"") && left[0].ends_with(&format!("{cure}; then again.")),
            "{left:?}"
        );
        assert_eq!(db.rows(GAINED), Vec::<Vec<String>>::new(), "{plant}");
        let cure = if cure.starts_with("make") { "DROP TABLE raw.qb_invoices" } else { cure };
        db.exec(cure);
        let (ok, _, errors) = adopt(&db, &["keep=newest"]);
        assert!(ok, "{plant}: {errors}");
        db.connect_company();
        db.backfill("invoices");
        db.exec("SELECT * FROM raw.qb_check(); SELECT * FROM raw.qb_coverage('invoices', '2025-07-01', '2025-07-31')");
        assert_eq!(db.rows(GAINED), Vec::<Vec<String>>::new(), "{plant}");
        db.exec("DROP SCHEMA evil CASCADE");
    }
}

#[test]
fn functions_of_a_stranger_stay_out_of_the_schema() {
    let server = Server::private("");
    server.sql("postgres", "CREATE ROLE mage LOGIN; CREATE ROLE loader");
    let db = scene(
        &server,
        "GRANT CREATE ON SCHEMA raw TO loader; CREATE FUNCTION raw.qb_backfill(text, text, text) RETURNS text LANGUAGE sql AS 'SELECT evil.act(''call'')'",
    );
    let (ok, _, errors) = adopt(&db, &["keep=newest"]);
    assert!(
        !ok && errors.contains("function raw.qb_backfill(text,text,text) belongs to \"mage\""),
        "{errors}"
    );
    db.exec("DROP ROUTINE raw.qb_backfill(text,text,text)");
    let (ok, lines, errors) = adopt(&db, &["keep=newest"]);
    assert!(ok, "{errors}");
    has(&lines, "raw.*|loader may no longer create objects in the schema");
    assert_eq!(db.value("SELECT has_schema_privilege('loader', 'raw', 'CREATE')"), "f");
    db.exec("DROP SCHEMA evil CASCADE");
}

#[test]
fn a_table_with_code_for_the_commit_is_left_as_it_was() {
    let server = Server::private("");
    server.sql("postgres", "CREATE ROLE mage LOGIN");
    let trigger = |table: &str| {
        format!(
            "CREATE CONSTRAINT TRIGGER \"at last\" AFTER INSERT OR UPDATE ON raw.{table} DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION evil.take()"
        )
    };
    let parts = "CREATE TABLE raw.qb_items (id TEXT, payload JSONB) PARTITION BY RANGE (id);
                 CREATE TABLE raw.items PARTITION OF raw.qb_items DEFAULT; INSERT INTO raw.qb_items VALUES ('1', NULL)";
    let db =
        scene(&server, &format!("{}; {parts}; {}", trigger("backfill_report_invoices"), trigger("items")));
    let (ok, lines, errors) = adopt(&db, &["keep=newest"]);
    assert!(!ok && errors.contains("2 tables were left as they were"), "{errors}");
    for (table, on) in [("backfill_report_invoices", "backfill_report_invoices"), ("qb_items", "items")] {
        has(
            &lines,
            &format!(
                "raw.{table}|left as it was: its trigger at last is deferred: it would run at the COMMIT, with the rights of whoever writes. \
                 DROP TRIGGER \"at last\" ON raw.{on}, or make it INITIALLY IMMEDIATE; then again."
            ),
        );
    }
    assert_eq!(db.rows(GAINED), Vec::<Vec<String>>::new());
    let owners = "SELECT relname, pg_get_userbyid(relowner) FROM pg_class
                   WHERE oid IN ('raw.qb_invoices'::regclass, 'raw.backfill_report_invoices'::regclass, 'raw.items'::regclass) ORDER BY 1";
    assert_eq!(
        db.rows(owners),
        [["backfill_report_invoices", "mage"], ["items", "mage"], ["qb_invoices", "qbo_raw_owner"]]
    );
    db.exec("DROP TRIGGER \"at last\" ON raw.items; DROP TRIGGER \"at last\" ON raw.backfill_report_invoices; DROP SCHEMA evil CASCADE");
    let (ok, _, errors) = adopt(&db, &[]);
    assert!(ok, "{errors}");
    db.connect_company();
    db.backfill("invoices");
}

#[test]
fn an_event_trigger_with_code_of_a_stranger_is_refused() {
    let server = Server::private("");
    server.sql("postgres", "CREATE ROLE mage LOGIN");
    let db = scene(&server, "SELECT 1");
    db.exec("CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION evil.ddl()");
    let (ok, lines, errors) = adopt(&db, &["keep=newest"]);
    assert!(!ok && lines.is_empty(), "{lines:?}");
    assert!(
        errors.contains("event trigger \"e\" runs evil.ddl(), a function of \"mage\", who is no superuser")
    );
    assert_eq!(db.rows(GAINED), Vec::<Vec<String>>::new());
    db.exec("ALTER EVENT TRIGGER e DISABLE");
    let (ok, _, errors) = adopt(&db, &["keep=newest"]);
    assert!(ok, "{errors}");
    db.exec("DROP EVENT TRIGGER e; DROP SCHEMA evil CASCADE");
}

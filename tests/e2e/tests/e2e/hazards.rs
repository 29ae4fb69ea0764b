//! What others do to the tables while a run works: they vanish, change their shape, gain constraints, triggers and locks.
//! A window is whole or absent whatever happens, the run and its report row say what it was, and mending it is enough.

use qbo_e2e::{Database, RANGE, Server, refused, rows, seconds, wait_until};
use qbo_sim::{Fault, Options, When};

/// Where the last window with records begins.
const LAST: &str = "2025-09-23";

/// A run that has stored all windows but one, whose records are on their way until the simulator is released.
pub fn nearly_done(db: &Database) -> i64 {
    let last = When::Statement(format!("LastUpdatedTime >= '{LAST}T"));
    db.sim.fault_times(last, Fault::Stall(seconds(60)), 1);
    let run = db.queue("invoices");
    wait_until("all windows but one are stored", seconds(30), || db.of_run(run, "windows_done") == "13");
    db.asked_for(&format!(">= '{LAST}T"));
    run
}

/// Counts windows whose success row says something else than what the table holds of them.
pub const HALF_STORED: &str =
    "SELECT count(*) FROM raw.backfill_report_invoices p WHERE p.status = 'success' AND p.row_count <>
       (SELECT count(*) FROM raw.qb_invoices i WHERE i.extract_window_start_utc = p.window_start)";

/// Rows of the table beside what the success rows say that they brought.
pub fn nothing_half_stored(db: &Database, what: &str) {
    let lost = db.value(HALF_STORED);
    assert_eq!(lost, "0", "{what}: windows that are neither whole nor absent");
}

/// What is done to a table between two windows, what the run says of it, and how it is mended.
struct Change {
    what: &'static str,
    code: &'static str,
    message: &'static str,
    hint: &'static str,
    mend: &'static str,
}

const TRIGGER: &str = "CREATE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN BODY END $$;
    CREATE TRIGGER t BEFORE INSERT ON raw.qb_invoices FOR EACH ROW EXECUTE FUNCTION public.f()";

const CHANGES: &[Change] = &[
    Change {
        what: "ALTER TABLE raw.qb_invoices DROP COLUMN page_number",
        code: "target_schema_changed",
        message: "page_number",
        hint: "The next run names what is missing",
        mend: "ALTER TABLE raw.qb_invoices ADD COLUMN page_number int",
    },
    Change {
        what: "ALTER TABLE raw.qb_invoices RENAME COLUMN payload TO body",
        code: "target_schema_changed",
        message: "payload",
        hint: "The next run names what is missing",
        mend: "ALTER TABLE raw.qb_invoices RENAME COLUMN body TO payload",
    },
    Change {
        what: "ALTER TABLE raw.qb_invoices ALTER payload TYPE text",
        code: "target_schema_changed",
        message: "operator does not exist",
        hint: "The next run names what is missing",
        mend: "ALTER TABLE raw.qb_invoices ALTER payload TYPE jsonb USING payload::jsonb",
    },
    Change {
        what: "ALTER TABLE raw.qb_invoices DROP CONSTRAINT qb_invoices_pkey",
        code: "target_schema_changed",
        message: "no unique or exclusion constraint",
        hint: "The next run names what is missing",
        mend: "ALTER TABLE raw.qb_invoices ADD PRIMARY KEY (id)",
    },
    Change {
        what: "ALTER TABLE raw.qb_invoices ADD COLUMN branch text DEFAULT 'a'; ALTER TABLE raw.qb_invoices ALTER branch SET NOT NULL, ALTER branch DROP DEFAULT",
        code: "target_constraint",
        message: "null value in column \"branch\"",
        hint: "on the table itself",
        mend: "ALTER TABLE raw.qb_invoices ALTER branch SET DEFAULT 'a'",
    },
    Change {
        what: "ALTER TABLE raw.qb_invoices ADD CONSTRAINT early CHECK (extract_window_start_utc < '2025-09-20')",
        code: "target_constraint",
        message: "check constraint \"early\"",
        hint: "on the table itself",
        mend: "ALTER TABLE raw.qb_invoices DROP CONSTRAINT early",
    },
    Change {
        what: "CREATE UNIQUE INDEX once ON raw.qb_invoices (extract_window_start_utc) WHERE extract_window_start_utc > '2025-09-20'",
        code: "target_constraint",
        message: "unique constraint \"once\"",
        hint: "on the table itself",
        mend: "DROP INDEX raw.once",
    },
    Change {
        what: "CREATE TABLE raw.known AS SELECT id FROM raw.qb_invoices; ALTER TABLE raw.known ADD PRIMARY KEY (id);
               ALTER TABLE raw.qb_invoices ADD CONSTRAINT is_known FOREIGN KEY (id) REFERENCES raw.known;
               GRANT SELECT ON raw.known TO qbo_raw_owner",
        code: "target_constraint",
        message: "foreign key constraint \"is_known\"",
        hint: "on the table itself",
        mend: "ALTER TABLE raw.qb_invoices DROP CONSTRAINT is_known",
    },
    Change {
        what: "RAISE EXCEPTION 'not today' USING HINT = 'ask the warden';",
        code: "target_trigger_error",
        message: "not today",
        hint: "ask the warden",
        mend: "DROP TRIGGER t ON raw.qb_invoices",
    },
    Change {
        what: "RETURN NULL;",
        code: "rows_skipped_by_target",
        message: "were not written to qb_invoices",
        hint: "BEFORE trigger",
        mend: "DROP TRIGGER t ON raw.qb_invoices",
    },
    Change {
        what: "CREATE RULE r AS ON INSERT TO raw.qb_invoices DO INSTEAD NOTHING",
        code: "target_unsupported",
        message: "cannot perform INSERT",
        hint: "such as a rule",
        mend: "DROP RULE r ON raw.qb_invoices",
    },
    Change {
        what: "ALTER TABLE raw.qb_invoices ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        code: "permission_denied",
        message: "row-level security",
        hint: "NO FORCE ROW LEVEL SECURITY",
        mend: "ALTER TABLE raw.qb_invoices NO FORCE ROW LEVEL SECURITY",
    },
    Change {
        what: "REVOKE INSERT ON raw.qb_invoices FROM qbo_raw_owner",
        code: "permission_denied",
        message: "permission denied for table qb_invoices",
        hint: "as the owner of the table",
        mend: "GRANT INSERT ON raw.qb_invoices TO qbo_raw_owner",
    },
];

#[test]
fn what_changes_between_two_windows_fails_the_next_one_only() {
    for change in CHANGES {
        let db = Database::new();
        let run = nearly_done(&db);
        let text = match change.code {
            "target_trigger_error" | "rows_skipped_by_target" => TRIGGER.replace("BODY", change.what),
            _ => change.what.to_owned(),
        };
        db.exec(&text);
        db.sim.release();
        let what = change.what;
        assert_eq!(db.ended(run), "partial", "{what}");
        let said = db.rows(&format!(
            "SELECT error_code, error_message, error_hint, windows_done, windows_failed FROM raw.qb_run WHERE run_id = {run}"
        ));
        let [code, message, hint, done, failed] = said[0].as_slice() else { panic!("{said:?}") };
        assert_eq!(
            (code.as_str(), done.as_str(), failed.as_str()),
            (change.code, "13", "1"),
            "{what}: {said:?}"
        );
        assert!(message.contains(change.message) && hint.contains(change.hint), "{what}: {said:?}");
        let report = db.rows(&format!(
            "SELECT error_code, error_message, (window_start AT TIME ZONE 'UTC')::date
               FROM raw.backfill_report_invoices WHERE run_id = {run} AND status = 'error'"
        ));
        assert_eq!(report.len(), 1, "{what}: {report:?}");
        assert_eq!((report[0][0].as_str(), report[0][2].as_str()), (change.code, LAST), "{what}: {report:?}");
        assert!(
            report[0][1].contains(change.message) && report[0][1].contains(change.hint),
            "{what}: {report:?}"
        );
        if !["RENAME", "TYPE text"].iter().any(|word| what.contains(word)) {
            nothing_half_stored(&db, what);
        }
        db.exec(change.mend);
        assert_eq!(db.number(&format!("SELECT raw.qb_resume({run})")), run);
        assert_eq!(db.ended(run), "success", "{what}: {}", db.of_run(run, "error_message"));
        db.check_equal("invoices", "Invoice");
    }
}

/// Windows that are not the same in QuickBooks and here, by what is said of them.
fn verdicts(db: &Database) -> Vec<Vec<String>> {
    db.rows(&format!(
        "SELECT verdict, count(*) FROM raw.qb_verify('invoices', {RANGE}) WHERE verdict <> 'same' GROUP BY 1"
    ))
}

#[test]
fn rows_and_tables_that_vanish_between_windows_are_noticed() {
    for change in [
        "DELETE FROM raw.qb_invoices WHERE extract_window_start_utc < '2025-08-01'",
        "TRUNCATE raw.qb_invoices",
        "DROP TABLE raw.qb_invoices",
        "DROP TABLE raw.qb_invoices; CREATE TABLE raw.qb_invoices (LIKE raw.qb_rejects)",
    ] {
        let db = Database::new();
        let run = nearly_done(&db);
        db.exec(change);
        db.sim.release();
        let (mut client, heard) = db.listening();
        if change.contains("DROP") {
            assert_eq!(refused(&mut client, &format!("CALL raw.qb_wait({run})")).sqlstate, "38000");
            let (code, then) = match change.contains("LIKE") {
                true => ("target_schema_changed", "DROP TABLE raw.qb_invoices".to_owned()),
                false => ("table_made_again", "TRUNCATE raw.qb_invoices".to_owned()),
            };
            assert_eq!(db.of_run(run, "error_code"), code, "{change}");
            db.exec(&then);
        } else {
            client.batch_execute(&format!("CALL raw.qb_wait({run})")).unwrap();
            let warned =
                heard.lock().unwrap().iter().any(|line| line.starts_with("WARNING: QuickBooks counts 500"));
            assert!(warned, "{change}: {heard:?}");
        }
        let wrong = verdicts(&db);
        assert!(wrong.iter().any(|row| row[0] == "missing"), "{change}: {wrong:?}");
        // The hint: fetch these windows again.
        db.backfill("invoices");
        db.check_equal("invoices", "Invoice");
        assert!(verdicts(&db).is_empty(), "{change}");
    }
}

#[test]
fn rows_that_vanish_after_a_run_are_noticed_by_verification() {
    let db = Database::new();
    db.backfill("invoices");
    for change in ["TRUNCATE raw.qb_invoices", "DROP TABLE raw.qb_invoices"] {
        db.exec(change);
        let wrong = verdicts(&db);
        assert_eq!((wrong.len(), wrong[0][0].as_str()), (1, "missing"), "{change}: {wrong:?}");
        db.backfill("invoices");
        db.check_equal("invoices", "Invoice");
    }
}

#[test]
fn the_report_table_that_vanishes_is_made_again() {
    let db = Database::new();
    let run = nearly_done(&db);
    db.exec("DROP TABLE raw.backfill_report_invoices, raw.qb_rejects");
    db.sim.release();
    assert_eq!(db.ended(run), "success", "{}", db.of_run(run, "error_message"));
    assert_eq!(db.number("SELECT count(*) FROM raw.backfill_report_invoices"), 1, "the last window");
    db.check_equal("invoices", "Invoice");
}

#[test]
fn a_deadlock_with_somebody_is_tried_again() {
    let db = Database::new();
    db.set("qbo_raw.log_level", "log");
    // The worker looks for a deadlock once, after so long: by then there is one.
    db.set("deadlock_timeout", "8s");
    db.backfill("invoices");
    let older = "UPDATE raw.qb_invoices SET payload = jsonb_set(payload, '{MetaData,LastUpdatedTime}', '\"2020-01-01T00:00:00Z\"')";
    db.exec(older);
    // In one window, in the order of the ids.
    let ends = db.rows("SELECT min(id), max(id) FROM raw.qb_invoices");
    let mut other = db.client();
    let touch = |id: &str| format!("UPDATE raw.qb_invoices SET page_number = 7 WHERE id = '{id}'");
    // The worker is to be the one who finds out: we wait longer before we look.
    other.batch_execute(&format!("SET deadlock_timeout = '1min'; BEGIN; {}", touch(&ends[0][1]))).unwrap();
    let run = db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, 365, 1000)"));
    let waits = "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT l.granted AND a.backend_type = 'qbo_raw worker' AND a.datname = current_database()";
    wait_until("the worker waits for us", seconds(30), || db.number(waits) > 0);
    other.batch_execute(&touch(&ends[0][0])).unwrap();
    other.batch_execute("COMMIT").unwrap();
    assert_eq!(db.ended(run), "success", "{}", db.of_run(run, "error_message"));
    let deadlocks = format!("SELECT deadlocks FROM pg_stat_database WHERE datname = '{}'", db.name);
    wait_until("the deadlock is counted", seconds(30), || db.number(&deadlocks) == 1);
    assert!(db.log().contains(&format!("run {run} stores a window again: deadlock detected")));
    db.check_equal("invoices", "Invoice");
    assert_eq!(db.of_run(run, "updated_count"), "500");
}

#[test]
fn maintenance_beside_a_run_is_waited_for() {
    let db = Database::new();
    let run = nearly_done(&db);
    db.exec("VACUUM FULL raw.qb_invoices");
    db.exec("CLUSTER raw.qb_invoices USING qb_invoices_pkey");
    db.exec("REINDEX TABLE raw.qb_invoices");
    db.exec("ANALYZE raw.qb_invoices");
    db.sim.release();
    assert_eq!(db.ended(run), "success");
    db.check_equal("invoices", "Invoice");
    db.check_reports("invoices", run);
}

/// A table that somebody made beforehand: how, the word of the error or none, how it is mended.
const BEFOREHAND: &[(&str, &str, &str)] = &[
    (
        "CREATE TABLE raw.qb_invoices (id int PRIMARY KEY, payload text); ALTER TABLE raw.qb_invoices OWNER TO qbo_raw_owner",
        "target_incompatible",
        "DROP TABLE raw.qb_invoices",
    ),
    (
        "CREATE TABLE raw.qb_invoices (id text PRIMARY KEY)",
        "target_of_a_stranger",
        "DROP TABLE raw.qb_invoices",
    ),
    (
        "CREATE MATERIALIZED VIEW raw.qb_invoices AS SELECT 1 AS id",
        "target_is_no_table",
        "DROP MATERIALIZED VIEW raw.qb_invoices",
    ),
    ("CREATE SEQUENCE raw.qb_invoices", "target_is_no_table", "DROP SEQUENCE raw.qb_invoices"),
    (
        "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; CREATE FOREIGN TABLE raw.qb_invoices (id text) SERVER s",
        "target_is_no_table",
        "DROP FOREIGN TABLE raw.qb_invoices",
    ),
    ("CREATE TYPE raw.qb_invoices AS (id text)", "target_is_no_table", "DROP TYPE raw.qb_invoices"),
    (
        "CREATE TABLE raw.backfill_report_invoices (run_id bigint)",
        "target_of_a_stranger",
        "DROP TABLE raw.backfill_report_invoices",
    ),
    (
        "CREATE TABLE raw.qb_rejects (run_id bigint); ALTER TABLE raw.qb_rejects OWNER TO qbo_raw_owner",
        "target_incompatible",
        "DROP TABLE raw.qb_rejects",
    ),
    (
        "CREATE TABLE raw.qb_invoices (LIKE raw.made INCLUDING DEFAULTS, PRIMARY KEY (id, ingested_at_utc)) PARTITION BY RANGE (ingested_at_utc); ALTER TABLE raw.qb_invoices OWNER TO qbo_raw_owner",
        "target_incompatible",
        "DROP TABLE raw.qb_invoices",
    ),
];

#[test]
fn what_was_made_beforehand_under_our_names_is_refused_by_name() {
    let db = Database::new();
    for (made, code, mend) in BEFOREHAND {
        db.backfill("items");
        db.exec("DROP TABLE IF EXISTS raw.made; CREATE TABLE raw.made (LIKE raw.qb_items INCLUDING ALL); GRANT SELECT ON raw.made TO qbo_raw_owner; DROP TABLE IF EXISTS raw.qb_rejects");
        let before = db.rows(
            "SELECT relname, reltype FROM pg_class WHERE relnamespace = 'raw'::regnamespace ORDER BY 1",
        );
        db.exec(made);
        let run = db.queue("invoices");
        assert_eq!(db.ended(run), "failed", "{made}");
        assert_eq!(db.of_run(run, "error_code"), *code, "{made}: {}", db.of_run(run, "error_message"));
        assert_ne!(db.of_run(run, "error_hint"), "", "{made}");
        db.exec(mend);
        let after = db.rows(
            "SELECT relname, reltype FROM pg_class WHERE relnamespace = 'raw'::regnamespace ORDER BY 1",
        );
        assert_eq!(after, before, "{made}: nothing was made beside it");
        assert_eq!(db.number("SELECT count(*) FROM raw.qb_run WHERE run_id = 0"), 0);
    }
    db.backfill("invoices");
    db.check_equal("invoices", "Invoice");
}

#[test]
fn a_partitioned_table_a_temporary_one_and_one_without_a_log() {
    let server = Server::private("");
    let db = Database::on(&server, Options::default());
    // Partitioned by the key: the same to whoever writes.
    db.backfill("items");
    db.exec(
        "GRANT CREATE ON SCHEMA raw TO qbo_raw_owner; SET ROLE qbo_raw_owner;
         CREATE TABLE raw.qb_invoices (LIKE raw.qb_items INCLUDING DEFAULTS, PRIMARY KEY (id)) PARTITION BY HASH (id);
         CREATE TABLE raw.qb_invoices_0 PARTITION OF raw.qb_invoices FOR VALUES WITH (MODULUS 2, REMAINDER 0);
         CREATE TABLE raw.qb_invoices_1 PARTITION OF raw.qb_invoices FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
    );
    let run = db.backfill("invoices");
    assert_eq!(db.of_run(run, "inserted_count"), "500");
    db.exec("UPDATE raw.qb_invoices SET payload = jsonb_set(payload, '{MetaData,LastUpdatedTime}', '\"2020-01-01T00:00:00Z\"')");
    let run = db.backfill("invoices");
    assert_eq!(db.of_run(run, "updated_count || ' ' || inserted_count"), "500 0");
    db.check_equal("invoices", "Invoice");

    // A temporary table of the caller is not meant.
    let mut caller = db.client();
    caller.batch_execute("CREATE TEMP TABLE qb_customers (id text); SET search_path = pg_temp, raw").unwrap();
    let run =
        rows(&mut caller, &format!("SELECT raw.qb_backfill('customers', {RANGE})")).unwrap()[0][0].clone();
    caller.batch_execute(&format!("CALL raw.qb_wait({run})")).unwrap();
    assert_eq!(rows(&mut caller, "SELECT count(*) FROM pg_temp.qb_customers").unwrap(), [["0"]]);
    db.check_equal("customers", "Customer");

    // What is not logged is empty after a crash, and its reports say success: verification says what is missing.
    db.exec("ALTER TABLE raw.qb_invoices_0 SET UNLOGGED; ALTER TABLE raw.qb_invoices_1 SET UNLOGGED");
    db.backfill("invoices");
    server.stop("immediate");
    server.start();
    assert_eq!(db.number("SELECT count(*) FROM raw.qb_invoices"), 0);
    let wrong = verdicts(&db);
    assert_eq!((wrong.len(), wrong[0][0].as_str()), (1, "missing"), "{wrong:?}");
    db.backfill("invoices");
    db.check_equal("invoices", "Invoice");
}

//! User data is the user's: dumps, DROP and CREATE EXTENSION, tables that change under us.

use qbo_e2e::{Database, RANGE, Server, seconds, wait_until};
use qbo_sim::{Fault, Options, When};
use std::time::Duration;

#[test]
fn drop_extension_leaves_the_data_and_run_ids_go_on() {
    let db = Database::new();
    let first = db.backfill("invoices");
    let second = db.backfill("customers");
    db.exec("DROP EXTENSION qbo_raw");
    assert_eq!(db.number("SELECT count(*) FROM raw.qb_invoices"), db.sim.count("Invoice") as i64);
    db.exec("CREATE EXTENSION qbo_raw");
    db.connect_company();
    let next = db.backfill("invoices");
    assert!(next > second && second > first, "{first} {second} {next}");
    assert_eq!(db.of_run(next, "skipped_count"), db.sim.count("Invoice").to_string());
    db.check_equal("invoices", "Invoice");
    let members = "SELECT count(*) FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e' AND objid = 'raw.qb_invoices'::regclass";
    assert_eq!(db.number(members), 0);
}

#[test]
fn a_dump_has_the_data_and_the_reports_and_no_credentials() {
    let server = Server::private("");
    let db = Database::on(&server, Options::default());
    let run = db.backfill("invoices");
    let file = std::env::temp_dir().join(format!("qbo_raw-{}.dump", std::process::id()));
    let path = file.display().to_string();
    let dump = server.run("pg_dump", &["-Fc", "-f", &path, &db.name]);
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    server.sql("postgres", "CREATE DATABASE copy");
    let restore = server.run("pg_restore", &["-d", "copy", &path]);
    let _ = std::fs::remove_file(&file);
    assert!(restore.status.success(), "{}", String::from_utf8_lossy(&restore.stderr));
    let mut copy = server.connect("copy", "postgres").unwrap();
    let mut value = |text: &str| qbo_e2e::rows(&mut copy, text).unwrap()[0][0].clone();
    assert_eq!(value("SELECT count(*) FROM raw.qb_invoices"), db.sim.count("Invoice").to_string());
    assert_eq!(value("SELECT count(*) FROM raw.backfill_report_invoices"), "14");
    assert_eq!(value("SELECT count(*) FROM raw.qb_config"), "0");
    assert_eq!(value("SELECT status FROM raw.qb_run"), "success");
    assert_eq!(value("SELECT nextval('raw.qb_run_run_id_seq')"), (run + 1).to_string());
}

#[test]
fn drop_extension_under_a_run_ends_the_worker_quietly() {
    let server = Server::private("");
    let db = Database::on(&server, Options::default());
    db.sim.fault(When::From(3), Fault::Stall(seconds(30)));
    db.queue("invoices");
    wait_until("it works", seconds(30), || db.sim.request_count() >= 3);
    db.exec("DROP EXTENSION qbo_raw");
    wait_until("the worker left", seconds(10), || !db.has_worker());
    let log = server.log();
    assert!(log.contains("qbo_raw worker: the extension was dropped"), "{log}");
    assert!(!log.contains("does not exist"), "{log}");
    db.sim.clear_faults();
    db.exec("CREATE EXTENSION qbo_raw");
    db.connect_company();
    db.backfill("invoices");
    db.check_equal("invoices", "Invoice");
}

#[test]
fn a_table_that_was_dropped_is_made_again() {
    let db = Database::new();
    db.backfill("invoices");
    db.exec("DROP TABLE raw.qb_invoices, raw.backfill_report_invoices, raw.qb_rejects");
    let run = db.backfill("invoices");
    db.check_equal("invoices", "Invoice");
    db.check_reports("invoices", run);
}

#[test]
fn tables_that_cannot_be_written_to_are_named() {
    // What was done to the table, the word of the error.
    let odd = [
        ("ALTER TABLE raw.qb_invoices DROP COLUMN page_size", "target_incompatible"),
        ("ALTER TABLE raw.qb_invoices ALTER payload TYPE text", "target_incompatible"),
        ("ALTER TABLE raw.qb_invoices DROP CONSTRAINT qb_invoices_pkey", "target_incompatible"),
        (
            "ALTER TABLE raw.qb_invoices DROP CONSTRAINT qb_invoices_pkey, ADD COLUMN n serial PRIMARY KEY",
            "target_incompatible",
        ),
        ("ALTER TABLE raw.backfill_report_invoices DROP COLUMN report_id", "target_incompatible"),
        (
            "ALTER TABLE raw.qb_invoices RENAME TO kept; CREATE VIEW raw.qb_invoices AS SELECT * FROM raw.kept",
            "target_is_no_table",
        ),
    ];
    for (change, word) in odd {
        let db = Database::new();
        db.backfill("invoices");
        db.exec(change);
        let run = db.queue("invoices");
        assert_eq!(db.ended(run), "failed", "{change}");
        assert_eq!(db.of_run(run, "error_code"), word, "{change}");
        let hint = db.of_run(run, "error_hint");
        assert_ne!(hint, "", "{change}");
        // A statement in it is the cure.
        if let Some((cure, _)) = hint.split_once(';').filter(|(cure, _)| cure.contains("raw.")) {
            db.exec(cure);
            db.backfill("invoices");
            db.check_equal("invoices", "Invoice");
            assert_eq!(
                db.number(&format!("SELECT count(*) FROM raw.qb_gaps('invoices', {RANGE})")),
                0,
                "{change}"
            );
        }
    }
}

#[test]
fn what_a_users_trigger_or_constraint_does_is_said() {
    let raises =
        "CREATE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not today'; END $$;
                  CREATE TRIGGER t BEFORE INSERT ON raw.qb_invoices FOR EACH ROW EXECUTE FUNCTION public.f()";
    let swallows = "CREATE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
                    CREATE TRIGGER t BEFORE INSERT ON raw.qb_invoices FOR EACH ROW EXECUTE FUNCTION public.f()";
    let checks = "ALTER TABLE raw.qb_invoices ADD CONSTRAINT small CHECK (id = '0')";
    let hides = "ALTER TABLE raw.qb_invoices ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY";
    for (change, word) in [
        (raises, "target_trigger_error"),
        (swallows, "rows_skipped_by_target"),
        (checks, "target_constraint"),
        (hides, "permission_denied"),
    ] {
        let db = Database::new();
        db.backfill("invoices");
        db.exec("DELETE FROM raw.qb_invoices");
        db.exec(change);
        let run = db.queue("invoices");
        assert_eq!(db.ended(run), "partial", "{word}: the empty window is stored");
        assert_eq!(db.of_run(run, "error_code"), word);
        assert_eq!(db.number("SELECT count(*) FROM raw.qb_invoices"), 0, "{word}");
    }
}

#[test]
fn settings_of_the_database_do_not_reach_the_worker() {
    let db = Database::new();
    for setting in [
        "statement_timeout = '1ms'",
        "lock_timeout = '1ms'",
        "default_transaction_isolation = 'serializable'",
        "\"TimeZone\" = 'Pacific/Apia'",
        "\"DateStyle\" = 'German, DMY'",
        "search_path = ''",
        "bytea_output = 'escape'",
        "row_security = on",
    ] {
        db.server.sql("postgres", &format!("ALTER DATABASE {} SET {setting}", db.name));
    }
    // From the start: even a SET could meet a timeout of a millisecond.
    let mut config = db.server.config(&db.name, "postgres");
    let mut client =
        config.options("-c statement_timeout=0 -c lock_timeout=0").connect(postgres::NoTls).unwrap();
    let call = format!("SELECT raw.qb_backfill('invoices', {RANGE})");
    let run = qbo_e2e::rows(&mut client, &call).unwrap()[0][0].clone();
    let status = format!("SELECT status FROM raw.qb_run WHERE run_id = {run}");
    wait_until("it ends", seconds(30), || {
        !["queued", "running"].contains(&qbo_e2e::rows(&mut client, &status).unwrap()[0][0].as_str())
    });
    assert_eq!(qbo_e2e::rows(&mut client, &status).unwrap()[0][0], "success");
    assert_eq!(
        qbo_e2e::rows(
            &mut client,
            "SELECT min(window_start) = '2025-07-01 00:00:00+00' FROM raw.backfill_report_invoices"
        )
        .unwrap()[0][0],
        "t"
    );
}

#[test]
fn a_lock_that_is_held_for_a_while_is_waited_for() {
    let db = Database::new();
    db.backfill("invoices");
    let mut holder = db.client();
    holder.batch_execute("BEGIN; LOCK TABLE raw.qb_invoices IN ACCESS EXCLUSIVE MODE").unwrap();
    let run = db.queue("invoices");
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'raw.qb_invoices'::regclass";
    wait_until("it waits for the lock", seconds(30), || {
        holder.query_one(waits, &[]).unwrap().get::<_, i64>(0) > 0
    });
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(db.of_run(run, "status"), "running");
    holder.batch_execute("COMMIT").unwrap();
    assert_eq!(db.ended(run), "success");
}

#[test]
fn two_companies_do_not_touch_each_other() {
    let db = Database::new();
    let (_, id, secret, token) = db.sim.credentials();
    db.client()
        .execute(
            "SELECT raw.qb_connect('99', $1, $2, $3, 'production', 'other', 'other_co')",
            &[&id, &secret, &token],
        )
        .unwrap();
    let run = db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, connection => 'other')"));
    assert_eq!(db.ended(run), "failed", "the simulator knows one realm");
    assert_eq!(db.of_run(run, "error_code"), "forbidden");
    db.backfill("invoices");
    assert_eq!(db.number("SELECT count(*) FROM other_co.qb_invoices"), 0);
    assert_eq!(db.number("SELECT count(*) FROM raw.qb_invoices"), 500);
    let twice = db.refused("SELECT raw.qb_connect('99', 'a', 'b', 'c', 'production', 'third')");
    assert_eq!(twice.sqlstate, "23505");
}

#[test]
fn a_schema_may_be_called_like_a_placeholder() {
    let server = Server::private("");
    let db = Database::on(&server, Options::default());
    db.exec("SELECT raw.qb_connect(target_schema => 'a%report %rejects\"%schema')");
    let run = db.queue("invoices");
    assert_eq!(db.ended(run), "success", "{}", db.of_run(run, "error_message"));
    db.check_equal_in("\"a%report %rejects\"\"%schema\"", &db.sim, "invoices", "Invoice");
}

#[test]
fn a_run_that_is_resumed_while_old_runs_are_purged_stays() {
    let db = Database::new();
    let run = db.backfill("invoices");
    wait_until("the worker left", seconds(30), || !db.has_worker());
    db.exec("DELETE FROM raw.backfill_report_invoices; UPDATE raw.qb_run SET status = 'partial', windows_done = 0, finished_at = '2020-01-01'");
    let mut resumes = db.client();
    resumes.batch_execute(&format!("BEGIN; SELECT raw.qb_resume({run})")).unwrap();
    std::thread::scope(|scope| {
        // A test that fails ends this session before the purge is waited for.
        let mut resumes = resumes;
        let purge = scope.spawn(|| db.value("SELECT raw.qb_purge_reports('1 year')"));
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query ~ '^SELECT raw.qb_purge' AND wait_event_type = 'Lock'";
        wait_until("the purge meets it", seconds(30), || db.number(waits) == 1);
        resumes.batch_execute("COMMIT").unwrap();
        assert!(purge.join().unwrap().contains(" 0 runs deleted"));
    });
    assert_eq!(db.ended(run), "success");
    db.check_equal("invoices", "Invoice");
}

#[test]
fn run_ids_go_on_behind_every_report_table_that_a_worker_would_use() {
    let server = Server::private("");
    let db = Database::on(&server, Options::default());
    db.exec("CREATE ROLE deputy; GRANT qbo_raw_owner TO deputy; GRANT USAGE ON SCHEMA raw TO deputy");
    for (place, make) in [
        "ALTER TABLE raw.backfill_report_items OWNER TO deputy",
        "ALTER TABLE raw.backfill_report_items RENAME TO old;
         CREATE TABLE raw.backfill_report_items (LIKE raw.old) PARTITION BY RANGE (window_start);
         CREATE TABLE raw.part PARTITION OF raw.backfill_report_items DEFAULT;
         INSERT INTO raw.backfill_report_items SELECT * FROM raw.old;
         ALTER TABLE raw.backfill_report_items OWNER TO qbo_raw_owner; ALTER TABLE raw.old OWNER TO postgres",
    ]
    .iter()
    .enumerate()
    {
        let last = db.backfill("items");
        db.exec(make);
        db.exec("DROP EXTENSION qbo_raw; CREATE EXTENSION qbo_raw");
        db.connect_company();
        let next = db.number("SELECT nextval('raw.qb_run_run_id_seq')");
        assert!(next > last, "{place}: {next} after {last}");
    }
}

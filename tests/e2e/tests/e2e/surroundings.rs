//! What others do around a run: settings of roles and databases, rights, roles, the extension and its schema dropped and
//! made again in the middle of it, publications, other encodings, a second database.

use crate::hazards::nearly_done;
use qbo_e2e::{Database, RANGE, Server, refused, rows, seconds, wait_until};
use qbo_sim::{Fault, Options, When};

/// Settings that change how values are read and written; each is set for the database, where a worker would take it from.
const SETTINGS: &[&[&str]] = &[
    &["search_path = ''", "\"DateStyle\" = 'German, DMY'", "\"TimeZone\" = 'Pacific/Apia'"],
    &[
        "search_path = 'public, pg_temp, pg_catalog'",
        "\"DateStyle\" = 'SQL, DMY'",
        "\"TimeZone\" = 'Asia/Kathmandu'",
    ],
    &[
        "\"DateStyle\" = 'Postgres, MDY'",
        "\"IntervalStyle\" = 'sql_standard'",
        "\"TimeZone\" = 'America/St_Johns'",
    ],
    &["\"IntervalStyle\" = 'iso_8601'", "bytea_output = 'escape'", "extra_float_digits = -15"],
    &["client_encoding = 'LATIN1'", "standard_conforming_strings = off", "escape_string_warning = on"],
    &[
        "client_encoding = 'SQL_ASCII'",
        "array_nulls = off",
        "transform_null_equals = on",
        "quote_all_identifiers = on",
    ],
    &[
        "default_transaction_isolation = 'serializable'",
        "default_transaction_deferrable = on",
        "row_security = off",
    ],
    &[
        "plan_cache_mode = 'force_custom_plan'",
        "enable_indexscan = off",
        "enable_nestloop = off",
        "work_mem = '64kB'",
    ],
    &["xmloption = 'document'", "lc_numeric = 'C'", "lc_time = 'C'", "session_replication_role = 'replica'"],
    &["statement_timeout = '1ms'", "lock_timeout = '1ms'", "idle_in_transaction_session_timeout = '1ms'"],
];

#[test]
fn no_setting_of_the_database_reaches_the_worker() {
    let db = Database::new();
    let stored = "SELECT md5(string_agg(concat_ws('|', id, payload, extract_window_start_utc AT TIME ZONE 'UTC',
                    extract_window_end_utc AT TIME ZONE 'UTC', ingested_at_utc AT TIME ZONE 'UTC', request_payload), ',' ORDER BY id))
                    FROM raw.qb_invoices";
    // Whatever the session shows, what is stored is the same.
    let calm = "-c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0 -c TimeZone=UTC -c DateStyle=ISO -c client_encoding=UTF8 -c extra_float_digits=1";
    let connect = || db.server.config(&db.name, "postgres").options(calm).connect(postgres::NoTls).unwrap();
    let run = || {
        let mut client = connect();
        let call = format!(
            "CALL raw.qb_wait(raw.qb_backfill('invoices', {RANGE}, execution_date => '2020-02-29 12:00+00'))"
        );
        client.batch_execute(&call).map(|()| rows(&mut client, stored).unwrap())
    };
    let expected = run().unwrap();
    for settings in SETTINGS {
        for setting in *settings {
            db.server.sql("postgres", &format!("ALTER DATABASE {} SET {setting}", db.name));
        }
        connect().batch_execute("TRUNCATE raw.qb_invoices").unwrap();
        let found = run().unwrap_or_else(|error| panic!("{settings:?}: {error:?}"));
        assert_eq!(found, expected, "{settings:?}");
        for setting in *settings {
            let name = setting.split(" = ").next().unwrap();
            db.server.sql("postgres", &format!("ALTER DATABASE {} RESET {name}", db.name));
        }
    }
    db.check_equal("invoices", "Invoice");
}

#[test]
fn timeouts_of_a_millisecond_on_the_superuser_do_not_reach_the_worker() {
    let server = Server::private("");
    let db = Database::on(&server, Options::default());
    let mut client = db.client();
    let newer = if server.run("postgres", &["--version"]).stdout.starts_with(b"postgres (PostgreSQL) 15")
        || server.run("postgres", &["--version"]).stdout.starts_with(b"postgres (PostgreSQL) 16")
    {
        ""
    } else {
        "ALTER ROLE postgres SET transaction_timeout = '1ms';"
    };
    client
        .batch_execute(&format!(
            "ALTER ROLE postgres SET statement_timeout = '1ms'; ALTER ROLE postgres SET lock_timeout = '1ms';
             ALTER ROLE postgres SET idle_in_transaction_session_timeout = '1ms'; {newer}
             ALTER ROLE ALL SET statement_timeout = '1ms'"
        ))
        .unwrap();
    client.batch_execute(&format!("CALL raw.qb_wait(raw.qb_backfill('invoices', {RANGE}))")).unwrap();
    assert_eq!(rows(&mut client, "SELECT count(*) FROM raw.qb_invoices").unwrap(), [["500"]]);
}

#[test]
fn a_read_only_database_keeps_its_token_and_its_runs() {
    let db = Database::new();
    db.server.sql("postgres", &format!("ALTER DATABASE {} SET default_transaction_read_only = on", db.name));
    let error = db.refused(&format!("SELECT raw.qb_backfill('invoices', {RANGE})"));
    assert_eq!(error.sqlstate, "25006");
    assert_eq!(db.sim.token_requests(), 0);
    // Who says otherwise for a session of his does not say it for the worker: the run waits, and no token is spent.
    let mut client = db.client();
    client.batch_execute("SET default_transaction_read_only = off").unwrap();
    let queued = rows(&mut client, &format!("SELECT raw.qb_backfill('invoices', {RANGE})")).unwrap();
    wait_until("the log says why", seconds(30), || {
        db.log().contains("cannot execute UPDATE in a read-only transaction")
    });
    wait_until("the worker left", seconds(30), || !db.has_worker());
    let run = queued[0][0].parse().unwrap();
    assert_eq!((db.of_run(run, "status").as_str(), db.sim.token_requests()), ("queued", 0));
    let found = db.rows("SELECT result FROM raw.qb_check() WHERE NOT ok AND subject = 'query'");
    assert!(found[0][0].contains("read-only"), "{found:?}");
    db.server.sql("postgres", &format!("ALTER DATABASE {} RESET default_transaction_read_only", db.name));
    assert_eq!(db.number("SELECT raw.qb_tick()"), 1);
    assert_eq!(db.ended(run), "success");
    db.check_equal("invoices", "Invoice");
}

#[test]
fn a_schedule_says_the_same_day_in_every_date_style() {
    let db = Database::new();
    db.exec(
        "CREATE SCHEMA cron; CREATE TABLE cron.job (jobid int DEFAULT 1, jobname text, schedule text, command text);
         CREATE FUNCTION cron.schedule(text, text, text) RETURNS bigint LANGUAGE sql AS
           $$ INSERT INTO cron.job (jobname, schedule, command) VALUES ($1, $2, $3) RETURNING jobid $$",
    );
    // One time for all: an hour may begin between two sessions.
    let at = db.value("SELECT date_trunc('hour', now()) + interval '1 day'");
    for style in ["ISO, YMD", "German, DMY", "SQL, DMY", "Postgres, MDY"] {
        db.exec(&format!(
            "SET \"DateStyle\" = '{style}'; SET \"TimeZone\" = 'Asia/Kathmandu'; SET \"IntervalStyle\" = 'iso_8601';
             SELECT raw.qb_schedule_once(timestamptz '{at}', 'items', date '2025-07-02', date '2025-07-03',
               execution_date => timestamptz '2020-02-03 12:00+00')"
        ));
    }
    let jobs = db.rows("SELECT DISTINCT jobname, schedule, command FROM cron.job");
    assert_eq!(jobs.len(), 1, "{jobs:#?}");
    assert!(jobs[0][2].contains("'2025-07-02'::pg_catalog.date, '2025-07-03'::"), "{jobs:?}");
}

#[test]
fn the_schema_dropped_under_a_run_ends_the_worker() {
    // Nobody else writes to its log.
    let server = Server::private("");
    let db = Database::on(&server, Options::default());
    nearly_done(&db);
    db.exec("DROP SCHEMA raw CASCADE");
    db.sim.release();
    wait_until("the worker left", seconds(30), || !db.has_worker());
    let log = db.server.log();
    assert!(!log.contains("panicked") && !log.contains("was terminated by signal"));
    db.sim.clear_faults();
    db.exec("CREATE EXTENSION qbo_raw");
    db.connect_company();
    db.backfill("invoices");
    db.check_equal("invoices", "Invoice");
}

#[test]
fn an_extension_made_anew_under_a_run_is_not_written_to_by_the_old_worker() {
    let db = Database::new();
    // Not one window is stored yet, so that nothing tells which run ids are taken.
    db.sim.fault_times(When::Nth(1), Fault::Stall(seconds(60)), 1);
    let old = db.queue("invoices");
    wait_until("it works", seconds(30), || db.sim.request_count() >= 1);
    db.exec("DROP EXTENSION qbo_raw; CREATE EXTENSION qbo_raw");
    db.connect_company();
    let new = db.number("SELECT raw.qb_backfill('customers', '2025-07-01', '2025-09-30', 31)");
    assert_eq!(new, old, "the ids begin again");
    // The old worker looks at its run once a second, and finds the new one.
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    db.sim.release();
    assert_eq!(db.ended(new), "success", "{}", db.of_run(new, "error_message"));
    db.check_reports("customers", new);
    db.check_equal("customers", "Customer");
    let stray = db.rows("SELECT * FROM raw.backfill_report_invoices");
    assert!(stray.is_empty(), "{stray:?}");
    assert_eq!(db.value("SELECT count(*) FROM raw.qb_invoices"), "0");
    assert_eq!(db.of_run(new, "windows_done || ' ' || windows_total || ' ' || windows_failed"), "3 3 0");
}

#[test]
fn rights_taken_away_before_a_run_are_named() {
    let db = Database::new();
    db.exec("REVOKE USAGE ON SCHEMA raw FROM qbo_raw_owner, qbo_raw_reader");
    let run = db.queue("invoices");
    assert_eq!(db.ended(run), "failed");
    assert_eq!(db.of_run(run, "error_code"), "permission_denied");
    assert!(db.of_run(run, "error_message").contains("schema raw"), "{}", db.of_run(run, "error_message"));
    let wrong = db.rows("SELECT what_to_do FROM raw.qb_check() WHERE subject = 'schema' AND NOT ok");
    db.exec(&wrong[0][0]);
    db.backfill("invoices");
    db.check_equal("invoices", "Invoice");
}

#[test]
fn a_role_of_ours_that_was_renamed_is_named() {
    let server = Server::private("");
    let db = Database::on(&server, Options::default());
    db.exec("ALTER ROLE qbo_raw_owner RENAME TO gone");
    let run = db.queue("invoices");
    assert_eq!(db.ended(run), "failed");
    assert_eq!(db.of_run(run, "error_code"), "missing_role");
    assert!(db.of_run(run, "error_hint").contains("CREATE EXTENSION makes the role"));
    db.exec("ALTER ROLE gone RENAME TO qbo_raw_owner");
    db.backfill("invoices");
}

#[test]
fn a_publication_of_all_tables_carries_the_secrets_and_the_doctor_says_so() {
    let server = Server::private("wal_level = logical");
    let db = Database::on(&server, Options::default());
    let finding = "SELECT ok, what_to_do FROM raw.qb_check() WHERE subject = 'publication'";
    assert!(db.rows(finding).is_empty());
    db.exec("CREATE PUBLICATION everything FOR ALL TABLES");
    let published = "SELECT tablename FROM pg_publication_tables WHERE tablename = 'qb_config'";
    assert_eq!(db.rows(published), [["qb_config"]], "PostgreSQL offers no way to leave a table out");
    let found = db.rows(finding);
    assert_eq!(found[0][0], "f");
    assert!(found[0][1].contains("FOR TABLE"), "{found:?}");
    // The runs themselves are not hindered: every table that is updated has a key.
    db.backfill("invoices");
    db.exec("DROP PUBLICATION everything; CREATE PUBLICATION chosen FOR TABLE raw.qb_invoices, raw.backfill_report_invoices");
    assert!(db.rows(finding).is_empty());
    db.exec("UPDATE raw.qb_invoices SET payload = '{}'");
    let run = db.backfill("invoices");
    assert_eq!(db.of_run(run, "updated_count"), "500");
}

#[test]
fn databases_of_other_encodings_are_refused_and_left_as_they_were() {
    let server = Server::private("");
    for encoding in ["LATIN1", "SQL_ASCII", "EUC_JP"] {
        let name = encoding.to_lowercase();
        server.sql("postgres", &format!("CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0"));
        let mut client = server.connect(&name, "postgres").unwrap();
        let error = refused(&mut client, "CREATE EXTENSION qbo_raw");
        assert_eq!(error.sqlstate, "0A000", "{encoding}");
        assert!(error.message.contains(encoding) && error.hint.contains("ENCODING 'UTF8'"), "{error:?}");
        let left = "SELECT count(*) FROM pg_namespace WHERE nspname = 'raw'";
        assert_eq!(rows(&mut client, left).unwrap(), [["0"]], "{encoding}");
    }
}

#[test]
fn two_databases_work_side_by_side() {
    let (one, two) = (Database::new(), Database::new());
    for db in [&one, &two] {
        db.sim.fault_times(When::Nth(1), Fault::Stall(seconds(60)), 1);
    }
    let runs = (one.queue("invoices"), two.queue("invoices"));
    wait_until("both work at once", seconds(30), || {
        one.of_run(runs.0, "status") == "running" && two.of_run(runs.1, "status") == "running"
    });
    for db in [&one, &two] {
        wait_until("it asks", seconds(30), || db.sim.request_count() > 0);
        db.sim.release();
    }
    assert_eq!((one.ended(runs.0), two.ended(runs.1)), ("success".to_owned(), "success".to_owned()));
    one.check_equal("invoices", "Invoice");
    two.check_equal("invoices", "Invoice");
}

/// The call of another role, while we hold the connection's lock so that nobody works on it yet.
fn queued_by(db: &Database, role: &str) -> (i64, postgres::Client) {
    let mut holder = db.client();
    let key = db.value("SELECT connection_id FROM raw.qb_config");
    holder.batch_execute(&format!("SELECT pg_advisory_lock({}, {key})", 0x7162_6f01)).unwrap();
    let call = format!("SELECT raw.qb_backfill('invoices', {RANGE})");
    (rows(&mut db.client_as(role), &call).unwrap()[0][0].parse().unwrap(), holder)
}

#[test]
fn a_caller_whose_role_is_gone_does_not_get_the_work() {
    let server = Server::private("");
    let db = Database::on(&server, Options::default());
    server.sql("postgres", "CREATE ROLE leaver LOGIN; GRANT qbo_raw_operator TO leaver");
    let (run, holder) = queued_by(&db, "leaver");
    db.exec("DROP ROLE leaver");
    drop(holder);
    wait_until("somebody takes it up", seconds(30), || {
        db.exec("SELECT raw.qb_tick()");
        db.of_run(run, "status") != "queued"
    });
    assert_eq!(db.ended(run), "failed");
    assert_eq!(db.of_run(run, "error_code"), "permission_denied");
    assert!(db.of_run(run, "error_message").contains("leaver"), "{}", db.of_run(run, "error_message"));
    assert_eq!(db.sim.request_count(), 0);
}

#[test]
fn a_database_that_is_closed_or_renamed_gets_its_work_later() {
    let db = Database::new();
    let mut session = db.client();
    let outside = |text: &str| db.server.connect("postgres", "postgres").unwrap().batch_execute(text);
    outside(&format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", db.name)).unwrap();
    let call = format!("SELECT raw.qb_backfill('invoices', {RANGE})");
    let run: i64 = rows(&mut session, &call).unwrap()[0][0].parse().unwrap();
    let refused = format!("database \"{}\" is not currently accepting connections", db.name);
    wait_until("the worker is turned away", seconds(30), || db.server.log().contains(&refused));
    outside(&format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", db.name)).unwrap();
    assert_eq!(db.of_run(run, "status"), "queued");
    assert_eq!((db.number("SELECT raw.qb_tick()"), db.ended(run).as_str()), (1, "success"));
    drop(session);
    // Nobody of ours stays and keeps a database from its new name.
    wait_until("the worker left", seconds(30), || !db.has_worker());
    let (old, new) = (&db.name, format!("{}_renamed", db.name));
    wait_until("it is renamed", seconds(30), || {
        db.ask_anew();
        outside(&format!("ALTER DATABASE {old} RENAME TO {new}")).is_ok()
    });
    let mut session = db.server.connect(&new, "postgres").unwrap();
    session.batch_execute(&format!("CALL raw.qb_wait(raw.qb_backfill('customers', {RANGE}))")).unwrap();
    drop(session);
    wait_until("its name is back", seconds(30), || {
        outside(&format!("ALTER DATABASE {new} RENAME TO {old}")).is_ok()
    });
    db.check_equal("customers", "Customer");
}

//! What a person sees while a run works, and afterwards.

use qbo_e2e::{Database, RANGE, Server, rows, seconds, wait_until};
use qbo_sim::{Fault, Options, When};
use std::time::Duration;

#[test]
fn qb_wait_draws_a_bar_and_ends_with_a_summary() {
    let db = Database::with(Options { latency: Duration::from_millis(300), ..Options::default() });
    let (mut client, heard) = db.listening();
    client.batch_execute(&format!("CALL raw.qb_wait(raw.qb_backfill('invoices', {RANGE}, 3))")).unwrap();
    let heard = heard.lock().unwrap().clone();
    assert!(
        heard.iter().any(|line| line.contains("/s, ")
            && line.contains("left")
            && line.contains('█')
            && line.contains('░')),
        "{heard:#?}"
    );
    let [.., end, rows] = heard.as_slice() else { panic!("{heard:#?}") };
    assert!(end.contains("████████████ 31/31 windows: success, 31 requests"), "{end}");
    assert_eq!(rows, "NOTICE: 500 rows: 500 new, 0 updated, 0 unchanged, 0 rejected");
    // psql writes two blanks after the colon.
    assert!(heard.iter().all(|line| line.chars().count() < 80), "{heard:#?}");
    let (mut ascii, heard) = db.listening();
    ascii.batch_execute("SET client_encoding = 'LATIN1'").unwrap();
    ascii.batch_execute(&format!("CALL raw.qb_wait(raw.qb_backfill('items', {RANGE}, 3))")).unwrap();
    assert!(heard.lock().unwrap().iter().all(|line| line.is_ascii()), "{heard:#?}");
}

#[test]
fn qb_wait_ends_with_the_error_of_a_failed_run_and_after_its_time() {
    let db = Database::new();
    db.sim.fault(When::Always, Fault::named("403").unwrap());
    let error = db.refused(&format!("CALL raw.qb_wait(raw.qb_backfill('invoices', {RANGE}))"));
    assert_eq!(error.sqlstate, "38000");
    assert!(error.detail.contains("forbidden") && error.hint.contains("realm_id"), "{error:?}");
    let run = db.number("SELECT max(run_id) FROM raw.qb_run");
    let go_on = |run: i64| format!("To go on: SELECT raw.qb_resume({run});");
    assert!(error.hint.ends_with(&go_on(run)), "{error:?}");
    db.sim.clear_faults();
    db.sim.fault(When::Always, Fault::Stall(seconds(60)));
    let run = db.queue("invoices");
    wait_until("it works", seconds(30), || db.of_run(run, "status") == "running");
    let error = db.refused(&format!("CALL raw.qb_wait({run}, '1 second')"));
    assert_eq!(error.sqlstate, "57014");
    assert!(error.hint.contains("the run goes on"), "{error:?}");
    assert_eq!(db.of_run(run, "status"), "running");
    let progress = db.rows("SELECT run_id, entity, progress, windows FROM raw.qb_progress");
    assert_eq!(progress, [[run.to_string().as_str(), "invoices", "░░░░░░░░", "0/14"]]);
    db.exec(&format!("SELECT raw.qb_cancel({run})"));
    let error = db.refused(&format!("CALL raw.qb_wait({run})"));
    assert_eq!(error.sqlstate, "57014");
    assert_eq!((error.detail.as_str(), error.hint), ("0 of 14 windows are stored.", go_on(run)));
}

#[test]
fn qb_wait_says_that_a_transaction_block_is_in_its_way() {
    let db = Database::new();
    let run = db.backfill("items");
    let error = db.refused(&format!("BEGIN; CALL raw.qb_wait({run})"));
    assert_eq!((error.sqlstate.as_str(), error.hint.contains("COMMIT")), ("25001", true), "{error:?}");
    // Code outside of one may wait: the statement of a pg_cron job, and a DO block.
    db.exec(&format!("DO $$ BEGIN CALL raw.qb_wait({run}); END $$"));
}

#[test]
fn who_queues_what_cannot_be_done_is_told_at_once() {
    let db = Database::new();
    let (mut client, heard) = db.listening();
    for state in ["needs_reauth", "bad_client"] {
        db.exec(&format!("UPDATE raw.qb_config SET auth_state = '{state}'"));
        let run = rows(&mut client, &format!("SELECT raw.qb_backfill('items', {RANGE})")).unwrap();
        let run = run[0][0].parse().unwrap();
        assert_eq!(db.ended(run), "blocked_auth");
        let heard = std::mem::take(&mut *heard.lock().unwrap());
        assert!(
            heard.iter().any(|line| line.starts_with("WARNING")
                && line.contains(&format!("\"default\" has auth_state {state}"))),
            "{heard:?}"
        );
    }
    db.exec("UPDATE raw.qb_config SET auth_state = 'ok'");
    rows(&mut client, &format!("SELECT raw.qb_backfill('items', {RANGE})")).unwrap();
    let heard = heard.lock().unwrap();
    assert!(heard.iter().all(|line| line.starts_with("NOTICE: run ")), "{heard:?}");
}

#[test]
fn the_worker_shows_itself() {
    let db = Database::new();
    db.sim.fault(When::From(2), Fault::Stall(seconds(20)));
    let run = db.queue("invoices");
    wait_until("it works", seconds(30), || db.sim.request_count() >= 2);
    let shown = format!(
        "SELECT backend_type, application_name, state, query, wait_event_type FROM pg_stat_activity WHERE pid = {}",
        db.worker()
    );
    let text = format!("qbo_raw: run {run}, invoices of default");
    let expected = ["qbo_raw worker", "qbo_raw", "active", text.as_str(), "Extension"];
    wait_until(&format!("it shows {expected:?}"), seconds(10), || db.rows(&shown) == [expected]);
    let lock = db.number(&format!(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = {} AND pid = {}",
        0x7162_6f01,
        db.worker()
    ));
    assert_eq!(lock, 1, "ownership is a lock");
    db.exec(&format!("SELECT raw.qb_cancel({run})"));
}

#[test]
fn the_log_has_two_lines_a_run() {
    let server = Server::private("");
    let db = Database::on(&server, Options::default());
    let run = db.backfill("items");
    wait_until("the worker left", seconds(30), || !db.has_worker());
    let own: Vec<String> = db
        .server
        .log()
        .lines()
        .filter(|line| line.contains("] qbo_raw worker "))
        .map(str::to_owned)
        .collect();
    assert_eq!(own.len(), 2, "{own:#?}");
    assert!(
        own[0].contains(&format!("run {run} starts: items"))
            && own[1].contains("ends as success: 14 of 14 windows, 40 rows"),
        "{own:#?}"
    );
}

#[test]
fn tables_are_described_and_stored_with_lz4_where_the_server_has_it() {
    let db = Database::new();
    db.backfill("invoices");
    let undescribed = db.rows(
        "SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
          WHERE c.relnamespace = 'raw'::regnamespace AND c.relname IN ('qb_config', 'qb_run', 'qb_pace', 'qb_invoices', 'backfill_report_invoices')
            AND col_description(c.oid, a.attnum) IS NULL",
    );
    assert!(undescribed.is_empty(), "{undescribed:?}");
    let has = db
        .value("SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression'")
        == "t";
    let uses = db.value("SELECT attcompression FROM pg_attribute WHERE attrelid = 'raw.qb_invoices'::regclass AND attname = 'payload'");
    assert_eq!(uses == "l", has);
}

#[test]
fn who_waits_no_longer_is_told_how_far_it_is() {
    let db = Database::new();
    db.sim.fault(When::Always, Fault::Stall(seconds(20)));
    let run = db.queue("items");
    wait_until("it works", seconds(30), || db.of_run(run, "status") == "running");
    let error = db.refused(&format!("CALL raw.qb_wait({run}, '0.1 seconds')"));
    assert_eq!(error.sqlstate, "57014");
    assert_eq!(error.message, format!("run {run} is still running after 00:00:00.1"));
    assert_eq!(error.detail, "0 of 14 windows are stored.");
    assert!(error.hint.starts_with("Only the waiting ended"), "{error:?}");
    db.exec(&format!("SELECT raw.qb_cancel({run})"));
    db.ended(run);
}

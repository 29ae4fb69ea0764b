//! What must not be taken for stored: a table made anew, reports of another database, a day that is not over, two records that
//! look the same; and what a run must not do for ever.

use qbo_e2e::{Database, RANGE, is_alive, seconds, wait_until};
use qbo_sim::{Fault, Options, When};

fn company() -> Database<'static> {
    Database::with(Options { counts: vec![("Invoice".to_owned(), 300)], ..Options::default() })
}

/// The day that still goes on.
const TODAY: &str = "(now() AT TIME ZONE 'UTC')::date";

const GAPS: &str = "SELECT coalesce(sum(days), 0) FROM raw.qb_gaps('invoices', '2025-07-01', '2025-09-30')";

/// The hint for a table with other columns says to rename it.
#[test]
fn what_an_earlier_table_held_is_not_covered() {
    let db = company();
    db.sim.fault(When::Statement("LastUpdatedTime >= '2025-08-05".to_owned()), Fault::named("4001").unwrap());
    let run = db.queue("invoices");
    assert_eq!(db.ended(run), "partial");
    db.sim.clear_faults();
    db.exec("ALTER TABLE raw.qb_invoices RENAME TO earlier");
    db.exec(&format!("SELECT raw.qb_resume({run})"));
    assert_eq!(db.ended(run), "success", "{}", db.of_run(run, "error_message"));
    assert_eq!(db.of_run(run, "windows_done = windows_total"), "t");
    db.check_equal("invoices", "Invoice");
    let warned = format!("run {run}: table qb_invoices was gone and is made again");
    assert!(db.log().contains(&warned), "{}", db.log());

    // A later run that does not touch the old days leaves them open to see, for whoever looks in whatever way.
    let doctor = "SELECT result, what_to_do FROM raw.qb_check() WHERE subject = 'tables' AND NOT ok";
    assert!(db.rows(doctor).is_empty(), "{:?}", db.rows(doctor));
    db.exec("DROP TABLE raw.qb_invoices");
    let said = |days: u32| format!("{days} days of invoices were stored in a table that is gone");
    let cure = "SELECT raw.qb_retry_failed('invoices');";
    assert_eq!(db.rows(doctor), [[said(92).as_str(), cure]]);
    assert_eq!(db.value("SELECT reason FROM raw.qb_gaps('invoices')"), "failed: table_gone");
    let last = db.number("SELECT raw.qb_backfill('invoices', '2025-09-30', '2025-09-30')");
    let (mut client, heard) = db.listening();
    client.batch_execute(&format!("CALL raw.qb_wait({last})")).unwrap();
    assert!(heard.lock().unwrap().contains(&format!("WARNING: {}", said(91))), "{heard:?}");
    assert_eq!(db.of_run(last, "status"), "success");
    assert_eq!(db.rows(doctor), [[said(91).as_str(), cure]]);
    assert_eq!(db.number(GAPS), 91);
    let retried = db.number(cure.trim_end_matches(';'));
    heard.lock().unwrap().clear();
    client.batch_execute(&format!("CALL raw.qb_wait({retried})")).unwrap();
    assert!(!heard.lock().unwrap().iter().any(|line| line.contains("gone")), "{heard:?}");
    assert!(db.rows(doctor).is_empty(), "{:?}", db.rows(doctor));
    assert_eq!(db.number(GAPS), 0);
    db.check_equal("invoices", "Invoice");
}

#[test]
fn a_report_of_another_database_is_nobodys_at_a_second_attempt_either() {
    let db = company();
    let first = db.backfill("invoices");
    db.exec("UPDATE raw.backfill_report_invoices SET run_id = run_id + 1; TRUNCATE raw.qb_invoices");
    db.exec("ALTER TABLE raw.qb_invoices OWNER TO postgres");
    let next = db.queue("invoices");
    assert_eq!((next, db.ended(next).as_str()), (first + 1, "failed"));
    assert_eq!(db.of_run(next, "error_code"), "target_of_a_stranger");
    db.exec("ALTER TABLE raw.qb_invoices OWNER TO qbo_raw_owner");
    db.exec(&format!("SELECT raw.qb_resume({next})"));
    assert_eq!(db.ended(next), "success");
    db.check_equal("invoices", "Invoice");
    db.check_reports("invoices", next);
}

/// From now on some records of the company cannot be delivered: each is the first of its day, in the order in which pages are
/// asked for.
fn poison(db: &Database, records: u32) {
    let time = "(payload #>> '{MetaData,LastUpdatedTime}')::timestamptz AT TIME ZONE 'UTC'";
    let first = format!(
        "SELECT DISTINCT ON (({time})::date) id FROM raw.qb_invoices ORDER BY ({time})::date, {time}, id::int LIMIT {records}"
    );
    for id in db.rows(&first).concat() {
        db.sim.fault(When::Record("Invoice".to_owned(), id), Fault::named("4002").unwrap());
    }
}

/// What QuickBooks cannot deliver has no Id to be told apart by.
#[test]
fn two_records_that_cannot_be_delivered_are_two() {
    let db = company();
    db.backfill("invoices");
    poison(&db, 2);
    db.exec("TRUNCATE raw.qb_invoices");
    let run = db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, 1)"));
    assert_eq!(db.ended(run), "success", "{}", db.of_run(run, "error_message"));
    assert_eq!(db.of_run(run, "rejected_count"), "2");
    let kept = "SELECT count(*), count(DISTINCT window_start) FROM raw.qb_rejects";
    assert_eq!(db.rows(kept), [["2", "2"]]);
    // Once more is not one more.
    db.ended(db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, 1)")));
    assert_eq!(db.rows(kept), [["2", "2"]]);
}

/// Rejects are nowhere else, and their table is one for all entities.
#[test]
fn rejects_whose_table_is_gone_are_not_covered() {
    let db = company();
    db.backfill("invoices");
    poison(&db, 2);
    db.exec("TRUNCATE raw.qb_invoices");
    db.ended(db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, 1)")));
    db.exec("DROP TABLE raw.qb_rejects");
    let gaps = "SELECT reason, sum(days) FROM raw.qb_gaps('invoices', '2025-07-01', '2025-09-30') GROUP BY 1";
    assert_eq!(db.rows(gaps), [["failed: table_gone", "2"]]);
    let said = "2 days of invoices were stored in a table that is gone";
    let doctor = "SELECT result FROM raw.qb_check() WHERE subject = 'tables' AND NOT ok";
    assert_eq!(db.rows(doctor), [[said]]);
    let verdicts =
        format!("SELECT verdict, count(*) FROM raw.qb_verify('invoices', {RANGE}, 31) GROUP BY 1 ORDER BY 1");
    assert_eq!(db.rows(&verdicts), [["missing", "1"], ["same", "2"]]);
    // Another entity makes it again.
    db.backfill("items");
    assert_eq!(db.rows(gaps), [["failed: table_made_again", "2"]]);
    assert_eq!(db.rows(doctor), [[said]]);
    db.ended(db.number("SELECT raw.qb_retry_failed('invoices')"));
    assert_eq!(db.value("SELECT count(*) FROM raw.qb_rejects"), "2");
    assert!(db.rows(gaps).is_empty() && db.rows(doctor).is_empty());

    // In the middle of a run as well: held far behind the rejects, for which it asks again and again between the windows after
    // them, and with days left that will have some.
    wait_until("the worker left", seconds(30), || !db.has_worker());
    db.set("qbo_raw.fetch_threads", "1");
    db.sim.clear_log();
    let held = "LastUpdatedTime >= '2025-08-1";
    db.sim.fault(When::Statement(held.to_owned()), Fault::Stall(seconds(60)));
    let run = db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, 1)"));
    wait_until("the rejects are met", seconds(30), || db.of_run(run, "rejected_count") == "2");
    db.asked_for(held);
    db.exec("DROP TABLE raw.qb_rejects");
    db.sim.clear_faults();
    poison(&db, 60);
    db.sim.release();
    assert_eq!(db.ended(run), "partial");
    let said = "table_made_again: table qb_rejects was gone and is made again: what was stored in it before is not there";
    assert_eq!(db.of_run(run, "error_code || ': ' || error_message"), said);
    db.exec(&format!("SELECT raw.qb_resume({run})"));
    assert_eq!(db.ended(run), "success");
    assert!(db.number("SELECT count(*) FROM raw.qb_rejects WHERE window_start < '2025-08-01'") >= 2);
    assert!(db.rows(gaps).is_empty(), "{:?}", db.rows(gaps));
}

#[test]
fn a_reject_that_a_trigger_takes_away_is_not_stored() {
    let db = company();
    db.backfill("invoices");
    poison(&db, 1);
    db.exec(
        "TRUNCATE raw.qb_invoices;
         CREATE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
         CREATE TRIGGER t BEFORE INSERT ON raw.qb_rejects FOR EACH ROW EXECUTE FUNCTION public.f()",
    );
    let run = db.queue("invoices");
    assert_eq!(db.ended(run), "partial");
    assert_eq!(db.of_run(run, "error_code || ' ' || windows_failed"), "rows_skipped_by_target 1");
    db.exec("DROP TRIGGER t ON raw.qb_rejects");
    db.exec(&format!("SELECT raw.qb_resume({run})"));
    assert_eq!(db.ended(run), "success");
    // One that is kept already is not written again.
    db.backfill("invoices");
    assert_eq!(db.value("SELECT count(*) FROM raw.qb_rejects"), "1");
}

/// Numbers of runs begin at 1 in every database.
#[test]
fn a_report_of_another_database_is_not_taken_for_what_a_run_of_that_number_asked_for() {
    let db = company();
    db.backfill("invoices");
    let days = "SELECT count(*) FROM raw._qb_days('invoices', 'default', ";
    let other = db.number(&format!("SELECT raw.qb_backfill('items', {RANGE}, window_on => 'created')"));
    db.ended(other);
    db.exec(&format!("UPDATE raw.backfill_report_invoices SET run_id = {other}"));
    assert_eq!(db.number(&format!("{days} 'created')")), 0);
    assert_eq!(db.number(&format!("{days} 'updated')")), 92);
}

#[test]
fn a_clock_that_is_ahead_ends_no_day() {
    let db = Database::with(Options { clock_skew: chrono::TimeDelta::days(-2), ..Options::default() });
    let yesterday = "raw._qb_day_of(now()) - 1";
    let run = db.number(&format!("SELECT raw.qb_backfill('items', {yesterday}, {yesterday})"));
    assert_eq!(db.ended(run), "success");
    let status = "SELECT status FROM raw._qb_days('items', 'default', 'updated')";
    assert_eq!(db.value(status), "in part", "for QuickBooks it has not even begun");
}

/// What ends the worker, such as want of memory, may end every session of the server: not for ever.
#[test]
fn a_run_whose_worker_is_lost_again_and_again_ends() {
    let db = company();
    db.sim.fault(When::Always, Fault::Stall(seconds(60)));
    let run = db.queue("invoices");
    for lost in 0..10 {
        let worker = db.worker();
        assert_eq!(db.of_run(run, "lost_attempts || ' ' || status"), format!("{lost} running"));
        db.exec(&format!("SELECT pg_terminate_backend({worker})"));
        wait_until("the worker is gone", seconds(30), || !is_alive(worker));
        db.exec("SELECT raw.qb_tick()");
    }
    assert_eq!(db.ended(run), "failed");
    assert_eq!(db.of_run(run, "error_code || ' ' || lost_attempts"), "worker_lost 10");
    db.sim.clear_faults();
    db.sim.release();
    db.exec(&format!("SELECT raw.qb_resume({run})"));
    assert_eq!(db.ended(run), "success");
    assert_eq!(db.of_run(run, "lost_attempts"), "0");
}

#[test]
fn a_connection_keeps_its_company_and_its_name() {
    let db = company();
    db.backfill("invoices");
    for change in ["realm_id = NULL, refresh_token = NULL", "realm_id = '1'", "connection = 'acme'"] {
        let error = db.refused(&format!("UPDATE raw.qb_config SET {change}"));
        assert_eq!(error.sqlstate, "55000", "{change}: {error:?}");
    }
}

#[test]
fn a_window_that_a_live_run_gave_up_is_not_said_to_be_done() {
    let db = company();
    db.set("qbo_raw.fetch_threads", "1");
    db.sim.fault(When::Statement("LastUpdatedTime >= '2025-08-05".to_owned()), Fault::named("4001").unwrap());
    db.sim.fault(When::Statement("LastUpdatedTime >= '2025-09-".to_owned()), Fault::Stall(seconds(60)));
    let run = db.queue("invoices");
    wait_until("a window failed", seconds(30), || db.of_run(run, "windows_failed") == "1");
    let (mut client, heard) = db.listening();
    client.batch_execute("SELECT raw.qb_retry_failed('invoices')").unwrap();
    let said = format!("NOTICE: run {run} is in these days now: nothing is queued");
    assert!(heard.lock().unwrap().contains(&said), "{heard:?}");
    db.sim.clear_faults();
    db.sim.release();
    assert_eq!(db.ended(run), "partial");
    let retried = db.number("SELECT raw.qb_retry_failed('invoices')");
    assert_eq!(db.ended(retried), "success");
    db.check_equal("invoices", "Invoice");
}

#[test]
fn the_doctor_sees_what_a_run_counted() {
    let db = company();
    let ok = "SELECT ok FROM raw.qb_check() WHERE subject = 'runs'";
    // As every night: to a day that still goes on, of which nobody knows yet how much there will be.
    let nightly = format!("SELECT raw.qb_backfill('invoices', '2025-07-01', {TODAY}, 31)");
    db.sim.insert("Invoice").unwrap();
    let run = db.number(&nightly);
    assert_eq!(db.ended(run), "success");
    assert_eq!(db.of_run(run, "row_count || ' ' || source_count || ' ' || stored_count"), "301 300 300");
    assert_eq!(db.value(ok), "t");
    let lose = format!("UPDATE raw.qb_run SET source_count = stored_count + 1 WHERE run_id = {run}");
    db.exec(&lose);
    assert_eq!(db.value(ok), "f");
    db.exec(&format!("UPDATE raw.qb_run SET finished_at = now() - interval '1 year' WHERE run_id = {run}"));
    assert_eq!(db.value(ok), "f", "nothing else would ever say so");
    // It is mended by whatever fetches all of its days again.
    db.ended(db.number("SELECT raw.qb_backfill('invoices', '2025-07-01', '2025-08-15', 31)"));
    assert_eq!(db.value(ok), "f");
    db.ended(db.number(&format!("SELECT raw.qb_backfill('invoices', '2025-08-16', {TODAY}, 31)")));
    assert_eq!(db.value(ok), "t");

    // Of today alone there is nothing to count.
    let today = db.number(&format!("SELECT raw.qb_backfill('items', {TODAY}, {TODAY})"));
    assert_eq!(db.ended(today), "success");
    assert_eq!(db.of_run(today, "source_count"), "");
}

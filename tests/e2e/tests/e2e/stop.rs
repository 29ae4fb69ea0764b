//! Stopping, in every state: during a stall of QuickBooks, a back-off, a wait for a lock. And what is left after a crash.

use crate::launcher::hold_back;
use qbo_e2e::{Database, RANGE, Server, Times, is_alive, seconds, wait_until};
use qbo_sim::{Fault, Options, When};
use std::time::{Duration, Instant};

/// A second, and what a machine without time costs. Whoever does not obey stays for twenty seconds, thirty or for ever.
const AT_ONCE: Duration = Duration::from_secs(5);

/// How long a process stays when something ends it that has more to do afterwards.
pub fn stays<T: Send>(process: i32, end: impl FnOnce() -> T + Send) -> Duration {
    std::thread::scope(|scope| {
        let began = Instant::now();
        scope.spawn(end);
        wait_until("the process is gone", seconds(60), || !is_alive(process));
        began.elapsed()
    })
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Stall,
    TokenBackOff,
    BackOff,
    LockWait,
    ReportLockWait,
    FailureLockWait,
    TokenLockWait,
}

const STATES: [State; 7] = [
    State::Stall,
    State::TokenBackOff,
    State::BackOff,
    State::LockWait,
    State::ReportLockWait,
    State::FailureLockWait,
    State::TokenLockWait,
];

/// A run in this state, and what keeps it there.
fn run_in(db: &Database, state: State) -> (i64, Option<postgres::Client>) {
    match state {
        State::Stall => {
            db.sim.fault(When::From(3), Fault::Stall(seconds(30)));
            let run = db.queue("invoices");
            wait_until("it stalls", seconds(30), || db.sim.request_count() >= 3);
            (run, None)
        }
        State::TokenBackOff => {
            db.sim.fault(When::Token, Fault::named("503").unwrap());
            let run = db.queue("invoices");
            wait_until("it asks for a token", seconds(30), || {
                db.value("SELECT auth_state FROM raw.qb_config") == "refreshing"
            });
            std::thread::sleep(Duration::from_millis(300));
            (run, None)
        }
        State::BackOff => {
            db.set("qbo_raw.retry_delay", "30s");
            db.sim.fault(When::From(3), Fault::named("503").unwrap());
            let run = db.queue("invoices");
            wait_until("it backs off", seconds(30), || db.sim.request_count() >= 4);
            std::thread::sleep(Duration::from_millis(200));
            (run, None)
        }
        State::LockWait => {
            loaded(db);
            waits_for(db, "LOCK TABLE raw.qb_invoices IN ACCESS EXCLUSIVE MODE")
        }
        State::ReportLockWait => {
            loaded(db);
            waits_for(db, "LOCK TABLE raw.backfill_report_invoices IN ACCESS EXCLUSIVE MODE")
        }
        State::FailureLockWait => {
            loaded(db);
            // It has begun when the table is locked, and then has a failure to report.
            db.sim.fault(When::Statement("FROM Invoice".to_owned()), Fault::named("4001").unwrap());
            db.sim.set_latency(seconds(60));
            let (seen, run) = (db.sim.request_count(), db.queue("invoices"));
            wait_until("it asks", seconds(30), || db.sim.request_count() > seen);
            let holder = holding(db, "LOCK TABLE raw.backfill_report_invoices IN SHARE MODE");
            db.sim.set_latency(Duration::ZERO);
            db.sim.release();
            wait_until("it waits for the lock", seconds(30), || is_waiting(db));
            (run, Some(holder))
        }
        State::TokenLockWait => {
            db.exec("UPDATE raw.qb_config SET access_token = NULL, access_expires_at = NULL");
            waits_for(db, "UPDATE raw.qb_config SET responsible = 'somebody'")
        }
    }
}

/// Everything is stored, and who did it has left: the next run's worker is the only one.
fn loaded(db: &Database) {
    db.backfill("invoices");
    wait_until("the worker left", seconds(30), || !db.has_worker());
}

/// A run that waits for what somebody holds.
fn waits_for(db: &Database, hold: &str) -> (i64, Option<postgres::Client>) {
    let holder = holding(db, hold);
    let run = db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, 9)"));
    wait_until("it waits for the lock", seconds(30), || is_waiting(db));
    (run, Some(holder))
}

fn holding(db: &Database, hold: &str) -> postgres::Client {
    let mut holder = db.client();
    holder.batch_execute(&format!("BEGIN; {hold}")).unwrap();
    holder
}

fn is_waiting(db: &Database) -> bool {
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
                    AND backend_type = 'qbo_raw worker'";
    db.number(waits) > 0
}

#[test]
fn cancel_ends_a_run_within_a_second_in_every_state() {
    for state in STATES {
        let db = Database::new();
        let (run, holder) = run_in(&db, state);
        db.exec(&format!("SELECT raw.qb_cancel({run})"));
        assert_eq!(db.ended(run), "cancelled", "{state:?}");
        let took = db.of_run(run, "extract(epoch FROM finished_at - cancel_requested_at)");
        assert!(took.parse::<f64>().unwrap() <= AT_ONCE.as_secs_f64(), "{state:?}: {took} s");
        drop(holder);
        // The next run is not hindered by the one that was cancelled.
        db.sim.clear_faults();
        wait_until("the worker left", seconds(30), || !db.has_worker());
        db.set("qbo_raw.retry_delay", "20ms");
        let again = db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, 11)"));
        assert_eq!(db.ended(again), "success", "{state:?}: {}", db.of_run(again, "error_message"));
        db.check_equal("invoices", "Invoice");
    }
}

#[test]
fn terminate_ends_the_worker_within_a_second_in_every_state() {
    for state in STATES {
        let db = Database::new();
        let (run, holder) = run_in(&db, state);
        let (worker, mut client) = (db.worker(), db.client());
        let end = format!("SELECT pg_terminate_backend({worker})");
        let took = stays(worker, || client.batch_execute(&end).unwrap());
        assert!(took <= AT_ONCE, "{state:?}: {took:?}");
        drop(holder);
        assert_eq!(db.of_run(run, "status"), "running", "{state:?}: its row says what is left to do");
        db.sim.clear_faults();
        db.set("qbo_raw.retry_delay", "20ms");
        assert_eq!(db.number("SELECT raw.qb_tick()"), 1);
        assert_eq!(db.ended(run), "success", "{state:?}: {}", db.of_run(run, "error_message"));
        db.check_equal("invoices", "Invoice");
    }
}

#[test]
fn pg_cancel_backend_interrupts_a_statement_and_not_the_run() {
    let db = Database::new();
    let (run, holder) = run_in(&db, State::LockWait);
    let worker = db.worker();
    db.exec(&format!("SELECT pg_cancel_backend({worker})"));
    std::thread::sleep(Duration::from_millis(300));
    drop(holder);
    assert_eq!(db.ended(run), "success");
    let db = Database::new();
    let (run, _) = run_in(&db, State::Stall);
    db.exec(&format!("SELECT pg_cancel_backend({})", db.worker()));
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(db.of_run(run, "status"), "running");
    db.exec(&format!("SELECT raw.qb_cancel({run})"));
    assert_eq!(db.ended(run), "cancelled");
}

/// PostgreSQL looks for a cancel at the end of each line of its log, and would raise an error there.
#[test]
fn a_cancel_that_comes_with_a_line_of_the_log_interrupts_nothing() {
    let server = Server::breakable("");
    let db = Database::on(&server, Options::default());
    db.set("qbo_raw.log_level", "log");
    server.cancels_with(Times::FromNowOn, "LOG:  qbo_raw: ");
    let run = db.queue("invoices");
    assert_eq!(db.ended_within(run, seconds(30)), "success", "{}", db.log());
    let log = db.log();
    assert!(log.contains(&format!("run {run} was interrupted and goes on")), "no cancel came: {log}");
    assert!(!log.contains("exited with exit code"), "{log}");
    db.check_equal("invoices", "Invoice");
    db.check_reports("invoices", run);
}

#[test]
fn a_cancel_that_is_rolled_back_cancels_nothing() {
    let db = Database::new();
    db.sim.fault_times(When::From(3), Fault::Stall(seconds(60)), 1);
    let run = db.queue("invoices");
    wait_until("it works", seconds(30), || db.sim.request_count() >= 3);
    db.exec(&format!("BEGIN; SELECT raw.qb_cancel({run}); ROLLBACK"));
    // It looks once a second.
    std::thread::sleep(Duration::from_millis(1_500));
    db.sim.release();
    assert_eq!(db.ended(run), "success");
}

#[test]
fn drop_database_force_takes_effect_within_a_second() {
    for state in STATES {
        let db = Database::new();
        let (_, holder) = run_in(&db, state);
        let worker = db.worker();
        let mut outside = db.server.connect("postgres", "postgres").unwrap();
        let end = format!("DROP DATABASE {} WITH (FORCE)", db.name);
        let took = stays(worker, || outside.batch_execute(&end).unwrap());
        assert!(took <= AT_ONCE, "{state:?}: {took:?}");
        drop(holder);
    }
}

#[test]
fn another_database_is_dropped_while_a_run_stalls() {
    let db = Database::new();
    let (run, _) = run_in(&db, State::Stall);
    let began = Instant::now();
    db.server.sql("postgres", "CREATE DATABASE bystander");
    db.server.sql("postgres", "DROP DATABASE bystander");
    assert!(began.elapsed() <= seconds(20), "{:?}", began.elapsed());
    db.exec(&format!("SELECT raw.qb_cancel({run})"));
}

#[test]
fn no_snapshot_is_held_while_quickbooks_is_waited_for() {
    let db = Database::new();
    let (run, _) = run_in(&db, State::Stall);
    let worker = db.worker();
    // Longer than what is counted.
    let until = Instant::now() + seconds(6);
    while Instant::now() < until {
        let held = db.rows(&format!(
            "SELECT count(*) FILTER (WHERE backend_xmin IS NOT NULL OR backend_xid IS NOT NULL) FROM pg_stat_activity WHERE pid = {worker} AND clock_timestamp() - xact_start > '4 s'"
        ));
        assert_eq!(held, [["0"]]);
        std::thread::sleep(Duration::from_millis(50));
    }
    // It looks once a second whether it is cancelled, which takes locks for a moment.
    let locks = format!(
        "SELECT locktype, mode FROM pg_locks WHERE pid = {worker} AND locktype NOT IN ('advisory', 'virtualxid')"
    );
    wait_until("it holds no lock", seconds(10), || db.rows(&locks).is_empty());
    db.exec(&format!("SELECT raw.qb_cancel({run})"));
}

#[test]
fn a_fast_shutdown_takes_three_seconds_at_most_and_the_run_goes_on_afterwards() {
    let server = Server::private("");
    for state in STATES {
        let db = Database::on(&server, Options::default());
        let (run, holder) = run_in(&db, state);
        let took = stays(db.worker(), || server.stop("fast"));
        // Whoever does not obey takes twenty at least.
        assert!(took <= seconds(10), "{state:?}: {took:?}");
        drop(holder);
        server.start();
        db.sim.clear_faults();
        db.set("qbo_raw.retry_delay", "20ms");
        let status = db.of_run(run, "status");
        assert!(["running", "success"].contains(&status.as_str()), "{state:?}: {status}");
        if status == "running" {
            db.exec("SELECT raw.qb_tick()");
        }
        assert_eq!(db.ended(run), "success", "{state:?}");
        db.check_equal("invoices", "Invoice");
    }
}

#[test]
fn a_smart_shutdown_waits_for_sessions_and_not_for_the_run() {
    let server = Server::private("");
    let db = Database::on(&server, Options::default());
    let (run, _) = run_in(&db, State::Stall);
    let (session, worker) = (db.client(), db.worker());
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| server.stop("smart"));
        std::thread::sleep(seconds(1));
        assert!(!stopping.is_finished(), "a session is still there");
        drop(session);
        let began = Instant::now();
        wait_until("the worker is gone", seconds(60), || !is_alive(worker));
        // The stall lasts for thirty.
        assert!(began.elapsed() <= seconds(10), "{:?}", began.elapsed());
        stopping.join().unwrap();
    });
    server.start();
    db.sim.clear_faults();
    assert_eq!((db.of_run(run, "status").as_str(), db.number("SELECT raw.qb_tick()")), ("running", 1));
    assert_eq!(db.ended(run), "success");
    db.check_equal("invoices", "Invoice");
}

#[test]
fn kill_9_in_a_window_loses_nothing_and_asks_for_nothing_twice() {
    let server = Server::private("");
    let db = Database::on(&server, Options { latency: Duration::from_millis(15), ..Options::default() });
    hold_back(&db);
    let run = db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, 1, 5)"));
    wait_until("some windows are stored", seconds(20), || {
        db.of_run(run, "windows_done").parse::<i32>().unwrap() >= 5
    });
    db.sim.set_latency(seconds(2));
    let checkpointer = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'";
    let before = db.value(checkpointer);
    // SAFETY: the worker of our own server.
    unsafe { libc::kill(db.worker(), libc::SIGKILL) };
    // The postmaster restarts everything; it is back when another checkpointer runs.
    wait_until("the server is back", seconds(30), || {
        let seen = server
            .connect(&db.name, "postgres")
            .and_then(|mut client| qbo_e2e::rows(&mut client, checkpointer));
        seen.is_ok_and(|rows| rows.concat().first().is_some_and(|pid| *pid != before))
    });
    assert_eq!(db.of_run(run, "status"), "running");
    let stored = db.rows("SELECT to_char(window_start AT TIME ZONE 'UTC', 'YYYY-MM-DD') FROM raw.backfill_report_invoices WHERE status = 'success'").concat();
    let rows = db.number("SELECT count(*) FROM raw.qb_invoices");
    let sum = db.number("SELECT sum(row_count) FROM raw.backfill_report_invoices WHERE status = 'success'");
    assert_eq!(rows, sum, "a window is whole or absent");
    let asked_before = db.sim.request_count();

    db.sim.clear_faults();
    db.sim.set_latency(Duration::ZERO);
    assert_eq!(db.number("SELECT raw.qb_tick()"), 1);
    assert_eq!(db.ended(run), "success");
    assert_eq!(db.of_run(run, "attempt"), "2");
    db.check_equal("invoices", "Invoice");
    db.check_reports("invoices", run);
    // The count at the end is of the whole range.
    let later = db.sim.requests_after(asked_before);
    for request in later.iter().filter(|request| !request.statement.contains("COUNT(*)")) {
        for day in &stored {
            assert!(
                !request.statement.contains(&format!(">= '{day}T")),
                "{day} was stored and asked for again"
            );
        }
    }
}

#[test]
fn qb_wait_picks_up_a_run_that_lost_its_worker() {
    let db = Database::new();
    db.sim.fault_times(When::From(3), Fault::Stall(seconds(30)), 4);
    let run = db.queue("invoices");
    wait_until("it works", seconds(30), || db.sim.request_count() >= 3);
    db.exec(&format!("SELECT pg_terminate_backend({})", db.worker()));
    db.sim.clear_faults();
    db.exec(&format!("CALL raw.qb_wait({run})"));
    assert_eq!(db.of_run(run, "status"), "success");
}

#[test]
fn no_free_worker_slot_leaves_the_run_queued_with_a_warning() {
    let server = Server::private("max_worker_processes = 1");
    let db = Database::on(&server, Options::default());
    let (mut client, heard) = db.listening();
    client.batch_execute(&format!("SELECT raw.qb_backfill('items', {RANGE})")).unwrap();
    let heard = heard.lock().unwrap().clone();
    assert!(
        heard.iter().any(|line| line.starts_with("WARNING: no background worker slot is free")),
        "{heard:?}"
    );
    assert_eq!(db.value("SELECT status FROM raw.qb_run"), "queued");
}

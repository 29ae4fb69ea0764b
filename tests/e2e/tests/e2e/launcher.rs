//! With the library preloaded, runs go on by themselves; and the launcher is in nobody's way.

use crate::stop::stays;
use qbo_e2e::{Database, RANGE, Server, is_alive, seconds, wait_until};
use qbo_sim::{Fault, Options, When};
use std::time::Duration;

pub const PRELOADED: &str = "shared_preload_libraries = 'qbo_raw'";

pub fn slow() -> Options {
    Options { latency: Duration::from_millis(80), ..Options::default() }
}

/// The last days of the range are not answered until `let_go`: however late a test looks, its run has not ended by itself.
pub fn hold_back(db: &Database) {
    let late = When::Statement("LastUpdatedTime >= '2025-09-2".to_owned());
    db.sim.fault(late, Fault::Stall(seconds(60)));
}

/// From now on they are; other faults are gone as well.
pub fn let_go(db: &Database) {
    db.sim.clear_faults();
    db.sim.release();
}

/// Begins a run by days and waits until some windows are stored, and many are not. The last ones wait for `let_go`.
fn halfway(db: &Database) -> i64 {
    hold_back(db);
    let run = db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, 1)"));
    stored(db, run, 4);
    run
}

pub fn stored(db: &Database, run: i64, windows: i32) {
    wait_until("some windows are stored", seconds(20), || {
        db.of_run(run, "windows_done").parse::<i32>().unwrap() >= windows
    });
}

fn end(db: &Database, run: i64) {
    assert_eq!(db.ended_within(run, seconds(30)), "success");
    db.check_equal("invoices", "Invoice");
    db.check_reports("invoices", run);
    assert_eq!(db.of_run(run, "attempt"), "2");
}

#[test]
fn a_restart_in_mid_run_is_made_good_within_ten_seconds() {
    let server = Server::private(PRELOADED);
    let db = Database::on(&server, slow());
    let run = halfway(&db);
    server.stop("fast");
    let_go(&db);
    server.start();
    wait_until("it goes on", seconds(10), || db.of_run(run, "attempt") == "2");
    end(&db, run);
    let log = server.log();
    assert!(!log.contains("\"qbo_raw launcher\" due to"), "{log}");
}

#[test]
fn a_crash_in_mid_run_is_made_good_within_ten_seconds() {
    let server = Server::private(PRELOADED);
    let db = Database::on(&server, slow());
    let run = halfway(&db);
    // SAFETY: the worker of our own server.
    unsafe { libc::kill(db.worker(), libc::SIGKILL) };
    let_go(&db);
    wait_until("it goes on", seconds(20), || {
        let look = format!("SELECT attempt FROM raw.qb_run WHERE run_id = {run}");
        let seen =
            server.connect(&db.name, "postgres").and_then(|mut client| qbo_e2e::rows(&mut client, &look));
        seen.is_ok_and(|rows| rows == [["2"]])
    });
    end(&db, run);
}

#[test]
fn a_worker_that_was_terminated_and_a_run_that_was_put_aside_go_on() {
    let server = Server::private(PRELOADED);
    let db = Database::on(&server, slow());
    let run = halfway(&db);
    let worker = db.worker();
    db.exec(&format!("SELECT pg_terminate_backend({worker})"));
    wait_until("the worker is gone", seconds(30), || !is_alive(worker));
    let_go(&db);
    wait_until("it goes on", seconds(20), || db.of_run(run, "attempt") == "2");
    end(&db, run);
    db.sim.fault_times(When::Always, Fault::named("503:400").unwrap(), 1);
    let run = db.queue("items");
    wait_until("it is put aside", seconds(30), || !db.of_run(run, "not_before").is_empty());
    db.exec("UPDATE raw.qb_run SET not_before = now() + interval '1 second' WHERE not_before IS NOT NULL");
    wait_until("it goes on", seconds(20), || db.of_run(run, "attempt") == "2");
    assert_eq!(db.ended(run), "success");
}

#[test]
fn the_launcher_is_in_nobodys_way() {
    let server = Server::private(&format!("{PRELOADED}\nlog_connections = on"));
    let db = Database::on(&server, Options::default());
    server.sql("postgres", "CREATE DATABASE without");
    server.sql("postgres", "CREATE DATABASE closed ALLOW_CONNECTIONS false");
    db.backfill("items");
    let launcher =
        "SELECT pid FROM pg_stat_activity WHERE backend_type = 'qbo_raw launcher' AND datname IS NULL";
    wait_until("the launcher is there", seconds(30), || !db.value(launcher).is_empty());
    let before = server.log().len();
    // Two rounds.
    std::thread::sleep(seconds(21));
    let quiet = server.log()[before..].to_owned();
    assert!(!quiet.contains("qbo_raw launcher") && !quiet.contains("qbo_raw errand"), "{quiet}");
    // No session of it stays in a database, so all of these work without force; and whoever is sent to a database that
    // goes at this moment would say so.
    let resting = "SELECT state = 'idle' AND clock_timestamp() - state_change < '1 s' FROM pg_stat_activity
                    WHERE backend_type = 'qbo_raw launcher' AND datname IS NULL";
    let between_rounds =
        || wait_until("the launcher is between two rounds", seconds(30), || db.value(resting) == "t");
    between_rounds();
    server.sql("postgres", "DROP DATABASE without");
    db.exec("DROP EXTENSION qbo_raw");
    db.exec("CREATE EXTENSION qbo_raw");
    db.connect_company();
    db.backfill("customers");
    wait_until("its worker leaves", seconds(30), || !db.has_worker());
    between_rounds();
    server.sql("postgres", &format!("DROP DATABASE {}", db.name));
    // An autovacuum worker may find its database dropped, which is no business of ours.
    let log = server.log();
    let faulty: Vec<&str> = log
        .lines()
        .filter(|line| ["ERROR:", "FATAL:", "PANIC:"].iter().any(|level| line.contains(level)))
        .filter(|line| !line.contains(" autovacuum worker "))
        .collect();
    assert!(faulty.is_empty(), "{faulty:#?}");
    // Terminated, it comes back.
    let mut client = server.connect("postgres", "postgres").unwrap();
    let pid = qbo_e2e::rows(&mut client, launcher).unwrap().concat();
    client.batch_execute(&format!("SELECT pg_terminate_backend({})", pid[0])).unwrap();
    wait_until("another launcher is there", seconds(15), || {
        let now = qbo_e2e::rows(&mut client, launcher).unwrap().concat();
        now.first().is_some_and(|now| *now != pid[0])
    });
    let launcher = qbo_e2e::rows(&mut client, launcher).unwrap().concat()[0].parse().unwrap();
    // It has just begun; one that does not hear would sleep for ten seconds.
    assert!(stays(launcher, || server.stop("fast")) < seconds(6));
}

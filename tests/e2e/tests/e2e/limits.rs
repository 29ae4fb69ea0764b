//! What the system does not give: processes, threads, files, memory; and what it gives too much of: signals. The run says what
//! it lacked, nothing ends but the worker at most, and it goes on when there is enough again.

use crate::disk::goes_on;
use crate::hazards::nothing_half_stored;
use crate::launcher::{hold_back, let_go};
use qbo_e2e::{Database, Limit, RANGE, Server, is_alive, is_reaped, rows, seconds, signal, wait_until};
use qbo_sim::{Fault, Options, When};
use std::time::Duration;

/// A run whose first answer comes when the simulator is released.
fn begun(db: &Database, entity: &str) -> i64 {
    db.sim.fault_times(When::Next(1), Fault::Stall(seconds(60)), 1);
    let seen = db.sim.request_count();
    let run = db.queue(entity);
    wait_until("it works", seconds(30), || db.sim.request_count() > seen);
    run
}

fn checked(db: &Database, run: i64) {
    assert_eq!(db.ended(run), "success", "{}", db.of_run(run, "error_message"));
    db.check_equal("invoices", "Invoice");
    db.check_reports("invoices", run);
}

#[test]
fn no_process_for_a_worker_leaves_the_run_queued() {
    let server = Server::private("");
    let db = Database::on(&server, Options::default());
    let mut client = db.client();
    let limit = Limit::new(server.postmaster(), "nproc", 1);
    let run = rows(&mut client, &format!("SELECT raw.qb_backfill('invoices', {RANGE})")).unwrap()[0][0]
        .parse()
        .unwrap();
    // Autovacuum lacks one too, and is not who is waited for.
    wait_until("the log says so", seconds(30), || {
        server.log().lines().any(|line| line.contains("could not fork") && !line.contains("autovacuum"))
    });
    drop(limit);
    assert_eq!(db.of_run(run, "status"), "queued");
    // The slot of the worker that was not started is free again.
    assert_eq!(db.number("SELECT raw.qb_tick()"), 1);
    checked(&db, run);
}

#[test]
fn no_thread_for_a_run_is_said_and_the_next_one_has_them() {
    let db = Database::new();
    begun(&db, "items");
    let waiting = db.queue("invoices");
    // The threads of the first run are there already.
    let limit = Limit::new(db.worker(), "nproc", 1);
    db.sim.release();
    wait_until("it is its turn", seconds(30), || db.of_run(waiting, "status") != "queued");
    assert_eq!(db.ended(waiting), "failed");
    drop(limit);
    let said = db.rows(&format!(
        "SELECT error_code, error_message, error_hint FROM raw.qb_run WHERE run_id = {waiting}"
    ));
    assert_eq!(said[0][0], "insufficient_resources", "{said:?}");
    assert!(said[0][1].contains("thread") && said[0][2].contains("processes"), "{said:?}");
    db.exec(&format!("SELECT raw.qb_resume({waiting})"));
    checked(&db, waiting);
}

#[test]
fn no_file_descriptor_for_a_connection_is_tried_again() {
    let db = Database::new();
    // Not so few that they are used up meanwhile.
    db.set_all(&[("qbo_raw.retry_delay", "300ms"), ("qbo_raw.max_retries", "20")]);
    let run = begun(&db, "invoices");
    // No connection can be used again.
    db.sim.fault(When::Always, Fault::named("reset").unwrap());
    // As many as are open always: PostgreSQL closes a file when it needs another, and would leave its number to a connection.
    let limit = Limit::new(db.worker(), "nofile", 3);
    db.sim.release();
    wait_until("the first answer came", seconds(30), || db.sim.requests()[0].status == 200);
    // What was under way, and one more on each connection that is open.
    std::thread::sleep(seconds(2));
    let seen = db.sim.request_count();
    std::thread::sleep(seconds(2));
    // One may have been late; each window tries again in this time.
    let more = db.sim.request_count() - seen;
    assert!(more <= 1, "{more} requests without a file for them");
    db.sim.clear_faults();
    assert_eq!(db.of_run(run, "status"), "running");
    drop(limit);
    // PostgreSQL may have lacked one itself, and the worker have left.
    if !db.has_worker() {
        db.exec("SELECT raw.qb_tick()");
    }
    checked(&db, run);
}

#[test]
fn no_memory_ends_a_window_or_the_worker_and_nothing_is_half_stored() {
    let server = Server::private("");
    let counts = vec![("Invoice".to_owned(), 3_000)];
    let db = Database::on(&server, Options { counts, ..Options::default() });
    // One window of three large pages.
    db.sim.fault_times(When::Next(1), Fault::Stall(seconds(60)), 1);
    let run = db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, 92, 1000)"));
    wait_until("it works", seconds(30), || db.sim.request_count() > 0);
    let worker = db.worker();
    let status = std::fs::read_to_string(format!("/proc/{worker}/statm")).unwrap();
    // What it may write to. Of the address space glibc takes a large piece for a heap before it uses it.
    let pages: u64 = status.split_whitespace().nth(5).unwrap().parse().unwrap();
    let limit = Limit::new(worker, "data", pages * 4096 + (1 << 20));
    db.sim.release();
    wait_until("the worker is gone", seconds(30), || is_reaped(worker));
    drop(limit);
    server.wait_ready();
    nothing_half_stored(&db, "no memory");
    assert_ne!(db.of_run(run, "status"), "success", "it was short of nothing");
    goes_on(&db, run);
    db.check_reports("invoices", run);
}

/// Signals that others send to a backend, by the thousand and to each of its threads.
fn storm(worker: i32) -> usize {
    let kinds = [libc::SIGUSR1, libc::SIGHUP, libc::SIGURG, libc::SIGUSR2, libc::SIGPIPE, libc::SIGALRM];
    let mut sent = 0;
    while sent < 20_000 && is_alive(worker) {
        let threads = std::fs::read_dir(format!("/proc/{worker}/task")).unwrap();
        for thread in threads.flatten() {
            let thread: i64 = thread.file_name().to_str().unwrap().parse().unwrap();
            for kind in kinds {
                signal(worker, kind);
                // SAFETY: only sends.
                unsafe { libc::syscall(libc::SYS_tgkill, i64::from(worker), thread, i64::from(kind)) };
                sent += 2;
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    sent
}

#[test]
fn signals_by_the_thousand_change_nothing() {
    let server = Server::private("");
    let db = Database::on(&server, Options { latency: Duration::from_millis(40), ..Options::default() });
    hold_back(&db);
    let run = db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, 1)"));
    let worker = db.worker();
    wait_until("it works", seconds(30), || db.sim.request_count() >= 3);
    db.sim.set_latency(seconds(1));
    let sent = storm(worker);
    let_go(&db);
    db.sim.set_latency(Duration::ZERO);
    assert!(sent > 5_000, "{sent} signals");
    checked(&db, run);
    assert_eq!(db.of_run(run, "attempt"), "1");
    assert!(!server.log().contains("terminated by signal"), "{}", server.log());
}

#[test]
fn a_reload_in_mid_run_is_heard_and_disturbs_nothing() {
    let server = Server::private("");
    let db = Database::on(&server, Options { latency: Duration::from_millis(100), ..Options::default() });
    let set = |setting: &str| {
        let mut client = server.connect("postgres", "postgres").unwrap();
        for statement in ["LOAD 'qbo_raw'", &format!("ALTER SYSTEM SET {setting}"), "SELECT pg_reload_conf()"]
        {
            client.batch_execute(statement).unwrap();
        }
    };
    hold_back(&db);
    let run = db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, 1)"));
    let waiting = db.queue("items");
    wait_until("some windows are stored", seconds(30), || {
        db.number("SELECT max(windows_done) FROM raw.qb_run") >= 5
    });
    db.sim.set_latency(seconds(2));
    let before = server.log().contains(&format!("run {run} window"));
    set("qbo_raw.log_level = 'log'");
    set("qbo_raw.enabled = off");
    let enabled = || db.rows("SHOW qbo_raw.enabled").concat();
    wait_until("it is switched off", seconds(10), || enabled() == ["off"]);
    let_go(&db);
    db.sim.set_latency(Duration::ZERO);
    checked(&db, run);
    assert!(!before && server.log().contains(&format!("run {run} window")), "{}", server.log());
    // What was switched off begins nothing new.
    wait_until("the worker leaves", seconds(30), || !db.has_worker());
    assert_eq!((db.of_run(run, "attempt").as_str(), db.of_run(waiting, "status").as_str()), ("1", "queued"));
    set("qbo_raw.enabled = on");
    wait_until("it may work again", seconds(10), || enabled() == ["on"]);
    assert_eq!((db.number("SELECT raw.qb_tick()"), db.ended(waiting).as_str()), (1, "success"));
}

#[test]
fn a_server_that_does_not_restart_by_itself_goes_on_when_it_is_started() {
    let server = Server::private("restart_after_crash = off");
    let db = Database::on(&server, Options { latency: Duration::from_millis(100), ..Options::default() });
    let mut bystander = db.client();
    hold_back(&db);
    let run = db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, 1)"));
    wait_until("some windows are stored", seconds(30), || {
        db.number("SELECT windows_done FROM raw.qb_run") >= 5
    });
    let (worker, postmaster) = (db.worker(), server.postmaster());
    // Not the worker itself: any backend that is killed takes the others with it.
    let other = rows(&mut bystander, "SELECT pg_backend_pid()").unwrap()[0][0].parse().unwrap();
    signal(other, libc::SIGKILL);
    wait_until("the server is down", seconds(30), || !is_alive(postmaster));
    assert!(!is_alive(worker), "it outlived its server");
    server.start();
    let_go(&db);
    assert_eq!(db.of_run(run, "status"), "running");
    assert_eq!(db.number("SELECT raw.qb_tick()"), 1);
    checked(&db, run);
}

//! `qb_cancel` while the worker is at a named point: wherever that is, the run ends by itself, and the worker lives.

use crate::stage::{STRUCK, Scene, recurs, side_by_side};
use crate::truth::check;
use qbo_e2e::{AtLast, Database, RANGE, Server, is_alive, points, seconds, signal, wait_until};
use qbo_sim::{Fault, Options, When};
use std::time::Duration;

/// Points of sessions, and of the workers of their questions, belong to no run.
const OF_NO_RUN: [&str; 2] = ["call@", "errand@"];

#[test]
fn a_run_is_cancelled_wherever_its_worker_is() {
    let points = points();
    let of_a_run = |point: &&String| !OF_NO_RUN.iter().any(|group| point.starts_with(group));
    let numbered: Vec<(usize, &String)> = points.iter().filter(of_a_run).enumerate().collect();
    side_by_side(&numbered, |server, (number, point)| {
        let pass = if recurs(point) { *number as u32 % 3 } else { 0 };
        let scene = Scene::new(server, format!("cancelled at {point}, arrival {}", pass + 1), *number);
        let (db, name, before) = (&scene.db, &scene.name, server.log_length());
        let mut watch = db.watch();
        scene.prepare(point);
        // Slow enough that windows are left when it is held, wherever that is before the end.
        db.sim.set_latency(Duration::from_millis(200));
        server.arm(point, pass);
        let run = watch.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, 3)"));
        server.wait_held(name, seconds(20));
        // Who does not hear of it asks on, and that takes long.
        db.sim.set_latency(seconds(4));
        let all = "SELECT windows_done + windows_failed = windows_total FROM raw.qb_run";
        let done = watch.value(all) == "t";
        std::thread::scope(|scope| {
            let _free = AtLast(|| server.disarm());
            let call = scope.spawn(|| db.exec(&format!("SELECT raw.qb_cancel({run})")));
            // It waits while the worker is held with the run's row in its hands.
            let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'qb_cancel[(]'";
            wait_until(name, seconds(20), || call.is_finished() || watch.number(waits) > 0);
        });
        // A token call under way is heard to its end; a tick would bring another worker, so there is none.
        let status = watch.ended(run, seconds(15));
        let whole = ["success", "partial"].contains(&status.as_str());
        assert_eq!((status == "cancelled", whole), (!done, done), "{name}: {status}\n{}", db.log());
        let log = server.log_from(before);
        assert!(!log.contains("exited with exit code"), "{name}: {log}");
        db.sim.set_latency(Duration::ZERO);
        db.sim.clear_faults();
        if status != "success" {
            watch.value(&format!("SELECT raw.qb_resume({run})"));
            assert_eq!(watch.ended(run, seconds(30)), "success", "{name}\n{}", db.log());
        }
        watch.check_equal("invoices", "Invoice");
        check(watch.session(), db, "invoices", "Invoice", name, &scene.world);
    });
    println!("{} cancels", numbered.len());
}

#[test]
fn a_run_that_is_told_to_end_is_not_joined() {
    let server = Server::private(STRUCK);
    let db = Database::on(&server, Options::default());
    let call = format!("SELECT raw.qb_backfill('invoices', {RANGE})");
    server.arm("window@handed_out", 0);
    let run = db.number(&call);
    server.wait_held("window@handed_out", seconds(20));
    db.exec(&format!("SELECT raw.qb_cancel({run})"));
    let error = db.refused(&call);
    assert_eq!((error.sqlstate.as_str(), error.message), ("55000", format!("run {run} is being cancelled")));
    assert!(error.hint.contains(&format!("CALL raw.qb_wait({run});")), "{}", error.hint);
    server.disarm();
    assert_eq!(db.ended(run), "cancelled");
    assert_eq!(db.ended(db.number(&call)), "success");
}

#[test]
fn a_run_that_is_put_aside_when_it_is_cancelled_ends() {
    let server = Server::private(STRUCK);
    let db = Database::on(&server, Options::default());
    db.sim.fault_times(When::Next(1), Fault::named("503:400").unwrap(), 1);
    server.arm("run@ending", 0);
    let run = db.queue("invoices");
    server.wait_held("run@ending", seconds(20));
    db.exec(&format!("SELECT raw.qb_cancel({run})"));
    server.disarm();
    assert_eq!(db.ended(run), "cancelled", "{}", db.log());
    assert!(!db.of_run(run, "finished_at").is_empty());
}

/// A run whose worker is gone.
fn left_behind(db: &Database) -> i64 {
    db.sim.fault(When::Always, Fault::Stall(seconds(60)));
    let run = db.queue("invoices");
    wait_until("it asks", seconds(20), || db.sim.request_count() > 0);
    let worker = db.worker();
    signal(worker, libc::SIGTERM);
    wait_until("the worker is gone", seconds(20), || !is_alive(worker));
    db.sim.clear_faults();
    db.sim.release();
    assert_eq!(db.of_run(run, "status"), "running");
    run
}

#[test]
fn what_was_cancelled_and_left_behind_ends_without_a_request() {
    let server = Server::private(STRUCK);
    let db = Database::on(&server, Options::default());
    let run = left_behind(&db);
    db.exec("UPDATE raw.qb_run SET cancel_requested_at = now()");
    let seen = db.sim.request_count();
    db.exec("SELECT raw.qb_tick()");
    assert_eq!(db.ended(run), "cancelled");
    assert_eq!(db.sim.request_count(), seen);
}

/// After a crash the number of a worker may be that of anybody, and somebody else may have taken the connection.
#[test]
fn a_process_of_the_same_number_is_left_in_peace() {
    let server = Server::private(STRUCK);
    let db = Database::on(&server, Options::default());
    let run = left_behind(&db);
    let (mut other, mut holder) = (db.client(), db.client());
    let pid: i32 = other.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0);
    db.exec(&format!("UPDATE raw.qb_run SET worker_pid = {pid}"));
    let hold = "SELECT pg_advisory_lock(x'71626f01'::int, connection_id) FROM raw.qb_config";
    holder.batch_execute(hold).unwrap();
    std::thread::scope(|scope| {
        let sleeping = scope.spawn(|| other.batch_execute("SELECT pg_sleep(1)"));
        let said = db.value(&format!("SELECT raw.qb_cancel({run})"));
        assert_eq!(said, format!("run {run} is cancelled"));
        sleeping.join().unwrap().unwrap();
    });
    assert_eq!(db.of_run(run, "status"), "cancelled");
}

//! That there are workers enough, no more than have a place, and that one whose server is gone does no harm.

use crate::stage::STRUCK;
use qbo_e2e::{AtLast, Database, RANGE, Server, is_alive, seconds, signal, wait_until};
use qbo_sim::{Fault, Options, Sim, When};

/// An errand holds the connection while it asks; whoever queues a run then leaves it to the errand to send a worker.
#[test]
fn a_run_that_is_committed_while_an_errand_ends_has_its_worker() {
    let server = Server::private(STRUCK);
    let db = Database::on(&server, Options::default());
    db.backfill("items");
    wait_until("the worker leaves", seconds(20), || !db.has_worker());
    db.sim.fault(When::Always, Fault::Stall(seconds(60)));
    let seen = db.sim.request_count();
    std::thread::scope(|scope| {
        let _free = AtLast(|| server.disarm());
        let asking = scope.spawn(|| db.rows(&format!("SELECT * FROM raw.qb_verify('items', {RANGE})")));
        wait_until("the errand asks", seconds(20), || db.sim.request_count() > seen);
        server.arm("call@committing", 0);
        let queueing = scope.spawn(|| db.number(&format!("SELECT raw.qb_backfill('items', {RANGE}, 31)")));
        server.wait_held("call@committing", seconds(20));
        db.sim.clear_faults();
        db.sim.release();
        asking.join().unwrap();
        // Time to look for work that is not to be seen yet.
        std::thread::sleep(seconds(1));
        server.disarm();
        let run = queueing.join().unwrap();
        assert_eq!(db.ended_within(run, seconds(20)), "success");
    });
}

/// Each worker that finds no place leaves at once, but takes a worker slot of the server, which others may need.
#[test]
fn no_worker_is_sent_for_whom_there_is_no_place() {
    let server = Server::private(STRUCK);
    let db = Database::on(&server, Options::default());
    let other =
        Sim::start(Options { seed: 7, realm: "9130000000000000007".to_owned(), ..Options::default() })
            .unwrap();
    db.connect_another(&other, "acme");
    db.set("qbo_raw.max_workers", "1");
    db.sim.fault(When::Always, Fault::Stall(seconds(60)));
    let first = db.number(&format!("SELECT raw.qb_backfill('items', {RANGE}, 31)"));
    let worker = db.worker();
    server.arm("worker@opened", 0);
    let second = db.number(&format!("SELECT raw.qb_backfill('items', {RANGE}, 31, connection => 'acme')"));
    db.exec("SELECT raw.qb_tick()");
    std::thread::sleep(seconds(1));
    assert_eq!(server.held(), None, "beside {worker}");
    // The one that has the place does both.
    server.disarm();
    db.sim.clear_faults();
    db.sim.release();
    assert_eq!((db.ended(first).as_str(), db.ended(second).as_str()), ("success", "success"));
    assert_eq!(db.of_run(second, "worker_pid"), worker.to_string());
}

/// The standby that takes over has the old token. A signal for the latch can hide the end of the postmaster from a look at it.
#[test]
fn an_orphan_spends_no_token() {
    let server = Server::private(STRUCK);
    let db = Database::on(&server, Options::default());
    db.sim.expire_access_tokens();
    server.arm("token@announced", 0);
    let run = db.queue("items");
    let worker = server.wait_held("token@announced", seconds(20));
    let asked = db.sim.token_calls();
    server.kill(server.postmaster());
    signal(worker, libc::SIGURG);
    server.release();
    wait_until("the worker ends", seconds(20), || !is_alive(worker));
    assert_eq!(db.sim.token_calls(), asked);
    wait_until("the server starts", seconds(30), || server.try_start());
    db.exec("SELECT raw.qb_tick()");
    assert_eq!(db.ended(run), "success");
}

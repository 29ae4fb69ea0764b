//! What a run has spent, or was cancelled of, when it ends with a request on its way; and that nothing is asked after that.

use crate::stage::STRUCK;
use qbo_e2e::{Database, RANGE, Server, is_alive, seconds, signal, wait_until};
use qbo_sim::{Fault, Options, When};

/// Nobody can tell from here whether a request that was let go arrives. It counts, so that no budget is passed; and after
/// the end of its run nothing is sent any more.
#[test]
fn a_request_counts_from_when_it_is_let_go() {
    let server = Server::private(STRUCK);
    let db =
        Database::on(&server, Options { counts: vec![("Invoice".to_owned(), 60)], ..Options::default() });
    db.set("qbo_raw.fetch_threads", "1");
    server.arm("request@leaving", 3);
    let run = db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, 7)"));
    let worker = server.wait_held("request@leaving", seconds(20));
    let spent = "SELECT sum(requests) FROM raw.qb_api_usage";
    wait_until("what was answered is stored", seconds(10), || db.value(spent) == "3");
    db.exec(&format!("SELECT raw.qb_cancel({run})"));
    assert_eq!(db.ended(run), "cancelled");
    assert_eq!(db.number(spent), 4, "three were answered, one was let go");
    server.release();
    wait_until("the worker leaves", seconds(10), || !is_alive(worker));
    assert_eq!(db.sim.request_count(), 3, "it was never sent");
}

/// PostgreSQL gives back the lock of a process that ends before the threads of that process are gone. Whoever takes the
/// connection then must be alone with QuickBooks.
#[test]
fn a_worker_that_is_told_to_end_asks_for_nothing_any_more() {
    let server = Server::private(STRUCK);
    let counts = vec![("Invoice".to_owned(), 60)];
    let db = Database::on(&server, Options { counts, ..Options::default() });
    db.set("qbo_raw.fetch_threads", "2");
    db.sim.fault(When::From(5), Fault::Stall(seconds(60)));
    server.arm("worker@ending", 0);
    let run = db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, 1)"));
    wait_until("both threads wait for an answer", seconds(20), || db.sim.request_count() == 6);
    let worker = db.worker();
    signal(worker, libc::SIGTERM);
    assert_eq!(server.wait_held("worker@ending", seconds(20)), worker);
    // A thread that still hears its answer asks on.
    db.sim.clear_faults();
    db.sim.release();
    std::thread::sleep(seconds(1));
    assert_eq!(db.sim.request_count(), 6);
    server.release();
    wait_until("the worker is gone", seconds(20), || !is_alive(worker));
    db.exec("SELECT raw.qb_tick()");
    assert_eq!(db.ended(run), "success");
    db.check_equal("invoices", "Invoice");
}

/// A worker that dies when all is stored leaves a run that is whole: whoever cancels it then comes too late.
#[test]
fn a_cancel_of_what_is_whole_comes_too_late() {
    let server = Server::private(STRUCK);
    let counts = vec![("Invoice".to_owned(), 60)];
    let db = Database::on(&server, Options { counts, ..Options::default() });
    server.arm("run@ending", 0);
    let run = db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, 20)"));
    let worker = server.wait_held("run@ending", seconds(20));
    signal(worker, libc::SIGTERM);
    server.release();
    wait_until("the worker is gone", seconds(20), || !is_alive(worker));
    assert_eq!(db.of_run(run, "status"), "running");
    let said = format!("run {run} has ended already: success");
    assert_eq!(db.value(&format!("SELECT raw.qb_cancel({run})")), said);
    assert_eq!(db.of_run(run, "status"), "success");
}

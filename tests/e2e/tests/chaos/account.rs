//! What a run has spent when it ends with a request on its way.

use crate::stage::STRUCK;
use qbo_e2e::{Database, RANGE, Server, seconds, wait_until};
use qbo_sim::Options;

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
    wait_until("the worker leaves", seconds(10), || !qbo_e2e::is_alive(worker));
    assert_eq!(db.sim.request_count(), 3, "it was never sent");
}

//! Waiting for what somebody else holds: nothing is given up for it that will be had, and nothing else suffers meanwhile.

use crate::launcher::PRELOADED;
use qbo_e2e::{Database, Server, seconds, wait_until};
use qbo_sim::Options;
use std::time::{Duration, Instant};

/// The worker waits for the transaction that queued its run. A standby that is away lets that last longer than a lock may.
#[test]
fn a_commit_that_takes_longer_than_a_lock_may_begins_its_run_all_the_same() {
    let server = Server::private("");
    let db = Database::on(&server, Options::default());
    let alone = server.synchronous("nobody");
    std::thread::scope(|scope| {
        // Whatever comes of it, the caller is let go.
        let _alone = alone;
        scope.spawn(|| {
            let mut caller = db.client();
            let call =
                "SET synchronous_commit = on; SELECT raw.qb_backfill('items', '2025-07-01', '2025-09-30')";
            caller.batch_execute(call).unwrap();
        });
        wait_until("the worker waits for the commit", seconds(20), || db.has_worker());
        // More than its lock_timeout of 30 s.
        std::thread::sleep(seconds(32));
    });
    assert_eq!(db.ended(1), "success", "{}", db.of_run(1, "error_message"));
    assert_eq!(db.of_run(1, "attempt"), "1");
}

/// While somebody keeps the list of runs to himself, the launcher sends one visitor after the other.
#[test]
fn visits_that_have_to_wait_do_not_fill_the_worker_slots() {
    let server = Server::private(PRELOADED);
    let db = Database::on(&server, Options::default());
    db.backfill("items");
    wait_until("its worker leaves", seconds(30), || !db.has_worker());
    let mut holder = db.client();
    holder.batch_execute("BEGIN; LOCK TABLE raw.qb_run IN ACCESS EXCLUSIVE MODE").unwrap();
    let visitors = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'qbo_raw errand'
                       AND wait_event_type = 'Lock'";
    let (began, mut most, mut waited) = (Instant::now(), 0, false);
    // Three rounds.
    while began.elapsed() < seconds(28) {
        let now = db.number(visitors);
        most = now.max(most);
        waited |= now > 0;
        std::thread::sleep(Duration::from_millis(250));
    }
    assert!(waited, "nobody had to wait");
    assert_eq!(most, 1);
    drop(holder);
    db.backfill("terms");
}

/// Any role may take an advisory lock, beside others too. A worker that finds its connection taken like that looks again, but
/// does not do nothing else.
#[test]
fn a_connection_that_a_stranger_holds_is_waited_for_without_haste() {
    let server = Server::private("autovacuum = off");
    let db = Database::on(&server, Options::default());
    let mut stranger = db.client();
    let hold = "SELECT pg_advisory_lock_shared(x'71626f01'::int, connection_id) FROM raw.qb_config";
    stranger.batch_execute(hold).unwrap();
    let run = db.queue("items");
    wait_until("the worker looks", seconds(20), || db.has_worker());
    let ended = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()";
    let before = db.number(ended);
    std::thread::sleep(seconds(3));
    let looks = db.number(ended) - before;
    assert!(looks < 500, "{looks} transactions in three seconds");
    assert_eq!(db.of_run(run, "status"), "queued");
    drop(stranger);
    assert_eq!(db.ended(run), "success");
}

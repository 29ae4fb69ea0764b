//! What a worker takes of the server's memory does not depend on how large a window is.

use qbo_e2e::{Database, seconds, wait_until};
use qbo_sim::{Fault, Options, When};

/// Memory of a process that is its own, in MB. Pages of the shared buffers that nobody else touched yet count as private
/// too, so that is not what is read.
fn own_memory(pid: i32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find(|line| line.starts_with("Anonymous:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kilobytes| kilobytes / 1024)
}

#[test]
fn a_large_window_takes_no_more_memory_than_a_small_one() {
    let db = Database::with(Options { counts: vec![("Invoice".to_owned(), 8_000)], ..Options::default() });
    // It does not begin before its worker is known.
    db.sim.fault_times(When::Nth(1), Fault::Stall(seconds(60)), 1);
    let run = db.number("SELECT raw.qb_backfill('invoices', '2025-07-01', '2025-09-30', 100, 1000)");
    let worker = db.worker();
    wait_until("it asks", seconds(30), || db.sim.request_count() > 0);
    db.sim.release();
    let mut most = 0;
    wait_until("the run ends", seconds(120), || {
        most = most.max(own_memory(worker).unwrap_or(0));
        !["queued", "running"].contains(&db.of_run(run, "status").as_str())
    });
    assert_eq!(db.of_run(run, "inserted_count"), "8000");
    assert!((1..=64).contains(&most), "{most} MB");
}

//! A disk that breaks under the data directory: reads, writes and syncs fail with EIO. What PostgreSQL can go on after fails
//! one window; after what it cannot it begins anew. Nothing is half stored, and the run goes on when the disk is well.

use crate::disk::{ANEW, goes_on};
use crate::hazards::{nearly_done, nothing_half_stored};
use crate::launcher::{hold_back, let_go};
use qbo_e2e::{Database, RANGE, Server, Times, seconds, wait_until};
use qbo_sim::Options;
use std::time::Duration;

const FILE: &str = "SELECT pg_relation_filepath('raw.qb_invoices')";

/// What the reports say of windows that failed: of nothing else than the disk.
fn failed_for(db: &Database, what: &str) {
    let said =
        db.rows("SELECT error_code, error_message FROM raw.backfill_report_invoices WHERE status = 'error'");
    assert!(!said.is_empty(), "no window failed");
    for row in said {
        assert_eq!(row[0], "sqlstate_58030", "{row:?}");
        assert!(row[1].contains(what) && row[1].contains("Input/output error"), "{row:?}");
    }
    nothing_half_stored(db, what);
}

#[test]
fn a_table_that_cannot_be_written_fails_one_window_which_says_so() {
    let server = Server::breakable("");
    let db = Database::on(&server, Options::default());
    let run = nearly_done(&db);
    server.breaks("write", Times::FromNowOn, &db.value(FILE));
    db.sim.release();
    assert_eq!(db.ended(run), "partial");
    failed_for(&db, "could not extend file");
    assert_eq!(db.of_run(run, "windows_failed"), "1");
    server.mend();
    goes_on(&db, run);
    db.check_reports("invoices", run);
}

#[test]
fn a_write_that_fails_once_is_done_again() {
    let server = Server::breakable("");
    let db = Database::on(&server, Options::default());
    db.set("qbo_raw.log_level", "log");
    let run = nearly_done(&db);
    server.breaks("write", Times::Once, &db.value(FILE));
    db.sim.release();
    assert_eq!(db.ended(run), "success", "{}", db.of_run(run, "error_message"));
    assert!(!server.is_broken(), "nothing was written");
    assert!(db.log().contains(&format!("run {run} stores a window again: could not extend file")));
    db.check_equal("invoices", "Invoice");
    db.check_reports("invoices", run);
}

#[test]
fn a_table_that_cannot_be_read_fails_its_windows_and_stays_as_it_was() {
    // Nobody else reads it into memory.
    let server = Server::breakable("autovacuum = off");
    let db = Database::on(&server, Options::default());
    db.backfill("invoices");
    db.sim.change("Invoice", 0.3);
    // What is in memory is not read.
    server.stop("fast");
    server.start();
    server.breaks("read", Times::FromNowOn, &db.value(FILE));
    let run = db.number("SELECT raw.qb_backfill('invoices', '2025-07-01', current_date, 30)");
    assert_eq!(db.ended(run), "partial");
    let lost = format!(
        "SELECT count(*) FROM raw.backfill_report_invoices WHERE run_id = {run} AND status = 'success' AND row_count > 0"
    );
    assert_eq!(db.value(&lost), "0", "stored without reading");
    server.mend();
    failed_for(&db, "could not read block");
    db.exec(&format!("SELECT raw.qb_resume({run})"));
    assert_eq!(db.ended(run), "success", "{}", db.of_run(run, "error_message"));
    db.check_equal("invoices", "Invoice");
    assert_eq!(db.of_run(run, "updated_count"), "150");
}

/// PostgreSQL cannot know what a failed sync left on the disk: it goes back to the write-ahead log.
#[test]
fn after_a_sync_that_fails_the_server_begins_anew_and_the_run_goes_on() {
    for what in ["table", "log"] {
        let server = Server::breakable("fsync = on");
        let db = Database::on(&server, Options { latency: Duration::from_millis(200), ..Options::default() });
        hold_back(&db);
        let run = db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, 1)"));
        wait_until("some windows are stored", seconds(20), || {
            db.number("SELECT windows_done FROM raw.qb_run") >= 5
        });
        let file = if what == "table" { db.value(FILE) } else { "/pg_wal/".to_owned() };
        server.breaks("sync", Times::Once, &file);
        if what == "table" {
            // The checkpointer ends, and everybody with it.
            let _ = db.client().batch_execute("CHECKPOINT");
        }
        wait_until("a sync fails", seconds(20), || {
            // The next window that comes is committed.
            db.sim.release();
            !server.is_broken()
        });
        wait_until("the server begins anew", seconds(20), || db.log().contains(ANEW));
        server.wait_ready();
        assert!(
            db.log().contains("PANIC:  could not f") && db.log().contains("Input/output error"),
            "{}",
            db.log()
        );
        assert_eq!(db.of_run(run, "status"), "running", "{what}");
        nothing_half_stored(&db, what);
        let_go(&db);
        db.sim.set_latency(Duration::ZERO);
        goes_on(&db, run);
        db.check_reports("invoices", run);
        assert_eq!(db.of_run(run, "attempt"), "2", "{what}");
    }
}

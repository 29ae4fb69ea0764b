//! What stands in the library that is shipped, and what does not; and what becomes of a run when it is replaced.

use crate::launcher::{hold_back, let_go};
use qbo_e2e::{Database, RANGE, Server, lacks, library, points, seconds, wait_until};
use qbo_sim::Options;
use std::path::Path;
use std::time::Duration;

#[test]
fn no_named_point_is_shipped() {
    let library = library();
    assert_eq!(lacks(&library, &["qbo_raw_worker_main".to_owned()]), [""; 0], "it is our library");
    let mut names = points();
    assert!(names.len() >= 40);
    names.push("QBO_RAW_POINTS".to_owned());
    assert_eq!(lacks(&library, &names), names);
}

/// Lays a library where the server looks, as a package manager does: beside the old one, which goes when it is whole.
fn lay(dir: &Path, library: &[u8]) {
    std::fs::write(dir.join("qbo_raw.so.new"), library).unwrap();
    std::fs::rename(dir.join("qbo_raw.so.new"), dir.join("qbo_raw.so")).unwrap();
}

/// Whether a process works with a library that is gone from the disk; None: it has none of these.
fn has_old(pid: i32, dir: &Path) -> Option<bool> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let path = dir.join("qbo_raw.so").display().to_string();
    maps.lines().find(|line| line.contains(&path)).map(|line| line.ends_with("(deleted)"))
}

#[test]
fn a_library_that_is_replaced_in_mid_run_is_the_next_sessions_affair() {
    for preload in ["", "qbo_raw"] {
        let server = Server::private("");
        let dir = server.socket();
        lay(dir, &library());
        server
            .sql("postgres", &format!("ALTER SYSTEM SET dynamic_library_path = '{}:$libdir'", dir.display()));
        if !preload.is_empty() {
            server.sql("postgres", &format!("ALTER SYSTEM SET shared_preload_libraries = '{preload}'"));
        }
        server.stop("fast");
        server.start();
        let db = Database::on(&server, Options { latency: Duration::from_millis(40), ..Options::default() });
        db.exec("UPDATE pg_proc SET probin = 'qbo_raw' WHERE probin = '$libdir/qbo_raw'");
        // Another file, and not the same bytes.
        let mut newer = library();
        newer.extend([0; 64]);
        hold_back(&db);
        let run = db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, 1)"));
        wait_until("some windows are stored", seconds(20), || {
            db.of_run(run, "windows_done").parse::<i32>().unwrap() >= 5
        });
        db.sim.set_latency(seconds(2));
        let worker = db.worker();
        assert_eq!(has_old(worker, dir), Some(false));
        lay(dir, &newer);
        assert_eq!(has_old(worker, dir), Some(true));
        // A new session, while the old worker works on.
        assert_eq!(db.value("SELECT entity FROM raw.qb_progress"), "invoices");
        assert_eq!(db.number("SELECT raw.qb_tick()"), 0);
        let_go(&db);
        db.sim.set_latency(Duration::ZERO);
        assert_eq!(db.ended(run), "success", "{}", db.log());
        assert_eq!(db.of_run(run, "attempt"), "1");
        db.check_equal("invoices", "Invoice");
        wait_until("the old worker leaves", seconds(30), || !db.has_worker());
        db.sim.set_latency(seconds(2));
        let next = db.queue("customers");
        // With preload the postmaster hands on what it has until it is restarted.
        assert_eq!(has_old(db.worker(), dir), Some(!preload.is_empty()));
        db.sim.set_latency(Duration::ZERO);
        assert_eq!(db.ended(next), "success");
        db.check_equal("customers", "Customer");
        assert!(!db.log().contains("was terminated by signal"), "{}", db.log());
    }
}

//! Full disks: under a table, under the whole database, under the spool, under the write-ahead log, under a token that is to
//! be stored. Nothing is half stored and no token is lost; when there is room again the run goes on.

use crate::hazards::{nearly_done, nothing_half_stored};
use crate::launcher::{hold_back, let_go};
use crate::tokens::{redemptions, stored_is_newest};
use qbo_e2e::{Database, Disk, Limit, RANGE, Server, is_alive, refused, rows, seconds, signal, wait_until};
use qbo_sim::{Fault, Options, TokenMode, When};
use std::process::Command;
use std::time::{Duration, Instant};

/// A disk, and a server that knows it as the tablespace `small`.
fn scene() -> (Disk, Server) {
    let disk = Disk::new(32);
    let server = Server::private("");
    server.sql("postgres", &format!("CREATE TABLESPACE small LOCATION '{}'", disk.dir().display()));
    (disk, server)
}

/// Takes a run up again once there is room, and sees everything stored.
pub fn goes_on(db: &Database, run: i64) {
    if ["queued", "running"].contains(&db.of_run(run, "status").as_str()) {
        db.exec("SELECT raw.qb_tick()");
    } else {
        db.exec(&format!("SELECT raw.qb_resume({run})"));
    }
    assert_eq!(db.ended(run), "success", "{}", db.of_run(run, "error_message"));
    db.check_equal("invoices", "Invoice");
    assert!(db.rows(&format!("SELECT * FROM raw.qb_gaps('invoices', {RANGE})")).is_empty());
}

#[test]
fn under_a_table_it_fails_one_window_which_says_so() {
    let (disk, server) = scene();
    let db = Database::on(&server, Options::default());
    let run = nearly_done(&db);
    db.exec("ALTER TABLE raw.qb_invoices SET TABLESPACE small");
    disk.fill();
    db.sim.release();
    assert_eq!(db.ended(run), "partial");
    let said =
        db.rows("SELECT error_code, error_message FROM raw.backfill_report_invoices WHERE status = 'error'");
    assert_eq!((said.len(), said[0][0].as_str()), (1, "insufficient_resources"), "{said:?}");
    assert!(said[0][1].contains("No space left on device"), "{said:?}");
    nothing_half_stored(&db, "a full disk");
    disk.free();
    goes_on(&db, run);
    db.check_reports("invoices", run);
}

#[test]
fn under_a_table_it_is_waited_for() {
    let (disk, server) = scene();
    let db = Database::on(&server, Options::default());
    db.set("qbo_raw.retry_delay", "300ms");
    db.set("qbo_raw.log_level", "log");
    let run = nearly_done(&db);
    db.exec("ALTER TABLE raw.qb_invoices SET TABLESPACE small");
    disk.fill();
    db.sim.release();
    let tries = format!("run {run} stores a window again: could not extend file");
    wait_until("it tries again", seconds(30), || server.log().contains(&tries));
    disk.free();
    assert_eq!(db.ended(run), "success", "{}", db.of_run(run, "error_message"));
    db.check_equal("invoices", "Invoice");
    db.check_reports("invoices", run);
}

#[test]
fn under_the_whole_database_the_run_is_taken_up_later() {
    let (disk, server) = scene();
    let db = Database::on(&server, Options { latency: Duration::from_millis(15), ..Options::default() });
    db.set("qbo_raw.max_retries", "1");
    server.sql("postgres", &format!("ALTER DATABASE {} SET TABLESPACE small", db.name));
    hold_back(&db);
    let run = db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, 1)"));
    wait_until("some windows are stored", seconds(30), || {
        db.number("SELECT windows_done FROM raw.qb_run") >= 5
    });
    db.sim.set_latency(seconds(1));
    disk.fill();
    let_go(&db);
    // Not even what failed may find a place to be written down, nor a new session one for its cache.
    let mut elsewhere = server.connect("postgres", "postgres").unwrap();
    let worker = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'qbo_raw worker'";
    wait_until("the worker leaves", seconds(60), || elsewhere.query(worker, &[]).unwrap().is_empty());
    disk.free();
    assert_ne!(db.of_run(run, "status"), "success");
    nothing_half_stored(&db, "a full disk");
    db.sim.set_latency(Duration::ZERO);
    goes_on(&db, run);
}

#[test]
fn under_the_spool_it_fails_the_window_and_leaves_nothing_open() {
    let disk = Disk::new(32);
    let server = Server::private("");
    std::os::unix::fs::symlink(disk.dir(), server.data().join("base/pgsql_tmp")).unwrap();
    let counts = vec![("Invoice".to_owned(), 2_000)];
    let db = Database::on(&server, Options { counts, ..Options::default() });
    disk.fill();
    // The first two months are more than is kept in memory, the last day is not.
    let windows = "ARRAY[tstzrange('2025-07-01Z', '2025-09-29Z'), tstzrange('2025-09-29Z', '2025-10-01Z')]";
    let run = db.number(&format!("SELECT raw.qb_backfill_windows('invoices', {windows})"));
    assert_eq!(db.ended(run), "partial");
    let said = "SELECT error_code, error_message, error_hint, windows_done, windows_failed FROM raw.qb_run";
    let [code, message, hint, done, failed] = db.rows(said)[0].clone().try_into().unwrap();
    assert_eq!((code.as_str(), done.as_str(), failed.as_str()), ("spool_failed", "1", "1"), "{message}");
    assert!(
        message.contains("No space left on device") && hint.contains("room on the disk"),
        "{message} {hint}"
    );
    nothing_half_stored(&db, "a full disk");
    disk.free();
    goes_on(&db, run);
}

/// Puts the connection's row on the small disk. Nothing of it may be pruned as long as the first client lives; the second is
/// to write with.
fn on_the_small_disk(db: &Database) -> (postgres::Client, postgres::Client) {
    db.exec("ALTER TABLE raw.qb_config SET TABLESPACE small");
    let mut reader = db.client();
    reader
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM raw.qb_config")
        .unwrap();
    (reader, db.client())
}

/// Leaves no room there for another version of that row.
fn no_room_for_tokens(writer: &mut postgres::Client, disk: &Disk) {
    disk.fill();
    let another = "UPDATE raw.qb_config SET page_size = page_size";
    wait_until("no version fits any more", seconds(10), || writer.batch_execute(another).is_err());
    assert_eq!(refused(writer, another).sqlstate, "53100");
}

#[test]
fn under_the_token_none_is_spent_that_could_not_be_stored() {
    let (disk, server) = scene();
    let db = Database::on(&server, Options { tokens: TokenMode::Strict, ..Options::default() });
    let (reader, mut writer) = on_the_small_disk(&db);
    no_room_for_tokens(&mut writer, &disk);
    let run = db.queue("invoices");
    assert_eq!(db.ended(run), "failed");
    assert_eq!(db.of_run(run, "error_code"), "insufficient_resources");
    assert!(db.of_run(run, "error_message").contains("the token cannot be renewed"));
    assert_eq!(db.sim.token_calls(), 0);
    drop(reader);
    disk.free();
    goes_on(&db, run);
}

#[test]
fn under_a_token_that_was_spent_it_is_kept_until_there_is_room() {
    let (disk, server) = scene();
    let db = Database::on(&server, Options { tokens: TokenMode::Strict, ..Options::default() });
    let (reader, mut writer) = on_the_small_disk(&db);
    db.sim.fault_times(When::Token, Fault::Stall(seconds(8)), 1);
    let run = db.queue("invoices");
    let worker = db.worker();
    let state = "SELECT auth_state FROM raw.qb_config";
    // From here on there are ten seconds until the disk has to be free: so long a token is kept at most.
    wait_until("the token is being spent", seconds(30), || db.sim.token_calls() > 0);
    no_room_for_tokens(&mut writer, &disk);
    db.sim.release();
    let warning =
        "WARNING:  qbo_raw: a new token could not be stored yet, it is tried again: could not extend file";
    wait_until("the log says so", seconds(30), || server.log().contains(warning));
    // Whoever is told to end stores it first.
    signal(worker, libc::SIGTERM);
    std::thread::sleep(Duration::from_millis(300));
    assert!(is_alive(worker), "it went, and the token with it");
    disk.free();
    wait_until("it ends", seconds(20), || !is_alive(worker));
    stored_is_newest(&db);
    assert_eq!(db.value(state), "ok");
    drop(reader);
    goes_on(&db, run);
    assert_eq!(redemptions(&db), 1);
}

#[test]
fn under_the_write_ahead_log_the_server_ends_and_the_run_goes_on() {
    let disk = Disk::new(96);
    // No checkpoint that would make room.
    let server = Server::private("checkpoint_timeout = 1h");
    let db = Database::on(&server, Options::default());
    db.sim.set_latency(Duration::from_millis(200));
    server.stop("fast");
    let (wal, there) = (server.data().join("pg_wal"), disk.dir().join("pg_wal"));
    assert!(Command::new("cp").arg("-a").args([&wal, &there]).status().unwrap().success());
    std::fs::remove_dir_all(&wal).unwrap();
    std::os::unix::fs::symlink(&there, &wal).unwrap();
    server.start();
    hold_back(&db);
    let run = db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, 1)"));
    wait_until("some windows are stored", seconds(30), || {
        db.number("SELECT windows_done FROM raw.qb_run") >= 5
    });
    db.sim.set_latency(seconds(2));
    disk.fill();
    let mut client = db.client();
    let more = "SELECT pg_logical_emit_message(false, 'more', repeat('x', 1000000))";
    wait_until("the log is full", seconds(20), || client.batch_execute(more).is_err());
    disk.free();
    wait_until("the server begins anew", seconds(30), || server.log().contains(ANEW));
    comes_back(&server, &db.name);
    assert!(server.log().contains("PANIC:"), "{}", server.log());
    assert_eq!(db.of_run(run, "status"), "running");
    nothing_half_stored(&db, "a full disk");
    let_go(&db);
    db.sim.set_latency(Duration::ZERO);
    goes_on(&db, run);
}

/// What the server says when all its processes are gone after a crash.
pub const ANEW: &str = "all server processes terminated; reinitializing";

/// A server whose log was full, once there is room. Its recovery may have failed for want of room too: then it ends and is
/// to be started, or (seen with 18.6) stays up without recovering any more, as a DBA has to notice.
fn comes_back(server: &Server, database: &str) {
    let began = Instant::now();
    while server.connect(database, "postgres").is_err() && !server.try_start() {
        let log = server.log();
        let failed =
            |line: &str| line.contains("] startup ") && line.contains("FATAL:  could not write to file");
        if began.elapsed() > seconds(10) && log.lines().any(failed) {
            server.stop("immediate");
            server.start();
        }
        assert!(began.elapsed() < seconds(60), "{log}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_file_that_may_not_grow_fails_one_window() {
    let db = Database::new();
    db.ended(db.number("SELECT raw.qb_backfill('invoices', '2025-06-01', '2025-06-01')"));
    // A table of more than 16 MB, which is also as large as a file of the write-ahead log becomes.
    db.exec(
        "ALTER TABLE raw.qb_invoices SET (autovacuum_enabled = off);
         ALTER TABLE raw.qb_invoices ALTER payload SET STORAGE PLAIN;
         INSERT INTO raw.qb_invoices SELECT 'more ' || n, to_jsonb(repeat('x', 8000)), now(), '1990-01-01', '1990-01-02', 1, 1, '{}'
           FROM generate_series(1, 2200) n;
         DELETE FROM raw.qb_invoices WHERE id LIKE 'more %';
         ALTER TABLE raw.qb_invoices ALTER payload SET STORAGE EXTENDED",
    );
    let run = nearly_done(&db);
    let limit = Limit::new(db.worker(), "fsize", 16 << 20);
    db.sim.release();
    assert_eq!(db.ended(run), "partial");
    drop(limit);
    let said = rows(
        &mut db.client(),
        "SELECT error_message FROM raw.backfill_report_invoices WHERE status = 'error'",
    );
    assert!(said.unwrap().concat().concat().contains("File too large"));
    nothing_half_stored(&db, "a file that may not grow");
    goes_on(&db, run);
}

//! Other copies of the data: a logical subscriber, a dump that is taken while a run works, a cluster that pg_upgrade makes.

use crate::hazards::nothing_half_stored;
use crate::launcher::{hold_back, let_go};
use qbo_e2e::{Database, RANGE, Server, as_server, program, rows, seconds, wait_until};
use qbo_sim::Options;
use std::path::Path;
use std::time::Duration;

/// What a table holds, told from anything else.
fn content(table: &str, key: &str) -> String {
    format!("SELECT count(*), md5(string_agg(t::text, ',' ORDER BY {key})) FROM {table} t")
}

#[test]
fn a_subscriber_has_the_data_and_the_reports_and_no_secret() {
    let server = Server::private("wal_level = logical");
    let there = Server::private("");
    let db = Database::on(&server, Options::default());
    db.backfill("invoices");
    let tables = ["raw.qb_invoices", "raw.backfill_report_invoices"];
    db.exec(&format!("CREATE PUBLICATION books FOR TABLE {}", tables.join(", ")));
    // Its tables come from a dump, beside an extension of its own.
    there.sql("postgres", "CREATE DATABASE copy");
    there.sql("copy", "CREATE EXTENSION qbo_raw");
    let schema = ["-s", "-t", tables[0], "-t", tables[1], "--no-publications", &db.name];
    let dump = server.run("pg_dump", &schema);
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    let mut copy = there.connect("copy", "postgres").unwrap();
    let script = String::from_utf8(dump.stdout).unwrap();
    let statements: Vec<&str> = script.lines().filter(|line| !line.starts_with('\\')).collect();
    copy.batch_execute(&statements.join("\n")).unwrap();
    // A dump leaves the session with no search_path.
    copy.batch_execute("RESET ALL").unwrap();
    copy.batch_execute(&format!(
        "CREATE SUBSCRIPTION books CONNECTION 'host={} port=5432 user=postgres dbname={}' PUBLICATION books",
        server.socket().display(),
        db.name
    ))
    .unwrap();
    let mut same = |what: &str| {
        for (table, key) in [(tables[0], "id"), (tables[1], "report_id")] {
            let ours = db.rows(&content(table, key));
            wait_until(&format!("{what} are in {table}"), seconds(20), || {
                rows(&mut copy, &content(table, key)).unwrap() == ours
            });
        }
    };
    same("the first records");
    // Updates find their row by the key; a run that works meanwhile is not hindered.
    db.sim.change("Invoice", 0.3);
    let run = db.number("SELECT raw.qb_backfill('invoices', '2025-07-01', current_date, 30)");
    assert_eq!(db.ended(run), "success");
    assert_eq!(db.of_run(run, "updated_count"), "150");
    same("changed records");
    db.exec("DELETE FROM raw.qb_invoices WHERE id = (SELECT min(id) FROM raw.qb_invoices)");
    same("all but the deleted record");
    assert_eq!(rows(&mut copy, "SELECT count(*) FROM raw.qb_config").unwrap(), [["0"]]);
    // A slot that stays would keep the write-ahead log for ever.
    copy.batch_execute("DROP SUBSCRIPTION books").unwrap();
}

#[test]
fn a_dump_that_is_taken_in_mid_run_is_of_one_moment() {
    let db = Database::with(Options { latency: Duration::from_millis(60), ..Options::default() });
    hold_back(&db);
    let run = db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, 1)"));
    let file = std::env::temp_dir().join(format!("qbo_raw-{}-mid-run.dump", std::process::id()));
    let path = file.display().to_string();
    wait_until("some windows are stored", seconds(30), || {
        db.number("SELECT windows_done FROM raw.qb_run") >= 5
    });
    db.sim.set_latency(seconds(2));
    let dump = db.server.run("pg_dump", &["-Fc", "-f", &path, &db.name]);
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    let_go(&db);
    db.sim.set_latency(Duration::ZERO);
    assert_eq!(db.ended(run), "success");
    let copy = Database::on(db.server, Options::default());
    copy.exec("DROP EXTENSION qbo_raw; DROP SCHEMA IF EXISTS raw CASCADE");
    let restore = db.server.run("pg_restore", &["-d", &copy.name, &path]);
    let _ = std::fs::remove_file(&file);
    assert!(restore.status.success(), "{}", String::from_utf8_lossy(&restore.stderr));
    nothing_half_stored(&copy, "a dump");
    let stored = copy.number("SELECT count(*) FROM raw.backfill_report_invoices WHERE status = 'success'");
    assert!((5..92).contains(&stored), "{stored} windows");
    // A run that lives is not copied: the copy begins nothing by itself. What is missing is known there.
    assert_eq!(copy.number("SELECT count(*) FROM raw.qb_run"), 0);
    copy.connect_company();
    let rest = copy.number(&format!("SELECT raw.qb_fill_gaps('invoices', {RANGE})"));
    assert!(rest > run, "the id of a run in the reports is given again: {rest}");
    assert_eq!(copy.ended(rest), "success");
    copy.check_equal("invoices", "Invoice");
}

#[test]
fn pg_upgrade_takes_everything_along_and_wakes_nobody() {
    let conf = "shared_preload_libraries = 'qbo_raw'\nlog_min_messages = debug1";
    let old = Server::private(conf);
    let db = Database::on(&old, Options { latency: Duration::from_millis(60), ..Options::default() });
    hold_back(&db);
    let run = db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, 1)"));
    wait_until("some windows are stored", seconds(30), || {
        db.number("SELECT windows_done FROM raw.qb_run") >= 5
    });
    db.sim.set_latency(seconds(2));
    old.stop("fast");
    let_go(&db);
    db.sim.set_latency(Duration::ZERO);
    let (asked, kept) = (db.sim.request_count(), db.sim.credentials().3);
    let new = Server::empty(conf);
    let bin = program("");
    // It writes where it is called.
    let upgrade = "cd \"$2\" && \"$0/pg_upgrade\" -U postgres -b \"$0\" -B \"$0\" -d \"$1\" -D \"$2\" -s \"$3\" --retain";
    let output = as_server(Path::new("bash"))
        .args(["-c", upgrade])
        .args([&bin, old.data(), new.data(), new.socket()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let log = logs(&new.data().join("pg_upgrade_output.d"));
    assert!(log.contains("starting PostgreSQL"), "the log is another's");
    let ours: Vec<&str> = log.lines().filter(|line| line.contains("background worker \"qbo_raw")).collect();
    assert!(ours.is_empty(), "{ours:#?}");
    assert_eq!(db.sim.requests_after(asked).len(), 0);
    new.start();
    let mut client = new.connect(&db.name, "postgres").unwrap();
    let mut value = |text: &str| rows(&mut client, text).unwrap().concat().concat();
    assert_eq!(value("SELECT refresh_token FROM raw.qb_config"), kept);
    let of_run = |column: &str| format!("SELECT {column} FROM raw.qb_run WHERE run_id = {run}");
    wait_until("the launcher takes the run up", seconds(20), || value(&of_run("attempt")) == "2");
    wait_until("it ends", seconds(60), || value(&of_run("status")) == "success");
    assert_eq!(value("SELECT count(*) FROM raw.qb_invoices"), db.sim.count("Invoice").to_string());
    assert_eq!(value(&of_run("attempt")), "2");
}

/// All files of a directory and of those in it.
fn logs(dir: &Path) -> String {
    let entries = std::fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path());
    entries
        .map(
            |path| {
                if path.is_dir() { logs(&path) } else { std::fs::read_to_string(path).unwrap_or_default() }
            },
        )
        .collect()
}

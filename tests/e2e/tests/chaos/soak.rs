//! One worker for a long time and for many runs: its memory, its files and its snapshots stay as they are. And a run of very
//! many windows.

use qbo_e2e::{Database, is_alive, seconds, wait_until};
use qbo_sim::{Fault, Options, When};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long, in seconds.
fn length() -> u64 {
    std::env::var("QBO_RAW_SOAK").map_or(120, |text| text.parse().expect("a number"))
}

/// What memory may grow by in the last quarter, as a factor. Caches and the allocator's pools go on filling for some minutes,
/// by up to a twentieth in half a minute; a tenth is 300 bytes a window then. After the first hours nothing fills any more.
fn most() -> f64 {
    if length() < 4 * 3_600 { 1.1 } else { 1.05 }
}

/// What a process has at a moment.
#[derive(Debug, Clone, Copy)]
struct Sample {
    /// Memory of its own, KB.
    memory: u64,
    /// Files, sockets and pipes, without the tables, which PostgreSQL opens and closes as it sees fit.
    files: usize,
}

fn sample(pid: i32, data: &Path) -> Option<Sample> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find(|line| line.starts_with("Anonymous:"))?;
    let memory = line.split_whitespace().nth(1)?.parse().ok()?;
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let open = open.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    let table = |file: &PathBuf| file.starts_with(data) && !file.to_string_lossy().ends_with(" (deleted)");
    Some(Sample { memory, files: open.filter(|file| !table(file)).count() })
}

#[test]
fn a_worker_stays_as_it_is() {
    let counts = vec![("Invoice".to_owned(), 400), ("Customer".to_owned(), 400)];
    let db = Database::with(Options { counts, ..Options::default() });
    db.set("qbo_raw.fetch_threads", "4");
    // Nobody takes its place between two runs.
    db.set("qbo_raw.max_workers", "1");
    // A thousand windows of a day, so that each quarter sees runs begin and end; by the time of creation, since what changes
    // would gather in today's window otherwise.
    let calls = ["invoices", "customers"].map(|entity| {
        format!("SELECT raw.qb_backfill('{entity}', current_date - 1000, current_date, 1, 50, 'created')")
    });
    // Some runs in a hurry before: what a process allocates once is there then.
    let hurry = "SELECT raw.qb_backfill('invoices', current_date - 1000 - n, current_date, 1, 50, 'created') FROM generate_series(1, 6) n";
    db.exec(hurry);
    db.exec(&calls.join(";"));
    let (mut client, mut watch) = (db.client(), db.watch());
    wait_until("the hurry is over", seconds(300), || {
        watch.number("SELECT count(*) FROM raw.qb_run WHERE status = 'success'") >= 6
    });
    // Each of the two calls may have brought a worker, and one of them has left.
    let pid = db.worker();
    db.sim.set_latency(Duration::from_millis(50));
    let began = Instant::now();
    let (mut samples, mut oldest, mut changes) = (Vec::new(), 0.0_f64, 0);
    while began.elapsed() < seconds(length()) {
        std::thread::sleep(Duration::from_millis(500));
        let find = "SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::text FROM pg_stat_activity
                     WHERE backend_type = 'qbo_raw worker' AND datname = current_database()";
        oldest = oldest.max(watch.value(find).parse().unwrap());
        samples.push(sample(pid, db.server.data()).expect("one worker all the time"));
        changes += db.sim.change("Invoice", 0.01).len();
        // Somebody asks for the same again all the time: it joins the run that lives, or is the next for the worker.
        client.batch_execute(&calls.join(";")).unwrap();
    }
    db.exec("SELECT raw.qb_cancel(run_id) FROM raw.qb_run WHERE status IN ('queued', 'running') ORDER BY run_id DESC");
    let live = "SELECT count(*) FROM raw.qb_run WHERE status IN ('queued', 'running')";
    wait_until("all runs end", seconds(30), || watch.number(live) == 0);
    assert!(samples.len() as u64 >= length(), "{} samples", samples.len());
    // In the first half the caches fill. A statement may take much for a moment; what is kept is there all the time. Between
    // two runs there are more files for a moment, or fewer: those of the old threads and of the new.
    let least = |part: &[Sample]| part.iter().map(|sample| sample.memory).min().unwrap();
    let files = |part: &[Sample]| {
        let mut files: Vec<usize> = part.iter().map(|sample| sample.files).collect();
        files.sort_unstable();
        files[files.len() / 2]
    };
    let (before, after) = samples[samples.len() / 2..].split_at(samples.len() / 4);
    let (early, late) = (least(before), least(after));
    println!(
        "{} s, {} runs, {} windows, {changes} changes: memory {early} KB, then {late} KB; files {}, then {}; longest transaction {oldest} s",
        began.elapsed().as_secs(),
        watch.value("SELECT count(*) FROM raw.qb_run"),
        watch.value("SELECT sum(windows_done) FROM raw.qb_run"),
        files(before),
        files(after)
    );
    assert!(late as f64 <= early as f64 * most(), "memory grew from {early} to {late} KB");
    assert!(files(after) <= files(before), "files");
    assert!(oldest < 5.0, "a transaction of {oldest} s");
    assert!(!db.log().contains("panicked"));
}

/// Runs that one worker does one after the other.
fn runs() -> i64 {
    std::env::var("QBO_RAW_RUNS").map_or(1_500, |text| text.parse().expect("a number"))
}

#[test]
fn a_worker_keeps_nothing_of_the_runs_it_has_done() {
    let db = Database::new();
    let (mut watch, mut samples) = (db.watch(), Vec::new());
    let calls = format!(
        "SELECT raw.qb_backfill('invoices', d::date, d::date, 1) FROM generate_series(date '2025-09-30' - {}, '2025-09-30', '1 day') AS d",
        runs() - 1
    );
    watch.session().batch_execute(&calls).unwrap();
    let pid = db.worker();
    wait_until("all runs end", seconds(60 + runs() as u64 / 3), || {
        let done = watch.number("SELECT count(*) FROM raw.qb_run WHERE status = 'success'");
        samples.extend(sample(pid, db.server.data()).map(|sample| (done, sample)));
        done == runs()
    });
    let least = |from: i64, to: i64, of: fn(&Sample) -> u64| {
        let part = samples.iter().filter(|(done, _)| (from..to).contains(done));
        part.map(|(_, sample)| of(sample)).min().expect("the same worker from the first run to the last")
    };
    let third = runs() / 3;
    let thirds = |of: fn(&Sample) -> u64| (least(third, 2 * third, of), least(2 * third, runs(), of));
    let (memory, files) = (thirds(|sample| sample.memory), thirds(|sample| sample.files as u64));
    println!(
        "{} runs: memory {} KB, then {} KB; files {}, then {}",
        runs(),
        memory.0,
        memory.1,
        files.0,
        files.1
    );
    assert!(memory.1 as f64 <= memory.0 as f64 * 1.1, "memory grew from {} to {} KB", memory.0, memory.1);
    assert!(files.1 <= files.0, "files");
}

/// Windows of the large run.
fn windows() -> i64 {
    std::env::var("QBO_RAW_WINDOWS").map_or(1_500, |text| text.parse().expect("a number"))
}

#[test]
fn a_run_of_very_many_windows_goes_on_with_those_that_are_left() {
    let db = Database::new();
    // However late its worker is ended, the last month is not stored.
    db.sim.fault(When::Statement("LastUpdatedTime >= '2025-09-".to_owned()), Fault::Stall(seconds(60)));
    let start = format!("date '2025-09-30' - {}", windows() - 1);
    let run = db.number(&format!("SELECT raw.qb_backfill('invoices', {start}, '2025-09-30', 1)"));
    let done = || db.number("SELECT windows_done FROM raw.qb_run");
    wait_until("a third is stored", seconds(60), || done() > windows() / 3);
    let worker = db.worker();
    db.exec(&format!("SELECT pg_terminate_backend({worker})"));
    wait_until("the worker is gone", seconds(30), || !is_alive(worker));
    db.sim.clear_faults();
    let (stored, seen) = (done(), db.sim.request_count());
    assert!(stored < windows(), "it was too quick to be stopped");
    assert_eq!(db.number("SELECT raw.qb_tick()"), 1);
    assert_eq!(db.ended_within(run, seconds(300)), "success");
    db.check_equal("invoices", "Invoice");
    db.check_reports("invoices", run);
    let reports = "SELECT count(*), count(DISTINCT window_start) FROM raw.backfill_report_invoices WHERE status = 'success'";
    assert_eq!(db.rows(reports), [[windows().to_string(), windows().to_string()]]);
    // A window costs a request; the count at the end is one more, and two counts may go ahead of it. What the worker sent at
    // its end may be read only now.
    let asked = db.sim.requests_after(seen).len() as i64;
    let left = windows() - stored;
    assert!((left..=left + 3).contains(&asked), "{asked} requests for {left} windows");
}

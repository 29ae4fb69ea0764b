//! Benchmarks: everything in one run on one machine, so that only ratios count. Prints a table and writes JSON.
//!
//!     make bench            about ten minutes
//!     make bench FULL=1     with a million records
//!     make bench PARTS="database api"     some of: database api rate growth
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod extension;
mod floor;
mod loader;
mod replay;
mod table;

use extension::Bench;
use qbo_e2e::Server;
use std::time::Duration;
use table::Table;

/// A server as a small company would set it up, with commits that reach the disk.
const CONF: &str = "
fsync = on
shared_buffers = 1GB
max_wal_size = 8GB
checkpoint_timeout = 30min
autovacuum = off
shared_preload_libraries = 'pg_stat_statements'
pg_stat_statements.track = all
";

/// Days of the company's records.
const DAYS: u32 = 92;

/// Records of the company that is loaded again and again.
const RECORDS: u64 = 20_000;

fn main() {
    let full = std::env::var("FULL").is_ok_and(|value| value == "1");
    let rounds = std::env::var("ROUNDS").ok().and_then(|value| value.parse().ok()).unwrap_or(3);
    let parts = std::env::var("PARTS").unwrap_or_else(|_| "database api rate growth".to_owned());
    let wanted = |part: &str| parts.split_whitespace().any(|word| word == part);
    let server = Server::on_disk(CONF);
    let mut table = Table::default();
    if wanted("database") || wanted("api") {
        let bench = Bench::new(&server, RECORDS);
        // Once for nothing: the replay learns the answers.
        bench.run(1_000, 7, 4);
        bench.run(100, 7, 4);
        if wanted("database") {
            database(&bench, rounds, &mut table);
        }
        if wanted("api") {
            api(&bench, &mut table);
        }
    }
    if wanted("rate") {
        rate(&server, full, &mut table);
    }
    if wanted("growth") {
        growth(&server, full, &mut table);
    }
    table.finish();
}

/// Without latency, the database is the limit.
fn database(bench: &Bench, rounds: usize, table: &mut Table) {
    let (mut ours, mut storing, mut wal) = (vec![], vec![], vec![]);
    let (mut copy, mut good, mut plain, mut reading, mut again) = (vec![], vec![], vec![], vec![], vec![]);
    loader::read(bench, 1_000);
    loader::read(bench, 100);
    // One of each after the other, so that what disturbs one disturbs all.
    for _ in 0..rounds {
        let first = bench.run(1_000, 7, 4);
        copy.push(floor::copy(bench));
        let second = bench.rerun(1_000, 7, 4);
        wal.push(second.wal as f64 / first.wal as f64);
        again.push(second.seconds / first.seconds);
        assert_eq!(second.written, 0, "a re-run writes no row");
        storing.push(first.storing);
        ours.push(first.seconds);
        reading.push(loader::read(bench, 1_000));
        good.push(loader::good(bench, 1_000));
        plain.push(loader::plain(bench, 100));
    }
    let pairs = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a / b).collect::<Vec<f64>>();
    table.head(&format!("{RECORDS} invoices, no latency, pages of 1,000, windows of a week, 4 threads"));
    table.row("the extension / COPY of the same rows from a file", &pairs(&ours, &copy), Some(1.3));
    table.row("its statements alone / COPY", &pairs(&storing, &copy), Some(1.15));
    table.row("the extension / reading alone, one connection", &pairs(&ours, &reading), None);
    table.row("a good loader (pages of 1,000, a batch a page) / the extension", &pairs(&good, &ours), None);
    table.row(
        "the usual loader (pages of 100, a row at a time) / the extension",
        &pairs(&plain, &ours),
        None,
    );
    table.row("the same range again, unchanged / the first run", &again, Some(1.0));
    table.row("its WAL / that of the first run", &wal, Some(0.01));
    let per_second: Vec<f64> = ours.iter().map(|seconds| RECORDS as f64 / seconds).collect();
    table.plain("records a second here", &per_second);
}

/// With latency, the API is. And what a range costs in requests.
fn api(bench: &Bench, table: &mut Table) {
    table
        .head(&format!("{RECORDS} invoices with latency: time / max(storing, latency x requests / threads)"));
    for latency in [30, 100, 300] {
        for (page, chunk, threads, bound) in [
            (1_000, 1, 4, Some(1.1)),
            (100, 1, 4, Some(1.1)),
            (100, 1, 8, None),
            // Fourteen windows of two pages each do not divide evenly by four threads.
            (1_000, 7, 4, None),
            (1_000, 7, 1, None),
        ] {
            bench.replay.set_latency(Duration::from_millis(latency));
            let run = bench.run(page, chunk, threads);
            let waiting = latency as f64 / 1_000.0 * run.requests as f64 / threads as f64;
            let windows = DAYS.div_ceil(chunk);
            let name = format!(
                "{latency} ms, {windows} windows, pages of {page}, {threads} threads, {} requests",
                run.requests
            );
            // Faster than that, neither the API nor the database is the limit, but both.
            table.row(&name, &[run.seconds / waiting.max(run.storing)], bound.filter(|_| latency >= 100));
        }
    }
    bench.replay.set_latency(Duration::ZERO);

    // A window costs what its pages cost.
    table.head("requests / (records / page + windows that are not empty)");
    for page in [100, 1_000] {
        let run = bench.run(page, 7, 4);
        let floor = RECORDS.div_ceil(u64::from(page)) + 14;
        table.row(&format!("pages of {page}"), &[run.requests as f64 / floor as f64], Some(1.0));
    }
    table.row("requests for each empty window", &[bench.empty()], Some(1.0));
}

/// The rate that Intuit allows, enforced.
fn rate(server: &Server, full: bool, table: &mut Table) {
    table.head("with Intuit's limits enforced: 480 requests a minute are allowed by default");
    let (rate, throttled) = extension::rate(server, if full { 120 } else { 30 });
    table.row("allowed / reached", &[1.0 / rate], Some(1.0 / 0.95));
    table.row("answers with 429", &[throttled as f64], Some(0.0));
}

/// How all of it grows.
fn growth(server: &Server, full: bool, table: &mut Table) {
    let sizes: &[u64] = if full { &[10_000, 100_000, 1_000_000] } else { &[10_000, 100_000] };
    table.head(
        "growth: time a record / that at 10,000 records; private memory of the worker above an idle one, MB",
    );
    let mut unit = None;
    for size in sizes {
        let bench = Bench::new(server, *size);
        bench.run(1_000, 7, 4);
        bench.run(1_000, DAYS, 4);
        let run = bench.run(1_000, 7, 4);
        let each = run.seconds / *size as f64;
        let unit = *unit.get_or_insert(each);
        table.row(&format!("{size} records, windows of a week: time"), &[each / unit], Some(1.2));
        table.row(&format!("{size} records, windows of a week: memory"), &[run.memory], Some(64.0));
        let run = bench.run(1_000, DAYS, 4);
        table.row(&format!("{size} records in one window: memory"), &[run.memory], Some(64.0));
    }
}

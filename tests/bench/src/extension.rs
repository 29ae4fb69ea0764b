//! The extension, end to end.

use crate::replay::Replay;
use qbo_e2e::{Database, Server, seconds, wait_until};
use qbo_sim::{Options, Rate};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A database and a company of so many invoices.
pub struct Bench<'a> {
    pub db: Database<'a>,
    pub replay: Replay,
    pub records: u64,
}

/// What a run took.
pub struct Run {
    /// From the call to the end of the run.
    pub seconds: f64,
    /// Of that, in the statements that store.
    pub storing: f64,
    pub requests: u64,
    /// Bytes of WAL.
    pub wal: u64,
    /// Rows written.
    pub written: i64,
    /// Private memory of the worker above an idle one, MB, at most.
    pub memory: f64,
}

impl<'a> Bench<'a> {
    pub fn new(server: &'a Server, records: u64) -> Self {
        let counts = vec![("Invoice".to_owned(), records)];
        let db = Database::on(server, Options { counts, ..Options::default() });
        db.exec("CREATE EXTENSION pg_stat_statements");
        let replay = Replay::start(db.sim.url());
        db.set("qbo_raw.api_base_url", &replay.url);
        Bench { db, replay, records }
    }

    /// Loads everything into empty tables.
    pub fn run(&self, page: u32, chunk: u32, threads: u32) -> Run {
        self.db.exec("DROP TABLE IF EXISTS raw.qb_invoices, raw.backfill_report_invoices");
        self.db.exec("CHECKPOINT");
        let run = self.rerun(page, chunk, threads);
        assert_eq!(self.db.number("SELECT count(*) FROM raw.qb_invoices") as u64, self.records);
        run
    }

    /// Loads everything into the tables as they are.
    pub fn rerun(&self, page: u32, chunk: u32, threads: u32) -> Run {
        let db = &self.db;
        db.set("qbo_raw.fetch_threads", &threads.to_string());
        let mut client = db.client();
        client.batch_execute("SELECT pg_stat_statements_reset()").unwrap();
        let position = "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn";
        let wal = db.number(position);
        let requests = self.replay.requests();
        let ended = AtomicBool::new(false);
        let most = AtomicU64::new(0);
        let call = format!("SELECT raw.qb_backfill('invoices', '2025-07-01', '2025-09-30', {chunk}, {page})");
        let worker = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'qbo_raw worker' AND datname = current_database()";
        // Looks at both by connections that are open: a new one for each look would take a sixth of a core.
        let mut watching = db.client();
        let took = std::thread::scope(|scope| {
            let began = Instant::now();
            let id: i64 = client.query_one(&call, &[]).unwrap().get(0);
            scope.spawn(|| {
                let find = || watching.query_opt(worker, &[]).unwrap().map(|row| row.get::<_, i32>(0));
                watch(find, &ended, &most);
            });
            // The end as the worker wrote it down; a wait would look only now and then.
            let status = client.prepare("SELECT status FROM raw.qb_run WHERE run_id = $1").unwrap();
            let mut look = || client.query_one(&status, &[&id]).unwrap().get::<_, String>(0);
            let status = loop {
                match look().as_str() {
                    "queued" | "running" => std::thread::sleep(Duration::from_millis(5)),
                    status => break status.to_owned(),
                }
            };
            let took = began.elapsed().as_secs_f64();
            ended.store(true, Ordering::Relaxed);
            assert_eq!(
                status,
                "success",
                "{:?}",
                db.rows("SELECT * FROM raw.qb_run ORDER BY run_id DESC LIMIT 1")
            );
            took
        });
        let id = db.number("SELECT max(run_id) FROM raw.qb_run");
        let storing: f64 = db
            .value("SELECT coalesce(sum(total_exec_time), 0) / 1000 FROM pg_stat_statements WHERE query LIKE '%WITH fresh AS MATERIALIZED%'")
            .parse()
            .unwrap();
        Run {
            seconds: took,
            storing,
            requests: self.replay.requests() - requests,
            wal: u64::try_from(db.number(position) - wal).unwrap(),
            written: db.number(&format!(
                "SELECT inserted_count + updated_count FROM raw.qb_run WHERE run_id = {id}"
            )),
            memory: most.load(Ordering::Relaxed) as f64 / 1024.0,
        }
    }

    /// Requests that an empty window costs; the count at the end of the run is left out.
    pub fn empty(&self) -> f64 {
        let before = self.replay.requests();
        let run = self.db.number("SELECT raw.qb_backfill('invoices', '2024-01-01', '2024-04-09', 1)");
        assert_eq!(self.db.ended(run), "success");
        (self.replay.requests() - before - 1) as f64 / 100.0
    }
}

/// Watches the private memory of the worker, in KB above what it is at first.
fn watch(mut find: impl FnMut() -> Option<i32>, ended: &AtomicBool, most: &AtomicU64) {
    let (mut worker, mut idle) = (None, None);
    while !ended.load(Ordering::Relaxed) {
        worker = worker.or_else(&mut find);
        if let Some(now) = worker.and_then(private) {
            let idle = *idle.get_or_insert(now);
            most.fetch_max(now.saturating_sub(idle), Ordering::Relaxed);
        }
        std::thread::sleep(Duration::from_millis(25));
    }
}

/// Memory that is the process's own. Pages of the shared buffers that nobody else touched count as private too, so that is
/// not what is read.
fn private(pid: i32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find(|line| line.starts_with("Anonymous:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// The share of the allowed rate that is reached in a long run, and how often the answer was 429.
pub fn rate(server: &Server, at_least: u64) -> (f64, usize) {
    let counts = vec![("Item".to_owned(), 10)];
    let db = Database::on(server, Options { counts, rate: Some(Rate::intuit()), ..Options::default() });
    for setting in ["requests_per_second", "requests_per_minute"] {
        db.exec(&format!("ALTER DATABASE {} RESET qbo_raw.{setting}", db.name));
    }
    // A window a day: a request each.
    let run = db.number("SELECT raw.qb_backfill('items', '2020-01-01', '2024-12-31', 1)");
    wait_until("it is at full speed", seconds(20), || db.sim.request_count() > 16);
    let (before, began) = (db.sim.request_count(), Instant::now());
    std::thread::sleep(seconds(at_least));
    let sent = db.sim.request_count() - before;
    let rate = sent as f64 / began.elapsed().as_secs_f64() / 8.0;
    db.exec(&format!("SELECT raw.qb_cancel({run})"));
    db.ended(run);
    (rate, db.sim.requests().iter().filter(|request| request.status == 429).count())
}

//! Bad answers of the query endpoint, each with what must come of it: the files in `bodies/`. However an answer is spoiled,
//! its window ends, its report row says what happened, and no record is lost, changed or invented.

mod case;

use case::Case;
use qbo_e2e::{Database, Server, rows, seconds, wait_until};
use qbo_sim::{Options, When};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Instant;

const FILES: [(&str, &str); 10] = [
    ("whole", include_str!("bodies/whole.txt")),
    ("encoding", include_str!("bodies/encoding.txt")),
    ("broken", include_str!("bodies/broken.txt")),
    ("unicode", include_str!("bodies/unicode.txt")),
    ("numbers", include_str!("bodies/numbers.txt")),
    ("size", include_str!("bodies/size.txt")),
    ("ids", include_str!("bodies/ids.txt")),
    ("times", include_str!("bodies/times.txt")),
    ("shapes", include_str!("bodies/shapes.txt")),
    ("faults", include_str!("bodies/faults.txt")),
];

/// So many at a time, each in a database of its own.
const LANES: usize = 2;

/// Three times the largest answer that is taken, in kB.
const MOST_MEMORY: u64 = 3 * 64 * 1024;

/// A server of their own: others end workers on the one that is shared, and that stands in its log.
fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::private(""))
}

/// A database, and a client that stays.
struct Lane {
    db: Database<'static>,
    client: postgres::Client,
    /// And the case that took it.
    most_memory: (u64, String),
}

/// What became of a window.
struct Outcome {
    status: String,
    report: Vec<String>,
    rejects: Vec<Vec<String>>,
    ids: Vec<String>,
}

impl Lane {
    fn new() -> Lane {
        // A company without a record: what is served beside the bad answers is true, and empty.
        let db =
            Database::on(server(), Options { counts: vec![("Invoice".to_owned(), 0)], ..Options::default() });
        db.set("qbo_raw.retry_delay", "1ms");
        db.backfill("invoices");
        let client = db.client();
        Lane { db, client, most_memory: (0, String::new()) }
    }

    fn value(&mut self, text: &str) -> String {
        rows(&mut self.client, text).unwrap().concat().into_iter().next().unwrap_or_default()
    }

    /// Sets the limit for the next worker; one that is there has read the old one.
    fn limit(&self, limit: &str) {
        self.leave();
        self.db.set("qbo_raw.max_body_size", limit);
    }

    fn leave(&self) {
        wait_until("the worker leaves", seconds(30), || !self.db.has_worker());
    }

    /// Fetches one day, whose answers are those of the case.
    fn fetch(&mut self, case: &Case, day: usize) -> Outcome {
        self.client
            .batch_execute("TRUNCATE raw.qb_invoices, raw.backfill_report_invoices, raw.qb_rejects")
            .unwrap();
        if let Some(limit) = &case.limit {
            self.limit(limit);
        }
        self.db.sim.clear_faults();
        self.db.sim.clear_log();
        for (part, fault) in case.faults() {
            self.db.sim.fault(When::Statement(part), fault);
        }
        let run = self.value(&format!(
            "SELECT raw.qb_backfill('invoices', d, d, 1, {}) FROM (SELECT date '2020-01-01' + {day} AS d) AS s",
            case.page_size
        ));
        let began = Instant::now();
        let status = loop {
            let look = format!(
                "SELECT r.status, (SELECT max(pid) FROM pg_stat_activity WHERE backend_type = 'qbo_raw worker' AND datname = current_database())
                   FROM raw.qb_run r WHERE r.run_id = {run}"
            );
            let seen = rows(&mut self.client, &look).unwrap().concat();
            let memory = own_memory(&seen[1]);
            if memory > self.most_memory.0 {
                self.most_memory = (memory, case.name.clone());
            }
            if !["queued", "running"].contains(&seen[0].as_str()) {
                break seen[0].clone();
            }
            // The page of the greatest depths takes seconds alone, and a minute on a slow machine that is busy.
            assert!(began.elapsed() < seconds(300), "{}: it does not end", case.name);
            std::thread::sleep(std::time::Duration::from_millis(5));
        };
        if case.limit.is_some() {
            self.limit("64MB");
        }
        let mut all = |text: &str| rows(&mut self.client, text).unwrap();
        let report = all("SELECT status, row_count, inserted_count, rejected_count, request_count, error_code, error_message,
                                 octet_length(error_code || error_message)
                            FROM raw.backfill_report_invoices");
        assert_eq!(report.len(), 1, "{}: one attempt, one row; the run is {status}", case.name);
        Outcome {
            status,
            report: report.concat(),
            rejects: all(
                "SELECT record_id, reason, raw, record_id IS NULL, raw IS NULL FROM raw.qb_rejects ORDER BY reject_id",
            ),
            ids: all("SELECT id FROM raw.qb_invoices ORDER BY id COLLATE \"C\"").concat(),
        }
    }

    /// What differs from what is expected.
    fn judge(&mut self, case: &Case, outcome: &Outcome) -> Vec<String> {
        let expected = &case.expected;
        let mut wrong = Vec::new();
        let mut same = |what: &str, got: &dyn std::fmt::Debug, wanted: &dyn std::fmt::Debug| {
            let (got, wanted) = (format!("{got:?}"), format!("{wanted:?}"));
            if got != wanted {
                let short = |text: &str| text.chars().take(600).collect::<String>();
                wrong.push(format!("{what}: {}, not {}", short(&got), short(&wanted)));
            }
        };
        let [status, row_count, inserted, rejected, requests, code, message, bytes] = &outcome.report[..]
        else {
            return vec!["no report".to_owned()];
        };
        let number = |text: &str| text.parse::<usize>().unwrap();
        let (word, run) =
            if expected.failed.is_some() { ("error", "failed") } else { ("success", "success") };
        same("run", &outcome.status, &run);
        same("status", status, &word);
        same("error_code", code, &expected.failed.clone().unwrap_or_default());
        same("requests", &number(requests), &expected.requests.unwrap_or(1));
        let asked = self
            .db
            .sim
            .requests()
            .iter()
            .filter(|request| request.statement.contains("STARTPOSITION"))
            .count();
        same("requests counted", &number(requests), &asked);

        // What is stored.
        let mut ids = expected.stored.clone();
        ids.sort();
        match expected.count {
            Some(count) => same("stored", &outcome.ids.len(), &count),
            None => same("stored", &outcome.ids, &ids),
        }
        same("inserted_count", &number(inserted), &outcome.ids.len());
        same("row_count", &number(row_count), &(outcome.ids.len() + number(rejected)));

        // What is rejected: each as it was sent.
        same(
            "rejected_count",
            &number(rejected),
            &expected.rejected_count.unwrap_or(expected.rejected.len()),
        );
        same("rejects", &outcome.rejects.len(), &expected.rejected.len());
        for (row, (id, reason)) in outcome.rejects.iter().zip(&expected.rejected) {
            same("id of the reject", &(&row[3] == "f").then(|| row[0].clone()), id);
            if !row[1].contains(reason.as_str()) {
                same("reason", &row[1], reason);
            }
            let sent = &row[4] == "t" || case.answers.iter().any(|(_, body)| holds(body, row[2].as_bytes()));
            same("raw is what was sent", &sent, &true);
        }

        // What is said.
        same("a message", &message.is_empty(), &expected.failed.is_none());
        same("a short message", &(message.chars().count() < 1_500 && code.len() < 60), &true);
        // What comes after a NUL is not shown, but is there.
        same(
            "bytes of the message",
            bytes,
            &if message.is_empty() { String::new() } else { (code.len() + message.len()).to_string() },
        );
        for part in &expected.message {
            if !message.contains(part.as_str()) {
                same("message", message, part);
            }
        }
        let log = if expected.without.is_empty() { String::new() } else { self.db.log() };
        for secret in &expected.without {
            same("a secret in the message", &message.contains(secret.as_str()), &false);
            same("a secret in the log", &log.contains(secret.as_str()), &false);
        }
        for (id, json) in &expected.payloads {
            let equal = "SELECT payload::text = $2::text::jsonb::text FROM raw.qb_invoices WHERE id = $1";
            let equal = self.client.query_opt(equal, &[id, json]).unwrap().map(|row| row.get::<_, bool>(0));
            same(&format!("payload of {id}"), &equal, &Some(true));
        }
        for (id, text) in &expected.says {
            let there = "SELECT strpos(payload::text, $2) > 0 FROM raw.qb_invoices WHERE id = $1";
            let there = self.client.query_opt(there, &[id, text]).unwrap().map(|row| row.get::<_, bool>(0));
            same(&format!("{id} says {text}"), &there, &Some(true));
        }
        wrong
    }
}

fn holds(body: &[u8], part: &[u8]) -> bool {
    // A body of a megabyte is looked through at once, not byte by byte.
    match (std::str::from_utf8(body), std::str::from_utf8(part)) {
        (Ok(body), Ok(part)) => body.contains(part),
        _ => false,
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // Its database is dropped next, with force: that would look like a worker that died.
        if !std::thread::panicking() {
            self.leave();
        }
    }
}

/// Memory of a process that is its own, in kB; 0 when it is gone.
fn own_memory(pid: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("Anonymous:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn cases() -> Vec<Case> {
    FILES.iter().flat_map(|(file, text)| case::read(file, text)).collect()
}

/// What the server must not have written: a process that ended otherwise than by itself.
fn check_log(log: &str) {
    for word in ["terminated by signal", "panicked", "PANIC", "exited with exit code"] {
        let found: Vec<&str> = log.lines().filter(|line| line.contains(word)).take(3).collect();
        assert!(found.is_empty(), "{found:#?}");
    }
}

#[test]
fn bad_bodies_end_as_they_should() {
    let only = std::env::var("QBO_RAW_BODIES").unwrap_or_default();
    let cases: Vec<Case> = cases().into_iter().filter(|case| case.name.contains(&only)).collect();
    let next = AtomicUsize::new(0);
    let (wrong, memory) = (Mutex::new(Vec::new()), Mutex::new((0, String::new())));
    std::thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                let mut lane = Lane::new();
                while let Some((day, case)) = Some(next.fetch_add(1, Ordering::Relaxed))
                    .and_then(|at| cases.get(at).map(|case| (at, case)))
                {
                    let outcome = lane.fetch(case, day);
                    let found = lane.judge(case, &outcome);
                    if !found.is_empty() {
                        wrong.lock().unwrap().push(format!("{}\n    {}", case.name, found.join("\n    ")));
                    }
                }
                let mut most = memory.lock().unwrap();
                *most = most.clone().max(lane.most_memory.clone());
            });
        }
    });
    let (wrong, memory) = (wrong.into_inner().unwrap(), memory.into_inner().unwrap());
    println!("{} bad answers; {} MB at most, for {}", cases.len(), memory.0 / 1024, memory.1);
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(memory.0 < MOST_MEMORY, "{memory:?}");
    check_log(&server().log());
}

/// How deep jsonb goes depends on the stack, and the stack on the statement. Around the limit a record is stored or
/// rejected, and never fails its window: first the limit is found, then every depth around it is in one page.
#[test]
fn bad_bodies_as_deep_as_jsonb_goes() {
    let mut lane = Lane::new();
    let mut page = |day: usize, depths: Vec<usize>| {
        let nested = |depth: &usize| format!("{{\"Id\":\"{depth}\",\"a\":⟦{depth}*[⟧⟦{depth}*]⟧}}");
        let nested: Vec<String> = depths.iter().map(nested).collect();
        let case = case::read("depth", &format!("== {day}\nrows {}\n", nested.join(","))).remove(0);
        let outcome = lane.fetch(&case, day);
        assert_eq!(outcome.status, "success", "{:?}", outcome.report);
        let mut stored: Vec<usize> = outcome.ids.iter().map(|id| id.parse().unwrap()).collect();
        stored.sort();
        let fit = depths.iter().copied().take_while(|depth| stored.contains(depth)).count();
        assert_eq!(stored, depths[..fit], "what is not as deep is stored");
        assert_eq!(outcome.rejects.len(), depths.len() - fit);
        assert!(0 < fit && fit < depths.len(), "{fit}");
        depths[fit]
    };
    let limit = page(0, (1_000..30_000).step_by(200).collect());
    page(1, (limit - 200..limit + 600).collect());
    check_log(&server().log());
}

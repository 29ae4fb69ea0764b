//! Each request of a run fails once, and every request from it on, in sixteen ways. The rules hold after the fault, and one
//! further call brings everything once the fault is over.

use crate::truth::{World, check};
use qbo_e2e::{Database, RANGE, seconds};
use qbo_sim::{Fault, Options, When};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Kinds of fault, as the simulator calls them.
const KINDS: [&str; 16] = [
    "401",
    "403-throttle",
    "429:0",
    "500",
    "503:0",
    "4001",
    "10000",
    "html",
    "bad-json",
    "invalid-utf8",
    "reset",
    "reset-in-body:40",
    "truncate:60",
    "bad-gzip",
    "200-fault",
    "no-last-chunk",
];

/// Requests of the run that nothing disturbs: pages of five windows.
const CALL: &str = "page_size => 10, chunk_days => 20";

/// Which part of all places is tried: one request in so many of each kind.
fn one_in() -> usize {
    std::env::var("QBO_RAW_CHAOS_ONE_IN").map_or(5, |text| text.parse().expect("a number"))
}

/// So many at a time.
const THREADS: usize = 4;

fn company() -> Database<'static> {
    let options = Options { counts: vec![("Invoice".to_owned(), 60)], ..Options::default() };
    let db = Database::with(options);
    db.set("qbo_raw.max_retries", "1");
    db.set("qbo_raw.retry_delay", "5ms");
    db
}

fn run(db: &Database) -> (i64, String) {
    let run = db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, {CALL})"));
    (run, db.ended_within(run, seconds(30)))
}

#[test]
fn every_request_fails_in_every_way() {
    let calm = company();
    assert_eq!(run(&calm).1, "success");
    let requests = calm.sim.request_count();
    assert!(requests >= 8, "{requests}");
    let mut places = Vec::new();
    for n in 1..=requests {
        for (number, kind) in KINDS.iter().enumerate() {
            for when in [When::Nth(n), When::From(n)] {
                places.push((number + n as usize, *kind, when));
            }
        }
    }
    let all = places.len();
    // Of each kind the same part, at other requests than of the next kind.
    places.retain(|(number, ..)| number % one_in() == 0);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some((_, kind, when)) = places.get(next.fetch_add(1, Ordering::Relaxed)) {
                    disturb(kind, when.clone());
                }
            });
        }
    });
    println!("{} faults of {all}, {requests} requests a run", places.len());
}

/// One fault; what must hold after it, and after it is over.
fn disturb(kind: &str, when: When) {
    let scene = format!("{kind} at {when:?}");
    let once = matches!(when, When::Nth(_));
    let db = company();
    db.sim.fault(when, Fault::named(kind).unwrap());
    let (id, status) = run(&db);
    assert!(
        ["success", "partial", "failed", "blocked_auth"].contains(&status.as_str()),
        "{scene}: run {id} is {status}"
    );
    assert!(db.sim.requests().iter().any(|request| request.faulted), "{scene}: it did not strike");
    let made = db.value("SELECT to_regclass('raw.backfill_report_invoices') IS NOT NULL") == "t";
    assert!(made || !once, "{scene}: no table");
    if made {
        check(&db, "invoices", "Invoice", &scene, &World::default());
    }
    db.sim.clear_faults();
    if status == "blocked_auth" {
        db.authorize();
    }
    let (id, status) = run(&db);
    assert_eq!(status, "success", "{scene}: run {id} afterwards");
    db.check_equal("invoices", "Invoice");
    check(&db, "invoices", "Invoice", &format!("{scene}, and mended"), &World::default());
}

//! Each request of a run fails once, and every request from it on, in sixteen ways. The rules hold after the fault, and one
//! further call brings everything once the fault is over.

use crate::truth::{World, check};
use qbo_e2e::{Database, RANGE, seconds};
use qbo_sim::{Fault, Options, When};

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

/// Which part of all places is tried: one in so many.
fn one_in() -> u64 {
    std::env::var("QBO_RAW_CHAOS_ONE_IN").map_or(20, |text| text.parse().expect("a number"))
}

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
    let (mut tried, mut struck, mut place) = (0, 0, 0);
    for n in 1..=requests {
        for kind in KINDS {
            for when in [When::Nth(n), When::From(n)] {
                place += 1;
                if ((place * 2_654_435_761_u64) >> 8) % one_in() != 0 {
                    continue;
                }
                let scene = format!("{kind} at {when:?}");
                let once = matches!(when, When::Nth(_));
                let db = company();
                db.sim.fault(when, Fault::named(kind).unwrap());
                let (id, status) = run(&db);
                assert!(
                    ["success", "partial", "failed", "blocked_auth"].contains(&status.as_str()),
                    "{scene}: run {id} is {status}"
                );
                eprintln!("{scene}: {status}");
                tried += 1;
                struck += u64::from(db.sim.requests().iter().any(|request| request.faulted));
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
        }
    }
    println!("{tried} faults of {place}, {struck} struck, {requests} requests a run");
    assert_eq!(struck, tried, "a fault that does not strike tests nothing");
}

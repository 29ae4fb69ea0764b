//! Each request of a run fails once, and every request from it on, in sixteen ways. The rules hold after the fault, and one
//! further call brings everything once the fault is over.

use crate::truth::{World, check};
use qbo_e2e::{Database, RANGE, Watch, seconds};
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

/// A run of 26 requests, where nothing disturbs it: windows of one page, of two and of three.
const CALL: &str = "page_size => 4, chunk_days => 7";

/// Which part of all places is tried: one request in so many of each kind.
fn one_in() -> usize {
    std::env::var("QBO_RAW_CHAOS_ONE_IN").map_or(1, |text| text.parse().expect("a number"))
}

/// What is fetched, with its name at QuickBooks: the first so many.
const ENTITIES: [(&str, &str); 4] =
    [("invoices", "Invoice"), ("customers", "Customer"), ("payments", "Payment"), ("items", "Item")];

fn entities() -> usize {
    std::env::var("QBO_RAW_NTH_ENTITIES").map_or(1, |text| text.parse().expect("a number"))
}

/// So many at a time.
const THREADS: usize = 3;

/// One fault, and where it strikes.
struct Place {
    entity: &'static str,
    qbo: &'static str,
    kind: &'static str,
    when: When,
}

fn company(qbo: &str) -> Database<'static> {
    let db = Database::with(Options { counts: vec![(qbo.to_owned(), 60)], ..Options::default() });
    db.set_all(&[("qbo_raw.max_retries", "1"), ("qbo_raw.retry_delay", "5ms")]);
    db
}

fn run(watch: &mut Watch, entity: &str) -> (i64, String) {
    let run = watch.number(&format!("SELECT raw.qb_backfill('{entity}', {RANGE}, {CALL})"));
    (run, watch.ended(run, seconds(120)))
}

#[test]
fn every_request_fails_in_every_way() {
    let mut places = Vec::new();
    for (entity, qbo) in &ENTITIES[..entities()] {
        let calm = company(qbo);
        assert_eq!(run(&mut calm.watch(), entity).1, "success");
        let requests = calm.sim.request_count();
        assert!(requests >= 25, "{entity}: {requests}");
        for n in 1..=requests {
            for (number, kind) in KINDS.iter().enumerate() {
                for when in [When::Nth(n), When::From(n)] {
                    places.push((number + n as usize, Place { entity, qbo, kind, when }));
                }
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
                while let Some((_, place)) = places.get(next.fetch_add(1, Ordering::Relaxed)) {
                    disturb(place);
                }
            });
        }
    });
    println!("{} faults of {all}", places.len());
}

/// One fault; what must hold after it, and after it is over.
fn disturb(Place { entity, qbo, kind, when }: &Place) {
    let scene = format!("{kind} at {when:?} of {entity}");
    let once = matches!(when, When::Nth(_));
    let db = company(qbo);
    db.sim.fault(when.clone(), Fault::named(kind).unwrap());
    let mut watch = db.watch();
    let (id, status) = run(&mut watch, entity);
    assert!(
        ["success", "partial", "failed", "blocked_auth"].contains(&status.as_str()),
        "{scene}: run {id} is {status}"
    );
    assert!(db.sim.requests().iter().any(|request| request.faulted), "{scene}: it did not strike");
    let made = watch.value(&format!("SELECT to_regclass('raw.backfill_report_{entity}') IS NOT NULL")) == "t";
    assert!(made || !once, "{scene}: no table");
    if made {
        check(watch.session(), &db, entity, qbo, &scene, &World::default());
    }
    db.sim.clear_faults();
    if status == "blocked_auth" {
        db.authorize();
    }
    let (id, status) = run(&mut watch, entity);
    assert_eq!(status, "success", "{scene}: run {id} afterwards");
    watch.check_equal(entity, qbo);
    check(watch.session(), &db, entity, qbo, &format!("{scene}, and mended"), &World::default());
}

//! Whole windows: what comes out is what the company holds.

use crate::bench::{Bench, Outcome, Setup, simulator, windows};
use crate::script::Script;
use qbo_raw::domain::secret::Secret;
use qbo_raw::domain::token::Token;
use qbo_raw::http::agent::Settings;
use qbo_sim::{Action, Fault, Sim, When};
use std::collections::BTreeMap;
use std::time::Duration;

/// A token for a server that takes any.
fn token() -> Token {
    Token { generation: 1, access: Secret::new("a-token"), valid_for: Duration::from_secs(3_600) }
}

#[test]
fn every_record_comes_once_and_byte_for_byte() {
    let sim = simulator(|_| {});
    let mut bench = Bench::start(&sim, Setup { lanes: 6, page_size: 7, ..Setup::default() });
    let outcomes = bench.fetch(&windows(14, 7));
    let mut records = BTreeMap::new();
    for outcome in outcomes.values() {
        for batch in outcome.batches() {
            assert!(
                batch.request.contains("SELECT * FROM Invoice WHERE MetaData.LastUpdatedTime >= "),
                "{}",
                batch.request
            );
            for (id, raw) in batch.ids.iter().zip(batch.raws.iter()) {
                assert!(records.insert(id.to_owned(), raw.to_owned()).is_none(), "{id} came twice");
            }
        }
    }
    assert_eq!(records.len(), sim.count("Invoice"));
    for (id, raw) in &records {
        assert_eq!(Some(raw), sim.record("Invoice", id).as_ref());
    }
}

#[test]
fn windows_are_counted_without_their_records() {
    let sim = simulator(|_| {});
    let mut bench = Bench::start(&sim, Setup::default());
    let counts = bench.count(&windows(8, 7));
    let outcomes = bench.fetch(&windows(8, 7));
    assert!(counts.values().sum::<u64>() > 50);
    for (index, count) in counts {
        assert_eq!(count, outcomes[&index].ids().len() as u64, "window {index}");
    }
}

#[test]
fn a_spool_that_cannot_be_written_fails_the_window() {
    let long = format!(r#"{{"QueryResponse":{{"Invoice":[{{"Id":"1","x":"{}"}}]}}}}"#, "x".repeat(3 << 20));
    let server = Script::closing(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{long}", long.len()));
    let spool_dir = std::env::temp_dir().join("qbo_raw there is no such directory");
    let mut bench = Bench::at(&server.url, None, Setup { renews: false, spool_dir, ..Setup::default() });
    bench.pool.give_token(token());
    let outcomes = bench.fetch(&windows(1, 7));
    let failure = outcomes[&0].failure();
    assert_eq!((failure.code.as_str(), failure.sqlstate), ("spool_failed", "58030"), "{failure}");
    assert!(failure.hint.as_ref().is_some_and(|hint| hint.contains("room on the disk")), "{failure:?}");
}

#[test]
fn a_page_that_is_too_big_comes_in_halves() {
    let sim = simulator(|_| {});
    let settings = Settings { max_body_size: 40_000, ..crate::bench::settings() };
    let small = Bench::start(&sim, Setup { settings, ..Setup::default() }).fetch(&windows(1, 14));
    let large = Bench::start(&sim, Setup::default()).fetch(&windows(1, 14));
    assert_eq!(small[&0].ids(), large[&0].ids());
    assert!(small[&0].batches().len() > large[&0].batches().len());
}

/// The Ids of the first two weeks as QuickBooks orders them: they come one a page.
fn in_order(sim: &Sim) -> Vec<String> {
    Bench::start(sim, Setup { page_size: 1, ..Setup::default() }).fetch(&windows(1, 14))[&0].places()
}

#[test]
fn a_row_that_quickbooks_cannot_deliver_is_named_and_the_rest_comes() {
    let sim = simulator(|_| {});
    let truth = in_order(&sim);
    for place in [0, 4] {
        sim.fault(When::Record("Invoice".to_owned(), truth[place].clone()), Fault::named("4002").unwrap());
    }
    let outcomes = Bench::start(&sim, Setup { page_size: 10, ..Setup::default() }).fetch(&windows(1, 14));
    let rejects: Vec<_> = outcomes[&0].batches().iter().flat_map(|batch| batch.rejects.clone()).collect();
    let [first, fifth] = &rejects[..] else { panic!("{rejects:?}") };
    assert!(first.reason.contains("at position 1 of the window: "), "{first:?}");
    assert!(
        fifth.reason.contains(&format!("at position 5 of the window, after Id {}: ", truth[3])),
        "{fifth:?}"
    );
    let mut wanted = truth.clone();
    wanted.remove(4);
    wanted.remove(0);
    wanted.sort_unstable();
    assert_eq!(outcomes[&0].ids(), wanted);
}

#[test]
fn a_window_whose_records_move_is_read_again() {
    let sim = simulator(|_| {});
    let before = in_order(&sim);
    let gone = before[3].clone();
    let next = sim.request_count() + 2;
    sim.act_before(next, Action::Delete("Invoice".to_owned(), gone.clone()));
    let outcomes = Bench::start(&sim, Setup { page_size: 10, ..Setup::default() }).fetch(&windows(1, 14));
    let mut wanted: Vec<_> = before.into_iter().filter(|id| *id != gone).collect();
    wanted.sort_unstable();
    assert_eq!(outcomes[&0].ids(), wanted);
    match &outcomes[&0] {
        Outcome::Fetched { counters, .. } => assert_eq!(counters.rereads, 1),
        Outcome::Failed(failure) => panic!("{failure:?}"),
    }
}

#[test]
fn the_clock_of_the_other_side_may_be_wrong() {
    let mut truth = Vec::new();
    for days in [0, -366, -1, 1, 366] {
        let sim = simulator(|options| options.clock_skew = chrono::TimeDelta::days(days));
        let mut bench = Bench::start(&sim, Setup { page_size: 30, ..Setup::default() });
        let outcomes = bench.fetch(&windows(1, 14));
        match &outcomes[&0] {
            Outcome::Fetched { counters, .. } => assert_eq!(counters.retries, 0, "{days} days"),
            Outcome::Failed(failure) => panic!("{days} days: {failure:?}"),
        }
        assert_eq!(bench.wanted.len(), 1, "{days} days: a token lives as long as Intuit says");
        let ahead = bench.pool.clock_ahead().unwrap();
        assert!((ahead + days * 86_400).abs() < 60, "{days} days: {ahead}");
        if truth.is_empty() {
            truth = outcomes[&0].ids();
        }
        assert!(truth.len() > 50 && outcomes[&0].ids() == truth, "{days} days");
    }
    for date in ["yesterday", "", "Mon, 01 Jan 0000 00:00:00 GMT", "Fri, 31 Dec 999999 23:59:59 GMT", "-1"] {
        let server = Script::closing(format!(
            "HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Length: 20\r\n\r\n{{\"QueryResponse\":{{}}}}"
        ));
        let mut bench = Bench::at(&server.url, None, Setup { renews: false, ..Setup::default() });
        bench.pool.give_token(token());
        assert!(bench.fetch(&windows(1, 7))[&0].batches().is_empty(), "{date}");
    }
}

//! Whole windows: what comes out is what the company holds.

use crate::bench::{Bench, Setup, simulator, windows};
use qbo_raw::http::agent::Settings;
use qbo_sim::{Action, Fault, Sim, When};
use std::collections::BTreeMap;

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
    sim.fault(When::Record("Invoice".to_owned(), truth[4].clone()), Fault::named("4002").unwrap());
    let outcomes = Bench::start(&sim, Setup { page_size: 10, ..Setup::default() }).fetch(&windows(1, 14));
    let rejects: Vec<_> = outcomes[&0].batches().iter().flat_map(|batch| batch.rejects.clone()).collect();
    assert_eq!(rejects.len(), 1, "{rejects:?}");
    assert!(
        rejects[0].reason.contains("position 5")
            && rejects[0].reason.contains(&format!("after Id {}", truth[3]))
    );
    let mut wanted = truth.clone();
    wanted.remove(4);
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
        crate::bench::Outcome::Fetched { counters, .. } => assert_eq!(counters.rereads, 1),
        crate::bench::Outcome::Failed(failure) => panic!("{failure:?}"),
    }
}

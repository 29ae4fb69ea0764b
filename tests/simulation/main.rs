//! Simulated runs: the machines of window, run and token against a company that changes while it is read, a network that
//! fails in every way, a clock, and a database whose worker may die between any two steps. A seed decides everything; one
//! that fails is printed and replayed with `QBO_RAW_SEED=n cargo test --release --test simulation`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod company;
mod network;
mod world;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use world::World;

/// Seeds in the everyday suite; `QBO_RAW_SEEDS` asks for more.
const SEEDS: u64 = 10_000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn nothing_is_lost_under_any_seed() {
    let seeds: Vec<u64> = match number("QBO_RAW_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("QBO_RAW_SEEDS").unwrap_or(SEEDS)).collect(),
    };
    let (next, all) = (AtomicUsize::new(0), Mutex::new(BTreeMap::<&'static str, u64>::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let world = World::run(*seed);
                    assert!(
                        world.violations.is_empty(),
                        "seed {seed}: {:#?}\n{}",
                        world.violations,
                        world.trace.join("\n")
                    );
                    let mut all = all.lock().unwrap();
                    for (what, times) in &world.happened {
                        *all.entry(what).or_default() += times;
                    }
                }
            });
        }
    });
    let happened = all.into_inner().unwrap();
    if seeds.len() as u64 >= SEEDS {
        for what in network::KINDS.iter().chain(world::EVENTS) {
            let times = happened.get(what).copied().unwrap_or(0);
            assert!(times >= 100, "\"{what}\" happened {times} times only: {happened:#?}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..50 {
        assert_eq!(World::run(seed).trace, World::run(seed).trace, "seed {seed}");
    }
}

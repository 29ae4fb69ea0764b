//! A second strike while the run recovers from the first.

use crate::stage::{STRIKES, Scene, recurs, side_by_side};
use fastrand::Rng;
use qbo_e2e::points;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many pairs; the seed of a pair is its number.
fn pairs() -> u64 {
    std::env::var("QBO_RAW_COMPOUND").map_or(100, |text| text.parse().expect("a number"))
}

/// So many pairs are tried until the second point of one is come to.
const MOST_TRIES: usize = 20;

#[test]
fn a_second_strike_while_the_first_is_mended() {
    let of = |groups: &[&str]| -> Vec<String> {
        points().into_iter().filter(|point| groups.iter().any(|group| point.starts_with(group))).collect()
    };
    // A run that is over has nothing to recover.
    let first = of(&[
        "worker@o", "worker@p", "worker@l", "run@", "tables@", "window@", "request@", "page@", "store@",
        "token@",
    ]);
    let first: Vec<String> = first
        .into_iter()
        .filter(|point| !["run@finished", "worker@leaving", "worker@left"].contains(&point.as_str()))
        .collect();
    let second = of(&["worker@opened", "run@", "window@", "request@", "page@", "store@", "count@", "token@"]);
    let seeds: Vec<u64> = (0..pairs()).collect();
    let alone = AtomicUsize::new(0);
    side_by_side(&seeds, |server, seed| {
        let mut random = Rng::with_seed(*seed);
        // Not every recovery comes to every point. Then that strike was a single one, and another pair is chosen.
        for _ in 0..MOST_TRIES {
            // A process that was only interrupted goes on by itself, and may be done before the second strike.
            let (a, b) = (random.choice(&STRIKES[..5]).unwrap(), random.choice(&STRIKES).unwrap());
            let (at, then) = (random.choice(&first).unwrap(), random.choice(&second).unwrap());
            let pass = if recurs(at) { random.u32(0..3) } else { 0 };
            let name = format!("pair {seed}: {a:?} at {at}, arrival {}, then {b:?} at {then}", pass + 1);
            let scene = Scene::new(server, name, random.usize(0..4));
            scene.play(at, pass, *a);
            if scene.play_again(then, *b) {
                return scene.settle(&[*a, *b]);
            }
            scene.settle(&[*a]);
            alone.fetch_add(1, Ordering::Relaxed);
        }
        panic!("pair {seed}: no second point is come to");
    });
    println!("{} pairs of strikes, {} strikes that stayed alone", seeds.len(), alone.into_inner());
}

//! Every named point, and every way to strike there.

use crate::stage::{STRIKES, Scene, Strike, recurs, side_by_side};
use qbo_e2e::{lacks, library, points};

/// Which part of all pairs is struck: one in so many; and how often, each time at another arrival and with other tokens.
fn one_in() -> usize {
    std::env::var("QBO_RAW_MATRIX_ONE_IN").map_or(1, |text| text.parse().expect("a number"))
}

fn rounds() -> usize {
    std::env::var("QBO_RAW_MATRIX_ROUNDS").map_or(1, |text| text.parse().expect("a number"))
}

#[test]
fn every_point_is_struck_in_every_way() {
    let points = points();
    assert!(points.len() >= 40, "{} points", points.len());
    let mut pairs: Vec<(usize, &String, Strike)> = Vec::new();
    for round in 0..rounds() {
        for (row, point) in points.iter().enumerate() {
            let struck = |(column, strike): (usize, &Strike)| (row + column + round, point, *strike);
            pairs.extend(STRIKES.iter().enumerate().map(struck));
        }
    }
    pairs.retain(|(number, ..)| number % one_in() == 0);
    side_by_side(&pairs, |server, (number, point, strike)| {
        let pass = if recurs(point) { *number as u32 % 3 } else { 0 };
        let scene = Scene::new(server, format!("{strike:?} at {point}, arrival {}", pass + 1), *number);
        scene.play(point, pass, *strike);
        scene.settle(&[*strike]);
    });
    println!("{} strikes at {} points", pairs.len(), points.len());
}

#[test]
fn no_point_has_its_name_twice() {
    let all = points();
    let mut once = all.clone();
    once.dedup();
    assert_eq!(all, once);
}

#[test]
fn the_library_under_test_has_every_point() {
    assert_eq!(lacks(&library(), &points()), [""; 0], "was it built with the feature points?");
}

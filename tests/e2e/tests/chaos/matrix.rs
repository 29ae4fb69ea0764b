//! Every named point, and every way to strike there.

use crate::stage::{STRIKES, Scene, Strike, recurs, side_by_side};
use qbo_e2e::{holds, library, points};

/// Which part of all pairs is struck: one in so many.
fn one_in() -> usize {
    std::env::var("QBO_RAW_MATRIX_ONE_IN").map_or(1, |text| text.parse().expect("a number"))
}

#[test]
fn every_point_is_struck_in_every_way() {
    let points = points();
    assert!(points.len() >= 40, "{} points", points.len());
    let mut pairs: Vec<(usize, &String, Strike)> = Vec::new();
    for (row, point) in points.iter().enumerate() {
        pairs.extend(STRIKES.iter().enumerate().map(|(column, strike)| (row + column, point, *strike)));
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
    let library = library();
    for point in points() {
        assert!(holds(&library, &point), "{point}: was it built with the feature points?");
    }
}

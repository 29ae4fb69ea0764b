//! Every way in which two workers can renew one token, with crashes, answers that are lost and a person who connects the
//! company again in between, against four kinds of Intuit. A token is never lost without the connection saying so.

use super::token_world::{Chances, Mode, World};

/// Takes one way after the other through a tree of choices.
#[derive(Default)]
struct Chooser {
    way: Vec<(usize, usize)>,
    at: usize,
}

impl Chooser {
    fn pick(&mut self, of: usize) -> usize {
        if self.at == self.way.len() {
            self.way.push((0, of));
        }
        let (choice, known) = self.way[self.at];
        assert_eq!(known, of, "the same way must see the same choices");
        self.at += 1;
        choice
    }

    /// To the next way; false when all were taken.
    fn next(&mut self) -> bool {
        self.at = 0;
        while let Some((choice, of)) = self.way.pop() {
            if choice + 1 < of {
                self.way.push((choice + 1, of));
                return true;
            }
        }
        false
    }
}

fn explore(mode: Mode, chances: Chances, refused: [Option<u64>; 2]) -> u32 {
    let mut chooser = Chooser::default();
    let mut ways = 0;
    loop {
        let mut acts = Vec::new();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut world = World::new(mode, chances, refused);
            loop {
                let possible = world.acts();
                if possible.is_empty() {
                    break;
                }
                let act = possible[chooser.pick(possible.len())];
                acts.push(act);
                world.act(act);
                assert!(acts.len() < 500, "no end");
            }
            world.check(chances);
        }));
        assert!(outcome.is_ok(), "{mode:?} {refused:?}: {acts:?}");
        ways += 1;
        if !chooser.next() {
            return ways;
        }
    }
}

fn explore_all(chances: Chances) -> u32 {
    let modes = [Mode::Lazy, Mode::Strict, Mode::Grace, Mode::Family];
    let refused = [[Some(0), Some(0)], [Some(0), None], [None, None]];
    modes.iter().flat_map(|mode| refused.map(|refused| explore(*mode, chances, refused))).sum()
}

const NONE: Chances = Chances { crashes: 0, lost: 0, not_now: 0, persons: 0, patient: false };
const PATIENT: Chances = Chances { patient: true, ..NONE };

#[test]
fn nothing_goes_wrong() {
    assert!(explore_all(Chances { not_now: 2, ..NONE }) > 100);
}

#[test]
fn one_crash() {
    assert!(explore_all(Chances { crashes: 1, ..NONE }) > 5_000);
}

#[test]
fn one_lost_answer() {
    assert!(explore_all(Chances { lost: 1, not_now: 1, ..NONE }) > 1_000);
}

#[test]
fn two_crashes_and_a_lost_answer() {
    assert!(explore_all(Chances { crashes: 2, lost: 1, not_now: 1, ..PATIENT }) > 50_000);
}

#[test]
fn persons_who_connect_the_company_again_meanwhile() {
    assert!(explore_all(Chances { persons: 2, not_now: 1, ..PATIENT }) > 5_000);
    assert!(explore_all(Chances { persons: 1, crashes: 1, lost: 1, ..PATIENT }) > 50_000);
}

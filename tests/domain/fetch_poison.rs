//! Rows that QuickBooks cannot deliver: they are found, and everything else is kept exactly once, whatever moves meanwhile.

use super::model::{Server, fault, limits, lost, read, slice, talk};
use qbo_raw::domain::fault::Scope;
use qbo_raw::domain::fetch::{Limits, LostKind};
use std::collections::BTreeSet;

fn poisoned(count: u32, poison: impl IntoIterator<Item = u32>) -> Server {
    Server { poison: poison.into_iter().collect(), ..Server::new(count) }
}

fn positions(story: &super::model::Story) -> Vec<u32> {
    story.poison.iter().map(|(position, _)| *position).collect()
}

#[test]
fn one_row_is_found_at_every_position_by_every_page_size() {
    for count in 1..=14 {
        for position in 1..=count {
            for page_size in 1..=16 {
                let story = read(page_size, &poisoned(count, [position]));
                let what = format!("{position} of {count} by {page_size}");
                let rest: Vec<_> = (1..=count).filter(|id| *id != position).collect();
                assert_eq!(story.ids(), rest, "{what}");
                let before = (position > 1).then(|| (position - 1).to_string());
                assert_eq!(story.poison, [(position, before)], "{what}");
                let counters = story.done();
                assert_eq!((counters.records, counters.rejected), (count.into(), 1), "{what}");
                assert_eq!((counters.retries, counters.rereads), (0, 0), "{what}");
            }
        }
    }
}

#[test]
fn a_thousand_rows_cost_a_few_requests_more() {
    for position in [1, 2, 499, 500, 501, 999, 1_000, 1_001, 2_500] {
        let story = read(1_000, &poisoned(2_500, [position]));
        assert_eq!(story.ids().len(), 2_499, "{position}");
        assert_eq!(positions(&story), [position]);
        assert!(story.sent.len() <= 35, "{position}: {} requests", story.sent.len());
    }
}

#[test]
fn any_set_of_rows_is_found() {
    let mut random = fastrand::Rng::with_seed(10);
    for _ in 0..5_000 {
        let count = random.u32(0..20);
        let odds = random.u32(1..8);
        let poison: BTreeSet<_> = (1..=count).filter(|_| random.u32(0..odds) == 0).collect();
        let mut server = poisoned(count, poison.iter().copied());
        server.largest = (random.u8(0..4) == 0).then(|| random.usize(1..4));
        let story = read(random.u32(1..12), &server);
        assert_eq!(
            story.ids(),
            (1..=count).filter(|id| !poison.contains(id)).collect::<Vec<_>>(),
            "{server:?}"
        );
        assert_eq!(positions(&story), poison.iter().copied().collect::<Vec<_>>(), "{server:?}");
        assert_eq!(story.done().rejected, poison.len() as u64);
        assert_eq!(story.done().rereads, 0);
    }
}

#[test]
fn the_page_size_is_what_it_was_after_the_row_is_found() {
    let story = read(8, &poisoned(40, [11]));
    let after =
        story.sent.iter().skip_while(|slice| (slice.start_position, slice.max_results) != (11, 1)).nth(1);
    assert_eq!(after.map(|slice| (slice.start_position, slice.max_results)), Some((12, 8)));
}

#[test]
fn code_10000_is_asked_once_more_before_the_search() {
    // It passes by itself.
    let server = Server::new(9);
    let story = talk(limits(4), |n, slice| if n == 1 { fault("10000") } else { server.answer(slice) });
    assert_eq!(story.ids(), (1..=9).collect::<Vec<_>>());
    assert_eq!((story.waits.len(), story.poison.len(), story.sent[1]), (1, 0, story.sent[2]));
    // It does not.
    let server = poisoned(9, [6]);
    let story =
        talk(
            limits(4),
            |_, slice| {
                if server.rows(slice).contains(&6) { fault("10000") } else { server.answer(slice) }
            },
        );
    assert_eq!(story.ids(), [1, 2, 3, 4, 5, 7, 8, 9]);
    // One wait in all, none for the halves of the page.
    assert_eq!((positions(&story), story.waits.len()), (vec![6], 1));
    // With no retry left, or none allowed, the search begins at once.
    let mut patient = limits(4);
    patient.backoff.retries = 0;
    let story =
        talk(
            patient,
            |_, slice| {
                if server.rows(slice).contains(&6) { fault("10000") } else { server.answer(slice) }
            },
        );
    assert_eq!(
        (story.ids(), positions(&story), story.waits.len()),
        (vec![1, 2, 3, 4, 5, 7, 8, 9], vec![6], 0)
    );
    // Alone from the beginning it is doubted as well.
    let story = talk(limits(1), |n, slice| if n == 0 { fault("10000") } else { server.answer(slice) });
    assert_eq!(positions(&story), [6]);
}

/// Every way in which one row can leave while a window with one poisoned row is read.
#[test]
fn a_row_that_leaves_around_a_poisoned_one_is_noticed() {
    for count in 2..=7 {
        for poison in 1..=count {
            for leaving in (1..=count).filter(|id| *id != poison) {
                for page_size in 1..=5 {
                    for moment in 0..30 {
                        let mut server = poisoned(count, [poison]);
                        let story = talk(limits(page_size), |n, slice| {
                            if n == moment {
                                server.remove(leaving);
                            }
                            server.answer(slice)
                        });
                        let what =
                            format!("{poison} of {count} by {page_size}, {leaving} leaves at {moment}");
                        let ids = story.ids();
                        let stays: Vec<_> =
                            (1..=count).filter(|id| ![poison, leaving].contains(id)).collect();
                        let kept: Vec<_> = ids.iter().copied().filter(|id| *id != leaving).collect();
                        assert_eq!(kept, stays, "{what}: {:?}", story.sent);
                        assert_eq!(story.poison.len(), 1, "{what}");
                        assert!(story.done().rereads <= 1, "{what}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_poisoned_row_that_leaves_is_noticed() {
    for count in 1..=8 {
        for poison in 1..=count {
            for page_size in 1..=4 {
                for moment in 0..40 {
                    let mut server = poisoned(count, [poison]);
                    let story = talk(limits(page_size), |n, slice| {
                        if n == moment {
                            server.remove(poison);
                        }
                        server.answer(slice)
                    });
                    let stays: Vec<_> = (1..=count).filter(|id| *id != poison).collect();
                    let what = format!("{poison} of {count} by {page_size} leaves at {moment}");
                    assert_eq!(story.ids(), stays, "{what}: {:?}", story.sent);
                }
            }
        }
    }
}

#[test]
fn whatever_moves_around_poisoned_rows_nothing_that_stays_is_lost() {
    let mut random = fastrand::Rng::with_seed(11);
    let mut done = 0;
    for round in 0..10_000 {
        let count = random.u32(0..16);
        let before: Vec<_> = (1..=count).collect();
        let mut server = poisoned(count, (1..=count).filter(|_| random.u32(0..4) == 0));
        server.largest = (random.u8(0..4) == 0).then(|| random.usize(1..4));
        let (page_size, odds) = (random.u32(1..8), random.u32(3..30));
        let story = talk(Limits { rereads: 60, ..limits(page_size) }, |_, slice| {
            if random.u32(0..odds) == 0 && !server.ids.is_empty() {
                server.ids.remove(random.usize(0..server.ids.len()));
            }
            server.answer(slice)
        });
        if story.end.as_ref().is_some_and(Result::is_err) {
            assert_eq!(story.failed().code, "moved_while_read", "round {round}");
            continue;
        }
        done += 1;
        let ids = story.ids();
        assert!(ids.is_sorted_by(|a, b| a < b), "round {round}: {ids:?}");
        let stayed = |id: &&u32| server.ids.contains(id);
        for id in before.iter().filter(stayed) {
            assert_eq!(
                ids.contains(id),
                !server.poison.contains(id),
                "round {round}: {id}, {:?}",
                story.sent
            );
        }
        let poison = before.iter().filter(stayed).filter(|id| server.poison.contains(id)).count();
        assert!(story.poison.len() >= poison, "round {round}: {:?} of {poison}", story.poison);
    }
    assert!(done > 5_000);
}

/// In a window by creation a row can grow where it stands.
#[test]
fn a_guard_that_grows_too_large_is_the_end() {
    let server = poisoned(6, [5]);
    for wrong in [|| lost(LostKind::TooLarge), || fault("6002")] {
        let mut found = false;
        let story = talk(limits(3), |_, asked| {
            found |= asked == slice(5, 1);
            if found && asked == slice(4, 1) { wrong() } else { server.answer(asked) }
        });
        assert!(["body_too_large", "qbo_6002"].contains(&story.failed().code.as_str()));
    }
}

#[test]
fn more_than_twenty_in_a_row_are_no_fault_of_theirs() {
    for page_size in [1, 3, 100] {
        let story = read(page_size, &poisoned(50, 11..=30));
        assert_eq!((story.ids().len(), story.poison.len()), (30, 20));
        // Each of them is preceded by a good one: that is not in a row.
        let story = read(page_size, &poisoned(60, (2..=60).step_by(2)));
        assert_eq!((story.ids().len(), story.poison.len()), (30, 30));
        let story = read(page_size, &poisoned(50, 11..=31));
        assert_eq!((story.failed().code.as_str(), story.failed().scope), ("qbo_4002", Scope::Window));
    }
}

#[test]
fn a_server_that_refuses_every_row_comes_to_an_end() {
    for page_size in [1, 10, 1_000] {
        let story = talk(limits(page_size), |_, _| fault("4002"));
        assert_eq!(story.failed().code, "qbo_4002");
    }
}

//! The machine of a run: what is fetched when, and how it ends.

use chrono::{TimeDelta, TimeZone, Utc};
use qbo_raw::domain::fault::{Failure, Scope};
use qbo_raw::domain::run::{BREAKER, Run, Status};
use qbo_raw::domain::window::Window;
use std::time::Duration;

fn windows(count: usize) -> Vec<Window> {
    let origin = Utc.with_ymd_and_hms(2024, 1, 1, 0, 0, 0).unwrap();
    let day = TimeDelta::try_days(1).unwrap();
    (0..count).map(|n| origin + day * n as i32).map(|start| Window { start, end: start + day }).collect()
}

fn run(count: usize, at_once: usize) -> Run {
    Run::new(windows(count), 0, at_once)
}

fn next(run: &mut Run) -> Option<usize> {
    run.next_window().map(|(index, _)| index)
}

/// All windows that may begin now.
fn begin(run: &mut Run) -> Vec<usize> {
    std::iter::from_fn(|| next(run)).collect()
}

fn failure(scope: Scope) -> Failure {
    Failure::new("x", "38000", "x").scope(scope)
}

fn outage() -> Failure {
    failure(Scope::Window).outage()
}

#[test]
fn nothing_to_do_is_success() {
    assert_eq!(run(0, 4).end(), Some(Status::Success));
    assert_eq!(Run::new(Vec::new(), 7, 4).end(), Some(Status::Success));
    assert_eq!(next(&mut run(0, 4)), None);
}

#[test]
fn one_window_goes_first_alone() {
    let mut run = run(10, 4);
    assert_eq!(begin(&mut run), [0]);
    run.fetched(0);
    assert_eq!(begin(&mut run), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(run.end(), None);
}

#[test]
fn while_nothing_was_fetched_one_goes_after_the_other() {
    let mut run = run(5, 4);
    for index in 0..3 {
        assert_eq!(begin(&mut run), [index]);
        assert!(run.failed(index, &failure(Scope::Window)));
    }
    assert_eq!(begin(&mut run), [3]);
    run.fetched(3);
    assert_eq!(begin(&mut run), [4]);
}

#[test]
fn the_first_page_opens_the_way_for_all() {
    let mut run = run(9, 3);
    assert_eq!(begin(&mut run), [0]);
    run.answered();
    assert_eq!(begin(&mut run), [1, 2, 3, 4, 5], "one for each of three threads, and one more to go on with");
    run.fetched(2);
    run.stored(2);
    assert_eq!(begin(&mut run), [6]);
}

#[test]
fn windows_come_with_their_place_and_in_order() {
    let all = windows(6);
    let mut run = Run::new(all.clone(), 2, 1);
    for (index, window) in all.iter().enumerate() {
        assert_eq!(run.next_window(), Some((index, *window)));
        run.fetched(index);
        run.stored(index);
    }
    assert_eq!(run.end(), Some(Status::Success));
}

#[test]
fn no_more_are_fetched_than_can_be_stored() {
    let mut run = run(20, 3);
    next(&mut run);
    run.fetched(0);
    assert_eq!(begin(&mut run), [1, 2, 3, 4, 5]);
    (1..6).for_each(|index| run.fetched(index));
    assert_eq!(begin(&mut run), [0; 0], "six wait to be stored");
    run.stored(0);
    assert_eq!(begin(&mut run), [6]);
    run.stored(1);
    run.stored(2);
    assert_eq!(begin(&mut run), [7, 8]);
}

#[test]
fn none_at_once_counts_as_one() {
    let mut run = run(3, 0);
    assert_eq!(begin(&mut run), [0]);
    run.fetched(0);
    run.stored(0);
    assert_eq!(begin(&mut run), [1, 2]);
}

#[test]
fn there_is_room_when_something_came_and_all_is_handed_out() {
    let mut run = run(2, 1);
    assert!(!run.has_room());
    begin(&mut run);
    assert!(!run.has_room());
    run.answered();
    assert!(!run.has_room(), "a window is left");
    begin(&mut run);
    assert!(run.has_room());
    run.cancel();
    assert!(!run.has_room());
}

/// A run of two windows of which the first is stored and the second fails.
fn second_fails(failure: &Failure) -> (bool, Option<Status>) {
    let mut run = run(2, 2);
    next(&mut run);
    run.fetched(0);
    run.stored(0);
    next(&mut run);
    (run.failed(1, failure), run.end())
}

#[test]
fn what_was_stored_and_is_lost_has_failed() {
    // Three windows were stored by an earlier try, one by this.
    let mut run = Run::new(windows(3), 3, 2);
    next(&mut run);
    run.fetched(0);
    run.stored(0);
    begin(&mut run);
    run.fetched(1);
    run.lost();
    assert_eq!((run.broken(), run.end()), (None, None));
    run.stored(1);
    run.fetched(2);
    run.stored(2);
    assert_eq!((run.broken(), run.end()), (None, Some(Status::Partial)));
    // Nothing is left of it.
    let mut run = whole(2);
    run.lost();
    assert_eq!((run.broken(), run.end()), (None, Some(Status::Failed)));
}

/// A run of so many windows, all stored.
fn whole(count: usize) -> Run {
    let mut run = run(count, 2);
    for index in 0..count {
        next(&mut run);
        run.fetched(index);
        run.stored(index);
    }
    run
}

#[test]
fn the_statuses() {
    let pause = Duration::from_secs(900);
    assert_eq!(second_fails(&failure(Scope::Window)), (true, Some(Status::Partial)));
    assert_eq!(second_fails(&failure(Scope::Run)), (true, Some(Status::Partial)));
    assert_eq!(second_fails(&failure(Scope::Blocked)), (false, Some(Status::BlockedAuth)));
    assert_eq!(second_fails(&failure(Scope::Park(pause))), (false, Some(Status::Parked(pause))));
    let mut alone = run(1, 1);
    next(&mut alone);
    alone.failed(0, &outage());
    assert_eq!(alone.end(), Some(Status::Failed));
    // Stored by an earlier try of the run.
    let mut again = Run::new(windows(1), 3, 1);
    next(&mut again);
    again.failed(0, &failure(Scope::Window));
    assert_eq!(again.end(), Some(Status::Partial));
    for (status, word) in [
        (Status::Success, "success"),
        (Status::Partial, "partial"),
        (Status::Failed, "failed"),
        (Status::Cancelled, "cancelled"),
        (Status::BlockedAuth, "blocked_auth"),
        (Status::Parked(pause), "queued"),
    ] {
        assert_eq!(status.as_str(), word);
    }
}

#[test]
fn a_failure_of_the_run_ends_it_at_once() {
    for scope in [Scope::Run, Scope::Blocked, Scope::Park(Duration::from_secs(1))] {
        let mut run = run(10, 4);
        next(&mut run);
        run.failed(0, &failure(scope));
        assert_eq!(next(&mut run), None);
        assert!(run.end().is_some());
    }
}

#[test]
fn a_spent_budget_lets_finish_what_is_under_way() {
    let mut run = run(6, 3);
    assert_eq!(begin(&mut run), [0]);
    run.fetched(0);
    run.stored(0);
    assert_eq!(begin(&mut run), [1, 2, 3, 4, 5]);
    assert!(run.is_handed_out());
    assert!(!run.failed(1, &failure(Scope::Budget)), "what was not asked for has not failed");
    assert!(!run.is_handed_out());
    assert_eq!((run.end(), begin(&mut run)), (None, vec![]), "nothing new begins");
    for index in [4, 5] {
        assert!(!run.failed(index, &failure(Scope::Budget)));
    }
    run.fetched(2);
    assert_eq!(run.end(), None);
    assert!(!run.failed(3, &failure(Scope::Budget)));
    assert_eq!(run.end(), None, "what is fetched is stored");
    run.stored(2);
    assert_eq!(run.end(), Some(Status::Partial));
}

#[test]
fn a_window_can_fail_while_it_is_stored() {
    let mut run = run(1, 1);
    next(&mut run);
    run.fetched(0);
    assert_eq!(run.end(), None);
    assert!(run.failed(0, &failure(Scope::Window)));
    run.stored(0);
    assert_eq!(run.end(), Some(Status::Failed), "it is not stored as well");
}

#[test]
fn the_breaker_ends_a_run_in_an_outage() {
    assert_eq!(BREAKER, 20);
    let mut run = run(100, 4);
    for index in 0..20 {
        assert_eq!(run.end(), None, "{index}");
        assert_eq!(next(&mut run), Some(index));
        assert!(run.failed(index, &outage()));
    }
    assert_eq!(next(&mut run), None);
    assert_eq!(run.end(), Some(Status::Failed));
}

#[test]
fn only_outages_in_a_row_count_for_the_breaker() {
    let mut run = run(200, 1);
    for index in 0..200 {
        assert_eq!(next(&mut run), Some(index));
        match index % 20 {
            19 if index % 40 == 19 => {
                run.fetched(index);
                run.stored(index);
            }
            19 => drop(run.failed(index, &failure(Scope::Window))),
            _ => drop(run.failed(index, &outage())),
        }
    }
    assert_eq!(run.end(), Some(Status::Partial));
}

#[test]
fn cancelling_goes_before_everything() {
    for scope in [Scope::Window, Scope::Run, Scope::Blocked, Scope::Park(Duration::ZERO)] {
        let mut run = run(3, 1);
        next(&mut run);
        run.failed(0, &failure(scope));
        run.cancel();
        assert_eq!((next(&mut run), run.end()), (None, Some(Status::Cancelled)));
    }
}

#[test]
fn a_cancel_that_comes_when_all_is_stored_changes_nothing() {
    let mut run = run(1, 1);
    next(&mut run);
    run.fetched(0);
    run.stored(0);
    run.cancel();
    assert_eq!(run.end(), Some(Status::Success));
}

#[test]
fn a_cancel_that_comes_when_something_failed_is_one() {
    let mut run = run(1, 1);
    next(&mut run);
    run.failed(0, &failure(Scope::Window));
    run.cancel();
    assert_eq!(run.end(), Some(Status::Cancelled));
}

#[test]
fn only_what_is_under_way_can_have_been_fetched() {
    let mut run = run(1, 1);
    next(&mut run);
    run.failed(0, &failure(Scope::Window));
    run.fetched(0);
    assert_eq!(run.end(), Some(Status::Failed), "nothing waits to be stored");
    run.stored(0);
    assert_eq!(run.end(), Some(Status::Failed));
}

#[test]
fn of_two_reasons_to_stop_the_first_counts() {
    let mut run = run(5, 3);
    next(&mut run);
    run.fetched(0);
    begin(&mut run);
    run.failed(1, &failure(Scope::Blocked));
    run.failed(2, &failure(Scope::Run));
    run.failed(3, &failure(Scope::Park(Duration::ZERO)));
    assert_eq!(run.end(), Some(Status::BlockedAuth));
}

#[test]
fn a_window_that_ends_twice_breaks_the_machine() {
    let mut run = run(1, 4);
    begin(&mut run);
    assert!(run.failed(0, &failure(Scope::Window)));
    assert_eq!(run.broken(), None);
    run.failed(0, &failure(Scope::Window));
    let broken = run.broken().unwrap();
    assert_eq!((broken.code.as_str(), broken.sqlstate), ("internal", "XX000"));
    assert!(broken.message.ends_with("0 windows to do, 0 under way, 0 stored, 2 failed, of 1"), "{broken:?}");
}

#[test]
fn random_runs_do_every_window_once_and_end() {
    let mut random = fastrand::Rng::with_seed(8);
    for _ in 0..2_000 {
        let (count, at_once, before) = (random.usize(0..40), random.usize(1..6), random.usize(0..3));
        let mut run = Run::new(windows(count), before, at_once);
        let (mut flying, mut waiting) = (Vec::new(), Vec::new());
        let (mut seen, mut stored, mut failed) = (Vec::new(), before, 0);
        while run.end().is_none() {
            match random.u8(0..4) {
                0 => {
                    if let Some(index) = next(&mut run) {
                        seen.push(index);
                        flying.push(index);
                    }
                }
                1 if !flying.is_empty() => {
                    let index = flying.swap_remove(random.usize(0..flying.len()));
                    run.fetched(index);
                    waiting.push(index);
                }
                2 if !waiting.is_empty() => {
                    run.stored(waiting.swap_remove(random.usize(0..waiting.len())));
                    stored += 1;
                }
                _ if !flying.is_empty() && random.u8(0..5) == 0 => {
                    let index = flying.swap_remove(random.usize(0..flying.len()));
                    assert!(run.failed(index, &failure(Scope::Window)));
                    failed += 1;
                }
                _ => {}
            }
            assert!(flying.len() + waiting.len() <= 2 * at_once);
            assert_eq!(run.broken(), None);
        }
        assert_eq!(seen, (0..count).collect::<Vec<_>>());
        let status = match (failed, stored) {
            (0, _) => Status::Success,
            (_, 0) => Status::Failed,
            _ => Status::Partial,
        };
        assert_eq!(run.end(), Some(status));
    }
}

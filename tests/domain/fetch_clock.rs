//! The machine of a window and the clock on the wall: a clock that jumps changes no decision, but for a Retry-After that is a
//! date; and nothing but a page with status 200 is a page.

use super::model::{Server, Story, busy, fault, fetch, limits, lost, now, reply, talk, talk_at};
use chrono::{DateTime, TimeDelta, Utc};
use qbo_raw::domain::fault::Scope;
use qbo_raw::domain::fetch::{Event, LostKind};
use std::time::Duration;

/// An hour or a year, back or ahead, or as far as a clock can be wrong.
fn jumps(random: &mut fastrand::Rng) -> DateTime<Utc> {
    match random.u8(0..6) {
        0 => DateTime::<Utc>::MIN_UTC,
        1 => DateTime::<Utc>::MAX_UTC,
        2 => now() - TimeDelta::days(366),
        3 => now() + TimeDelta::days(366),
        4 => now() - TimeDelta::hours(1),
        _ => now() + TimeDelta::hours(1),
    }
}

/// Trouble that depends on nothing but the seed.
fn trouble(seed: u64, clock: impl FnMut() -> DateTime<Utc>) -> Story {
    let mut random = fastrand::Rng::with_seed(seed);
    let server = Server::new(random.u32(0..20));
    let limits = limits(random.u32(1..7));
    talk_at(limits, clock, move |_, slice| match random.u32(0..12) {
        0 => reply(503, ""),
        1 => busy(429, "7"),
        2 => reply(401, ""),
        3 => lost(*random.choice(&[LostKind::Timeout, LostKind::Reset, LostKind::Tls]).unwrap()),
        4 => fault("6002"),
        5 => reply(200, "{"),
        _ => server.answer(slice),
    })
}

#[test]
fn a_clock_that_jumps_changes_nothing() {
    let mut random = fastrand::Rng::with_seed(21);
    for seed in 0..5_000 {
        let steady = trouble(seed, now);
        let jumping = trouble(seed, || jumps(&mut random));
        assert_eq!((&steady.sent, &steady.waits), (&jumping.sent, &jumping.waits), "seed {seed}");
        assert_eq!((&steady.kept, &steady.end), (&jumping.kept, &jumping.end), "seed {seed}");
    }
}

#[test]
fn a_date_to_come_again_at_is_believed_within_bounds_whatever_the_clock_says() {
    let at = "Mon, 01 Jan 2024 00:01:00 GMT";
    let hour = TimeDelta::hours(1);
    for (clock, wait) in [
        (now(), Some(60)),
        // It is over already, by our clock: the ordinary back-off holds.
        (now() + hour, Some(2)),
        (DateTime::<Utc>::MAX_UTC, Some(2)),
        // Further away than a thread waits: the run is put aside, for a day at most.
        (now() - hour, None),
        (DateTime::<Utc>::MIN_UTC, None),
    ] {
        let story = talk_at(
            limits(5),
            || clock,
            |n, slice| match n {
                0 => busy(429, at),
                _ => Server::new(3).answer(slice),
            },
        );
        match wait {
            Some(seconds) => {
                assert_eq!(story.waits, [(Duration::from_secs(seconds), true)], "{clock}");
                story.done();
            }
            None => match story.failed().scope {
                Scope::Park(length) => assert!(length <= Duration::from_secs(86_400), "{clock}: {length:?}"),
                other => panic!("{clock}: {other:?}"),
            },
        }
    }
}

#[test]
fn a_page_with_another_status_is_no_page() {
    let body = r#"{"QueryResponse":{"Invoice":[{"Id":"1"}]}}"#;
    for status in (0..=1_000).filter(|status| *status != 200) {
        let story = talk(limits(5), |n, slice| match n {
            0 => reply(status, body),
            _ => Server::new(3).answer(slice),
        });
        // It was asked for again, or the window failed: nothing of it was kept.
        match &story.end {
            Some(Ok(_)) => {
                assert_eq!(story.ids(), [1, 2, 3], "status {status}");
                assert!(story.sent.len() > 1, "status {status}");
            }
            Some(Err(failure)) => {
                assert!(!failure.code.is_empty() && story.kept.is_empty(), "status {status}")
            }
            None => panic!("status {status} has no end"),
        }
        let stays = talk(limits(5), |_, _| reply(status, body));
        let failure = stays.failed();
        assert!(stays.kept.is_empty() && stays.sent.len() <= 6, "status {status}: {failure:?}");
        assert!(failure.message.contains(&status.to_string()), "status {status}: {failure:?}");
    }
}

#[test]
fn a_count_is_not_taken_from_another_status_either() {
    let mut machine = qbo_raw::domain::fetch::Fetch::count(*fetch(limits(5)).query(), limits(5));
    machine.step(Event::Start, now(), 0.0);
    let effects = machine.step(reply(206, r#"{"QueryResponse":{"totalCount":7}}"#), now(), 0.0);
    assert!(matches!(&effects[..], [qbo_raw::domain::fetch::Effect::Wait { .. }]), "{effects:?}");
}

//! The machine that only counts the records of a window: one request, with the retries of any other.

use super::model::{busy, fault, limits, lost, now, query, reply, slice};
use qbo_raw::domain::fault::{Counters, Failure};
use qbo_raw::domain::fetch::{Effect, Event, Fetch, LostKind};
use std::time::Duration;

/// What a count came to, with the waits on the way.
struct Count {
    end: Result<(u64, Counters), Failure>,
    waits: Vec<Duration>,
    renewals: u32,
}

impl Count {
    fn failed(&self) -> &str {
        &self.end.as_ref().unwrap_err().code
    }
}

/// Counts, and gets these answers; the last one again and again.
fn count(answers: &[fn() -> Event]) -> Count {
    let mut machine = Fetch::count(query(), limits(100));
    let mut asked = 0;
    let (mut waits, mut renewals) = (Vec::new(), 0);
    let mut event = Event::Start;
    loop {
        let mut effects = machine.step(event, now(), 0.0);
        assert_eq!(effects.len(), 1, "{effects:?}");
        event = match effects.remove(0) {
            Effect::Send(slice) => {
                assert!(machine.statement(slice).starts_with("SELECT COUNT(*) FROM Invoice WHERE "));
                asked += 1;
                answers[(asked - 1).min(answers.len() - 1)]()
            }
            Effect::Wait { for_, .. } => {
                waits.push(for_);
                Event::Waited
            }
            Effect::Renew => {
                renewals += 1;
                Event::Token
            }
            Effect::Counted(count, counters) => {
                assert!(machine.step(Event::Waited, now(), 0.0).is_empty());
                assert_eq!(counters.requests as usize, asked);
                return Count { end: Ok((count, counters)), waits, renewals };
            }
            Effect::Failed(failure) => return Count { end: Err(failure), waits, renewals },
            other => panic!("{other:?}"),
        };
    }
}

fn forty_two() -> Event {
    reply(200, r#"{"QueryResponse":{"totalCount":42}}"#)
}

#[test]
fn a_count_takes_one_request() {
    let (number, counters) = count(&[forty_two]).end.unwrap();
    assert_eq!((number, counters), (42, Counters { requests: 1, ..Counters::default() }));
}

#[test]
fn what_passes_is_sat_out() {
    let hiccup = || fault("10000");
    let refused = || reply(401, "");
    let story = count(&[|| reply(503, ""), || lost(LostKind::Timeout), hiccup, refused, forty_two]);
    assert_eq!(story.end.unwrap().0, 42);
    assert_eq!((story.waits, story.renewals), ([2, 4, 8].map(Duration::from_secs).to_vec(), 1));
}

#[test]
fn what_stays_is_a_failure() {
    for (answer, code, waits) in [
        ((|| reply(503, "")) as fn() -> Event, "http_503", 5),
        // No row can be blamed for it.
        (|| fault("4002"), "qbo_4002", 5),
        (|| lost(LostKind::TooLarge), "body_too_large", 0),
        (|| fault("6000"), "qbo_6000", 0),
        (|| reply(200, r#"{"QueryResponse":{"Invoice":[{"Id":"1"}]}}"#), "unexpected_shape", 0),
        (|| busy(429, "1"), "throttled", 5),
    ] {
        let story = count(&[answer]);
        assert_eq!((story.failed(), story.waits.len()), (code, waits));
    }
}

#[test]
fn a_page_is_asked_for_by_its_place_and_a_count_is_not() {
    let (page, count) = (Fetch::new(query(), limits(100)), Fetch::count(query(), limits(100)));
    assert_eq!(page.statement(slice(3, 7)), query().page(slice(3, 7)));
    assert_eq!(count.statement(slice(3, 7)), query().count());
    assert_eq!((page.query(), count.query()), (&query(), &query()));
}

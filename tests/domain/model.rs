//! A small model of QuickBooks for the machine of a window, and what drives the machine against it.

use chrono::{DateTime, TimeZone, Utc};
use qbo_raw::domain::entity::Entity;
use qbo_raw::domain::fault::{Counters, Failure};
use qbo_raw::domain::fetch::{Effect, Event, Fetch, Limits, Lost, LostKind, Reply};
use qbo_raw::domain::page::Row;
use qbo_raw::domain::query::{Query, Slice};
use qbo_raw::domain::retry::Backoff;
use qbo_raw::domain::window::{Window, WindowOn};
use std::collections::BTreeSet;
use std::time::Duration;

pub fn now() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2024, 1, 1, 0, 0, 0).unwrap()
}

pub fn limits(page_size: u32) -> Limits {
    let backoff = Backoff { retries: 5, base: Duration::from_secs(2) };
    Limits { page_size, backoff, page_cap: 10_000, rereads: 3 }
}

pub fn query() -> Query {
    let window = Window { start: now(), end: now() };
    Query { entity: Entity::find("invoices").unwrap(), on: WindowOn::Updated, window }
}

pub fn fetch(limits: Limits) -> Fetch {
    Fetch::new(query(), limits)
}

pub fn slice(start_position: u32, max_results: u32) -> Slice {
    Slice { start_position, max_results }
}

/// An answer with this status and body.
pub fn reply(status: u16, body: impl Into<Vec<u8>>) -> Event {
    Event::Answer(Reply { status, body: body.into(), ..Reply::default() })
}

/// A fault with status 400 and this code.
pub fn fault(code: &str) -> Event {
    reply(400, format!(r#"{{"Fault":{{"Error":[{{"Message":"m","code":"{code}"}}]}}}}"#))
}

/// An answer that says when to come again.
pub fn busy(status: u16, retry_after: &str) -> Event {
    Event::Answer(Reply { status, retry_after: Some(retry_after.to_owned()), ..Reply::default() })
}

pub fn lost(kind: LostKind) -> Event {
    Event::Lost(Lost { kind, message: format!("{kind:?}") })
}

/// A page of these records.
pub fn page(ids: &[u32]) -> Event {
    counted(ids, None)
}

/// The same, with a totalCount.
pub fn counted(ids: &[u32], total: Option<usize>) -> Event {
    let rows: Vec<_> = ids.iter().map(|id| format!(r#"{{"Id":"{id}"}}"#)).collect();
    let total = total.map(|total| format!(r#","totalCount":{total}"#)).unwrap_or_default();
    reply(200, format!(r#"{{"QueryResponse":{{"Invoice":[{}]{total}}}}}"#, rows.join(",")))
}

/// The records of a window, sorted.
#[derive(Debug, Clone, Default)]
pub struct Server {
    pub ids: Vec<u32>,
    /// Those that spoil a page.
    pub poison: BTreeSet<u32>,
    /// A page with more records is too large.
    pub largest: Option<usize>,
}

impl Server {
    pub fn new(count: u32) -> Self {
        Server { ids: (1..=count).collect(), ..Server::default() }
    }

    pub fn rows(&self, slice: Slice) -> &[u32] {
        let from = (slice.start_position as usize - 1).min(self.ids.len());
        let to = (from + slice.max_results as usize).min(self.ids.len());
        &self.ids[from..to]
    }

    pub fn answer(&self, slice: Slice) -> Event {
        let rows = self.rows(slice);
        if rows.iter().any(|id| self.poison.contains(id)) {
            return fault("4002");
        }
        if self.largest.is_some_and(|largest| rows.len() > largest) {
            return lost(LostKind::TooLarge);
        }
        page(rows)
    }

    pub fn remove(&mut self, id: u32) {
        self.ids.retain(|other| *other != id);
    }
}

/// What a machine did.
#[derive(Debug, Default)]
pub struct Story {
    pub sent: Vec<Slice>,
    pub waits: Vec<(Duration, bool)>,
    /// Since the last restart.
    pub kept: Vec<Option<u32>>,
    pub pages: Vec<u32>,
    /// Position of a poisoned row, and the Id before it.
    pub poison: Vec<(u32, Option<String>)>,
    pub restarts: u32,
    pub renewals: u32,
    pub end: Option<Result<Counters, Failure>>,
}

impl Story {
    pub fn done(&self) -> Counters {
        match &self.end {
            Some(Ok(counters)) => *counters,
            other => panic!("{other:?} after {} requests", self.sent.len()),
        }
    }

    pub fn failed(&self) -> &Failure {
        match &self.end {
            Some(Err(failure)) => failure,
            other => panic!("{other:?}"),
        }
    }

    /// Ids of the rows kept; all of them have one.
    pub fn ids(&self) -> Vec<u32> {
        self.kept.iter().map(|id| id.expect("an Id")).collect()
    }

    fn take(&mut self, effect: Effect) -> Option<Event> {
        assert!(self.end.is_none(), "{effect:?} after the end");
        match effect {
            Effect::Send(slice) => {
                assert!(slice.start_position >= 1 && (1..=1_000).contains(&slice.max_results), "{slice:?}");
                self.sent.push(slice);
            }
            Effect::Wait { for_, everyone } => {
                self.waits.push((for_, everyone));
                return Some(Event::Waited);
            }
            Effect::Renew => {
                self.renewals += 1;
                return Some(Event::Token);
            }
            Effect::Keep(kept) => {
                assert_eq!(Some(&kept.slice), self.sent.last());
                self.kept
                    .extend(kept.page.rows()[kept.skip..].iter().map(|row| Some(row.id()?.parse().unwrap())));
                assert!(
                    kept.page.rows().iter().all(|row| matches!(row, Row::Unusable(_)) || row.id().is_some())
                );
                self.pages.push(kept.number);
            }
            Effect::Restart => {
                self.restarts += 1;
                self.kept.clear();
                self.pages.clear();
                self.poison.clear();
            }
            Effect::Poison { position, after, .. } => self.poison.push((position, after)),
            Effect::Done(counters) => self.end = Some(Ok(counters)),
            Effect::Counted(..) => panic!("nothing was to be counted"),
            Effect::Failed(failure) => self.end = Some(Err(failure)),
        }
        None
    }
}

/// More requests than any window of a test needs.
const ENDLESS: usize = 20_000;

/// Drives a machine to its end; `answer` gets the number of the request, from 0, and what is asked for.
pub fn talk(limits: Limits, answer: impl FnMut(usize, Slice) -> Event) -> Story {
    talk_at(limits, now, answer)
}

/// The same with a clock, which is looked at before every step.
pub fn talk_at(
    limits: Limits,
    mut clock: impl FnMut() -> DateTime<Utc>,
    mut answer: impl FnMut(usize, Slice) -> Event,
) -> Story {
    let mut machine = fetch(limits);
    let mut story = Story::default();
    let mut event = Event::Start;
    loop {
        let before = story.sent.len();
        let mut next = None;
        for effect in machine.step(event, clock(), 0.0) {
            let event = story.take(effect);
            assert!(next.is_none() || event.is_none(), "two things to wait for");
            next = next.or(event);
        }
        if story.end.is_some() {
            assert!(machine.step(Event::Waited, clock(), 0.0).is_empty());
            return story;
        }
        assert!(story.sent.len() < ENDLESS, "it goes on without end: {:?}", &story.sent[ENDLESS - 20..]);
        event = match (next, story.sent.len() - before) {
            (Some(event), 0) => event,
            (None, 1) => answer(before, *story.sent.last().unwrap()),
            (next, sent) => panic!("{next:?} and {sent} requests at once"),
        };
    }
}

/// Drives a machine against a server that stays as it is.
pub fn read(page_size: u32, server: &Server) -> Story {
    talk(limits(page_size), |_, slice| server.answer(slice))
}

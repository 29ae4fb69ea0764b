//! The world of one seed: it lets things happen one after the other, and looks after each whether something was lost.

use crate::company::{Company, Record};
use crate::network;
use chrono::{DateTime, NaiveDate, Utc};
use fastrand::Rng;
use qbo_raw::domain::entity::Entity;
use qbo_raw::domain::fault::Scope;
use qbo_raw::domain::fetch::{Effect, Event, Fetch, Limits};
use qbo_raw::domain::page::Row;
use qbo_raw::domain::query::{Query, Slice};
use qbo_raw::domain::retry::Backoff;
use qbo_raw::domain::run::{Run, Status};
use qbo_raw::domain::window::{Range, Window, WindowOn};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// What has to happen often enough, beside the faults.
pub const EVENTS: &[&str] = &[
    "crash",
    "restart of a window",
    "window stored",
    "window failed",
    "success",
    "partial",
    "failed",
    "parked",
    "change",
    "poison named",
    "resumed",
];

/// A window being fetched.
struct Lane {
    index: usize,
    machine: Fetch,
    effects: VecDeque<Effect>,
    /// The request under way, or the wait.
    pending: Option<Pending>,
    /// Rows kept so far: Id, version, time of last change.
    kept: Vec<(u32, u32, i64)>,
    poisons: u32,
    began: i64,
}

enum Pending {
    Request(Slice),
    Wait,
    Token,
}

/// Everything there is.
pub struct World {
    rng: Rng,
    now: i64,
    company: Company,
    on: WindowOn,
    range: Range,
    page_size: u32,
    trouble: f64,
    /// The database: Id to version and time; what committed stays through a crash.
    stored: BTreeMap<u32, (u32, i64)>,
    served: BTreeSet<(u32, u32)>,
    successes: BTreeSet<Window>,
    pub violations: Vec<String>,
    pub happened: BTreeMap<&'static str, u64>,
    pub trace: Vec<String>,
}

fn instant(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

impl World {
    /// Lives one seed through: a troubled time with crashes, then quiet, in which everything must come right.
    pub fn run(seed: u64) -> World {
        let mut rng = Rng::with_seed(seed);
        let first = NaiveDate::from_ymd_opt(2025, 3, 1).unwrap();
        let days = rng.u64(1..12);
        let last = first + chrono::Days::new(days - 1);
        let midnight = |day: NaiveDate| day.and_hms_opt(0, 0, 0).unwrap().and_utc().timestamp();
        // The last windows may still be open.
        let now = midnight(first) + rng.i64(days as i64 * 43_200..days as i64 * 86_400 + 200_000);
        let company = Company::new(&mut rng, midnight(first), now);
        let range = Range::new(first, last, rng.i32(1..5), last).unwrap();
        let on = if rng.u32(0..4) == 0 { WindowOn::Created } else { WindowOn::Updated };
        let page_size = rng.u32(1..9);
        let trouble = if rng.bool() { rng.f64() * 0.3 } else { 0.0 };
        let mut world = World {
            rng,
            now,
            company,
            on,
            range,
            page_size,
            trouble,
            stored: BTreeMap::new(),
            served: BTreeSet::new(),
            successes: BTreeSet::new(),
            violations: Vec::new(),
            happened: BTreeMap::new(),
            trace: Vec::new(),
        };
        for attempt in 0..world.rng.u32(1..4) {
            if attempt > 0 {
                world.note("resumed");
            }
            world.attempt(true);
        }
        // Quiet: no faults, no changes, no crashes. One more attempt ends it.
        world.trouble = 0.0;
        let status = world.attempt(false);
        if status != Some(Status::Success) {
            world.violate(format!("in quiet the run ended as {status:?}"));
        }
        // The whole range once more brings what moved into windows that were stored before.
        world.successes.clear();
        world.attempt(false);
        world.check_end();
        world
    }

    fn note(&mut self, what: &'static str) {
        *self.happened.entry(what).or_default() += 1;
    }

    fn violate(&mut self, what: String) {
        self.violations.push(what);
    }

    /// One worker's life: a run from its state in the database to its end or to the worker's death.
    fn attempt(&mut self, wild: bool) -> Option<Status> {
        let todo: Vec<Window> =
            self.range.windows().filter(|window| !self.successes.contains(window)).collect();
        let windows = todo.clone();
        let lanes_most = self.rng.usize(1..5);
        let mut run = Run::new(todo, self.successes.len(), lanes_most);
        let mut lanes: Vec<Lane> = Vec::new();
        // Handed out, and no thread has it yet.
        let mut queue = VecDeque::new();
        for _ in 0..50_000 {
            queue.extend(std::iter::from_fn(|| run.next_window()));
            if lanes.len() + queue.len() > 2 * lanes_most {
                self.violate(format!("{} and {} windows for {lanes_most} lanes", lanes.len(), queue.len()));
            }
            while lanes.len() < lanes_most
                && let Some((index, window)) = queue.pop_front()
            {
                lanes.push(self.lane(index, window));
            }
            assert_eq!(run.broken(), None);
            if let Some(status) = run.end() {
                self.note(match status {
                    Status::Success => "success",
                    Status::Partial => "partial",
                    Status::Failed => "failed",
                    _ => "parked",
                });
                self.trace.push(format!("ends as {status:?}"));
                return Some(status);
            }
            if wild && self.rng.u32(0..400) == 0 {
                self.note("crash");
                self.trace.push("crash".to_owned());
                return None;
            }
            if wild && self.rng.u32(0..12) == 0 {
                self.note("change");
                self.now += self.rng.i64(1..50);
                let now = self.now;
                self.company.change(&mut self.rng, now);
            }
            let place = self.rng.usize(0..lanes.len());
            if self.advance(&mut lanes[place], &mut run, &windows, wild) {
                lanes.swap_remove(place);
            }
        }
        self.violate("the run does not end".to_owned());
        None
    }

    fn lane(&mut self, index: usize, window: Window) -> Lane {
        let query = Query { entity: Entity::find("invoices").unwrap(), on: self.on, window };
        let limits = Limits {
            page_size: self.page_size,
            backoff: Backoff { retries: 5, base: Duration::from_secs(2) },
            page_cap: 10_000,
            rereads: 3,
        };
        let mut machine = Fetch::new(query, limits);
        let effects = machine.step(Event::Start, instant(self.now), self.rng.f64()).into();
        Lane { index, machine, effects, pending: None, kept: Vec::new(), poisons: 0, began: self.now }
    }

    /// One step of one lane. True: its window is over.
    fn advance(&mut self, lane: &mut Lane, run: &mut Run, windows: &[Window], wild: bool) -> bool {
        if let Some(pending) = lane.pending.take() {
            self.now += self.rng.i64(0..3);
            let event = match pending {
                Pending::Wait => Event::Waited,
                Pending::Token => Event::Token,
                Pending::Request(slice) => {
                    let query = *lane.machine.query();
                    let permanent = wild && self.rng.u32(0..4) == 0;
                    let (event, what) =
                        network::send(&self.company, &query, slice, &mut self.rng, self.trouble, permanent);
                    self.note(what);
                    self.trace.push(format!("window {} {slice:?}: {what}", lane.index));
                    event
                }
            };
            let effects = lane.machine.step(event, instant(self.now), self.rng.f64());
            lane.effects.extend(effects);
        }
        while let Some(effect) = lane.effects.pop_front() {
            match effect {
                Effect::Send(slice) => lane.pending = Some(Pending::Request(slice)),
                Effect::Renew => lane.pending = Some(Pending::Token),
                Effect::Wait { for_, .. } => {
                    self.now += for_.as_secs() as i64;
                    lane.pending = Some(Pending::Wait);
                }
                Effect::Restart => {
                    self.note("restart of a window");
                    lane.kept.clear();
                    lane.poisons = 0;
                }
                Effect::Poison { .. } => {
                    self.note("poison named");
                    lane.poisons += 1;
                }
                Effect::Keep(kept) => {
                    for row in kept.page.rows().iter().skip(kept.skip) {
                        self.keep(lane, row, kept.page.raw(row));
                    }
                }
                Effect::Done(counters) => {
                    run.fetched(lane.index);
                    if counters.records != lane.kept.len() as u64 + u64::from(lane.poisons) {
                        self.violate(format!(
                            "{} records counted, {} kept",
                            counters.records,
                            lane.kept.len()
                        ));
                    }
                    self.commit(lane, windows[lane.index]);
                    run.stored(lane.index);
                    return true;
                }
                Effect::Counted(..) => self.violate("nothing was to be counted".to_owned()),
                Effect::Failed(failure) => {
                    self.note("window failed");
                    self.trace.push(format!("window {} fails: {}", lane.index, failure.code));
                    if failure.code == "internal" {
                        self.violate(failure.message.clone());
                    }
                    if matches!(failure.scope, Scope::Blocked) {
                        self.violate("a window cannot block a run".to_owned());
                    }
                    run.failed(lane.index, &failure);
                    return true;
                }
            }
        }
        if lane.pending.is_none() {
            self.violate("a machine has nothing to do".to_owned());
            return true;
        }
        false
    }

    fn keep(&mut self, lane: &mut Lane, row: &Row, raw: &str) {
        let Row::Record(record) = row else { return self.violate("a record became unusable".to_owned()) };
        let version =
            raw.split("\"SyncToken\":\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap();
        let id = record.id.parse().unwrap();
        self.served.insert((id, version));
        lane.kept.push((id, version, record.updated.unwrap().timestamp()));
    }

    /// A window and its success row, in one transaction; and whether it was whole.
    fn commit(&mut self, lane: &Lane, window: Window) {
        self.note("window stored");
        self.successes.insert(window);
        for (id, version, updated) in &lane.kept {
            let newer = self.stored.get(id).is_none_or(|(_, there)| updated >= there);
            if newer {
                self.stored.insert(*id, (*version, *updated));
            }
        }
        let query = Query { window, ..*lane.machine.query() };
        let missing: Vec<Record> = self
            .company
            .window(&query)
            .into_iter()
            .filter(|record| record.since < lane.began && !record.poisoned)
            .filter(|record| {
                self.stored.get(&record.id).is_none_or(|(version, _)| *version != record.version)
            })
            .cloned()
            .collect();
        if !missing.is_empty() {
            self.violate(format!("window {window:?} is a success without {missing:?}"));
        }
    }

    /// What must hold when all is quiet: every record of the range in its newest version, nothing that was never served.
    fn check_end(&mut self) {
        let spans: Vec<Window> = self.range.windows().collect();
        let (from, until) = (spans[0].start.timestamp(), spans[spans.len() - 1].end.timestamp());
        for record in self.company.records.clone() {
            let inside = (from..until).contains(&Company::time(&record, self.on)) && !record.poisoned;
            if inside && self.stored.get(&record.id).is_none_or(|(version, _)| *version != record.version) {
                self.violate(format!("lost: {record:?}, stored {:?}", self.stored.get(&record.id)));
            }
        }
        let invented: Vec<_> = self
            .stored
            .iter()
            .filter(|(id, (version, _))| !self.served.contains(&(**id, *version)))
            .collect();
        if !invented.is_empty() {
            let text = format!("never served: {invented:?}");
            self.violate(text);
        }
    }
}

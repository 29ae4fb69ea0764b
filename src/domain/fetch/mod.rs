//! The machine of one window: which page to ask for next, when to try again, and whether what came is the whole window.
//!
//! Pages are laid edge to edge: rows are ordered by the window's time and Id, and each following page begins at the last
//! row already seen, which must come back as its first row, the seam. Rows only ever leave the part already read; if one
//! did, the seam is not where it was, and the window is read again.

mod answer;

use super::fault::{Counters, Failure, Fault};
use super::page::Page;
use super::query::{MOST_RESULTS, Query, Slice};
use super::retry::Backoff;
use chrono::{DateTime, Utc};
use std::collections::VecDeque;
use std::time::Duration;

/// How far the machine may go.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Records a page, 1 to 1000.
    pub page_size: u32,
    pub backoff: Backoff,
    /// Pages of a window, at most: what goes on longer goes in circles.
    pub page_cap: u32,
    /// How often a window is read again because rows moved.
    pub rereads: u32,
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// Begin.
    Start,
    /// A whole answer came.
    Answer(Reply),
    /// No whole answer came.
    Lost(Lost),
    /// The time of a `Wait` is over.
    Waited,
    /// After a `Renew`: there is a newer token.
    Token,
}

/// An answer, whole.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    pub status: u16,
    pub retry_after: Option<String>,
    pub intuit_tid: Option<String>,
    /// The answer's own clock.
    pub date: Option<String>,
    pub body: Vec<u8>,
}

/// Why no whole answer came.
#[derive(Debug, Clone)]
pub struct Lost {
    pub kind: LostKind,
    pub message: String,
}

/// The kinds of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LostKind {
    Dns,
    Connect,
    Tls,
    Timeout,
    Reset,
    /// Larger than `qbo_raw.max_body_size`.
    TooLarge,
    /// Not what Content-Encoding says.
    Encoding,
    /// Not HTTP.
    Protocol,
}

/// What is to be done.
#[derive(Debug)]
pub enum Effect {
    /// Ask for this page.
    Send(Slice),
    /// Wait, then say `Waited`; with `everyone`, no request of the connection is sent meanwhile.
    Wait { for_: Duration, everyone: bool },
    /// Get another token than the one just used, then say `Token`.
    Renew,
    /// These rows belong to the window.
    Keep(Kept),
    /// What was kept so far is void.
    Restart,
    /// The row at this position cannot be delivered by QuickBooks; the rest of the window can.
    Poison { number: u32, position: u32, fault: Fault, after: Option<String> },
    /// The window is whole.
    Done(Counters),
    /// So many records are in it; the answer to a count.
    Counted(u64, Counters),
    /// It cannot be had.
    Failed(Failure),
}

/// Rows to keep.
#[derive(Debug)]
pub struct Kept {
    pub page: Page,
    /// Rows at its beginning that were kept before: the seam.
    pub skip: usize,
    /// Page of the window, from 1.
    pub number: u32,
    pub slice: Slice,
}

/// What the request under way is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Rows that were not seen yet; with a seam, the first row is the last one seen.
    Rows { seam: bool },
    /// Whether the first guard still stands where it stood; with `ending`, the window ends after that.
    Guard { ending: bool },
    /// How many records there are.
    Count,
}

/// A position that shows whether rows before it have moved.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Guard {
    /// Here stood the row with this Id.
    Row(u32, String),
    /// Here stood a row that cannot be delivered, and so still cannot.
    Poison(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Sent,
    Waiting,
    Renewing,
    Over,
}

/// The machine.
#[derive(Debug)]
pub struct Fetch {
    query: Query,
    limits: Limits,
    state: State,
    slice: Slice,
    purpose: Purpose,
    /// Records a page now; halved when pages are too big.
    size: u32,
    /// Rows seen; the position of the last one.
    seen: u32,
    /// Id of the last row seen, where it has one.
    last: Option<String>,
    /// Id of the first row of the window.
    first: Option<String>,
    /// Position and Id of the last row seen that has an Id.
    anchor: Option<(u32, String)>,
    /// What stands before rows that were asked for without a seam, until it was looked at again.
    guards: VecDeque<Guard>,
    /// Whether code 10000 was taken for an accident once.
    doubted: bool,
    poisoned_in_a_row: u32,
    /// Tries of the present request.
    tries: Tries,
    counters: Counters,
    tid: Option<String>,
}

/// Counts the tries of one request; a good answer ends them.
#[derive(Debug, Clone, Copy, Default)]
struct Tries {
    retries: u32,
    tls: u32,
    bad_json: u32,
    renewed: bool,
}

impl Fetch {
    /// A machine for one window.
    pub fn new(query: Query, limits: Limits) -> Self {
        let size = limits.page_size.clamp(1, MOST_RESULTS);
        Fetch {
            query,
            limits,
            state: State::New,
            slice: Slice { start_position: 1, max_results: size },
            purpose: Purpose::Rows { seam: false },
            size,
            seen: 0,
            last: None,
            first: None,
            anchor: None,
            guards: VecDeque::new(),
            doubted: false,
            poisoned_in_a_row: 0,
            tries: Tries::default(),
            counters: Counters::default(),
            tid: None,
        }
    }

    /// A machine that only counts the records of a window: one request, with the same retries.
    pub fn count(query: Query, limits: Limits) -> Self {
        Fetch { purpose: Purpose::Count, ..Fetch::new(query, limits) }
    }

    /// The statement to send for a slice.
    pub fn statement(&self, slice: Slice) -> String {
        match self.purpose {
            Purpose::Count => self.query.count(),
            _ => self.query.page(slice),
        }
    }

    /// What is being fetched.
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// The transaction id of the last answer.
    pub fn intuit_tid(&self) -> Option<&str> {
        self.tid.as_deref()
    }

    /// One step: `now` is for dates in Retry-After, `jitter` in 0..1 spreads the waits. An event that does not belong to
    /// the present state is a mistake of the caller and fails the window rather than being taken for something else.
    pub fn step(&mut self, event: Event, now: DateTime<Utc>, jitter: f64) -> Vec<Effect> {
        let mut effects = match (self.state, event) {
            (State::New, Event::Start) if self.purpose == Purpose::Count => self.send(),
            (State::New, Event::Start) => self.ask_rows(),
            (State::Waiting, Event::Waited) => self.send(),
            (State::Renewing, Event::Token) => {
                self.tries.renewed = true;
                self.send()
            }
            (State::Sent, Event::Answer(reply)) => self.answer(reply, now, jitter),
            (State::Sent, Event::Lost(lost)) => self.lost(lost, jitter),
            (State::Over, _) => Vec::new(),
            (state, event) => self.internal(format!("{} in state {state:?}", name(&event))),
        };
        if let Some(broken) = self.broken() {
            effects = self.internal(broken);
        }
        effects
    }

    /// What must hold between two steps.
    fn broken(&self) -> Option<String> {
        let Counters { records, rejected, pages, rereads, .. } = self.counters;
        if records != u64::from(self.seen) || rejected > records {
            return Some(format!(
                "{records} records, {rejected} of them rejected, in {} rows seen",
                self.seen
            ));
        }
        if pages > self.limits.page_cap || rereads > self.limits.rereads {
            return Some(format!("page {pages}, reread {rereads}"));
        }
        if self.state == State::Over {
            return None;
        }
        if self.size == 0 || self.size > MOST_RESULTS {
            return Some(format!("page size {}", self.size));
        }
        if self.slice.start_position == 0 || self.slice.start_position > self.seen.saturating_add(1) {
            return Some(format!("asking from {} with {} rows seen", self.slice.start_position, self.seen));
        }
        if self.purpose == (Purpose::Rows { seam: true }) && self.slice.start_position != self.seen {
            return Some(format!("a seam at {} with {} rows seen", self.slice.start_position, self.seen));
        }
        if self.tries.retries > self.limits.backoff.retries {
            return Some(format!("{} retries", self.tries.retries));
        }
        None
    }

    fn internal(&mut self, what: String) -> Vec<Effect> {
        self.fail(Failure::new("internal", "XX000", format!("the window's machine is broken: {what}")))
    }

    /// Asks for the next rows: from the last one seen on, so the stride stays the page size and the seam costs no request.
    fn ask_rows(&mut self) -> Vec<Effect> {
        let seam = self.seen > 0 && self.last.is_some();
        self.purpose = Purpose::Rows { seam };
        self.slice = if seam {
            Slice { start_position: self.seen, max_results: (self.size + 1).min(MOST_RESULTS) }
        } else {
            self.watch();
            Slice { start_position: self.seen + 1, max_results: self.size }
        };
        self.send()
    }

    /// Asks for one row alone, without a seam: what fails then is that row.
    fn ask_alone(&mut self) -> Vec<Effect> {
        self.watch();
        self.purpose = Purpose::Rows { seam: false };
        self.slice = Slice { start_position: self.seen + 1, max_results: 1 };
        self.send()
    }

    /// Without a seam nobody sees whether rows moved in between; so what stands before is looked at once
    /// more afterwards.
    fn watch(&mut self) {
        if self.guards.is_empty() {
            self.guards.extend(self.anchor.clone().map(|(position, id)| Guard::Row(position, id)));
        }
    }

    fn send(&mut self) -> Vec<Effect> {
        self.state = State::Sent;
        self.counters.requests += 1;
        vec![Effect::Send(self.slice)]
    }

    fn wait(&mut self, for_: Duration, everyone: bool) -> Vec<Effect> {
        self.state = State::Waiting;
        self.counters.retries += 1;
        vec![Effect::Wait { for_, everyone }]
    }

    fn done(&mut self) -> Vec<Effect> {
        self.state = State::Over;
        vec![Effect::Done(self.counters)]
    }

    fn fail(&mut self, failure: Failure) -> Vec<Effect> {
        self.state = State::Over;
        let intuit_tid = failure.intuit_tid.clone().or_else(|| self.tid.clone());
        vec![Effect::Failed(Failure { counters: self.counters, intuit_tid, ..failure })]
    }

    /// Rows moved while they were read: everything from the beginning.
    fn moved(&mut self) -> Vec<Effect> {
        if self.counters.rereads >= self.limits.rereads {
            let message =
                format!("records moved while the window was read, {} times", self.counters.rereads + 1);
            return self.fail(Failure::new("moved_while_read", "38000", message).hint(
                "Somebody changes many records of this window right now. Run it again later, or with smaller windows.",
            ));
        }
        self.counters.rereads += 1;
        (self.counters.pages, self.counters.records, self.counters.rejected) = (0, 0, 0);
        self.seen = 0;
        self.last = None;
        self.first = None;
        self.anchor = None;
        self.guards.clear();
        self.poisoned_in_a_row = 0;
        let mut effects = vec![Effect::Restart];
        effects.extend(self.ask_rows());
        effects
    }
}

/// Name of an event, without what it carries.
fn name(event: &Event) -> &'static str {
    match event {
        Event::Start => "Start",
        Event::Answer(_) => "Answer",
        Event::Lost(_) => "Lost",
        Event::Waited => "Waited",
        Event::Token => "Token",
    }
}

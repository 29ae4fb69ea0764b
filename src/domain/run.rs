//! The machine of a run: which windows are fetched when, and how the run ends.
//!
//! It begins with one window alone, so that wrong credentials or a throttled company cost one request, not one a thread; as
//! soon as a page of it came, the others follow.
//! Then there are two windows for each request that may be under way, so that no thread waits while the main thread stores;
//! and no more are handed out than that before some are stored.

use super::fault::{Failure, Scope};
use super::window::Window;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Success,
    /// Some windows are stored, others not.
    Partial,
    Failed,
    Cancelled,
    /// The credentials need a person.
    BlockedAuth,
    /// Not the end: to be taken up again after this time.
    Parked(Duration),
}

impl Status {
    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Success => "success",
            Status::Partial => "partial",
            Status::Failed => "failed",
            Status::Cancelled => "cancelled",
            Status::BlockedAuth => "blocked_auth",
            Status::Parked(_) => "queued",
        }
    }
}

/// So many windows in a row that fail for the same outage end the run: the rest would fail too.
pub const BREAKER: u32 = 20;

/// The machine.
#[derive(Debug)]
pub struct Run {
    todo: VecDeque<(usize, Window)>,
    /// Windows that were left at the beginning, and those done before that.
    total: usize,
    before: usize,
    at_once: usize,
    in_flight: BTreeSet<usize>,
    /// Fetched, not stored yet.
    waiting: BTreeSet<usize>,
    stored: usize,
    failed: usize,
    outages: u32,
    /// Whether anything was fetched yet.
    proven: bool,
    stop: Option<Stop>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// No other window can be had either.
    Useless,
    /// No request is left to spend: what is under way is still finished, its requests are spent.
    Spent,
    Cancelled,
    Blocked,
    Parked(Duration),
}

impl Run {
    /// A run with these windows left to do, `stored` of it done before, with so many requests under way at once.
    pub fn new(todo: Vec<Window>, stored: usize, at_once: usize) -> Self {
        Run {
            total: todo.len(),
            before: stored,
            todo: todo.into_iter().enumerate().collect(),
            at_once: at_once.max(1),
            in_flight: BTreeSet::new(),
            waiting: BTreeSet::new(),
            stored,
            failed: 0,
            outages: 0,
            proven: false,
            stop: None,
        }
    }

    /// The next window to fetch, if one may be fetched now.
    pub fn next_window(&mut self) -> Option<(usize, Window)> {
        let most = if self.proven { 2 * self.at_once } else { 1 };
        if self.stop.is_some() || self.in_flight.len() + self.waiting.len() >= most {
            return None;
        }
        let next = self.todo.pop_front()?;
        self.in_flight.insert(next.0);
        Some(next)
    }

    /// A page came: QuickBooks answers.
    pub fn answered(&mut self) {
        self.proven = true;
    }

    /// A window is fetched whole.
    pub fn fetched(&mut self, index: usize) {
        if self.in_flight.remove(&index) {
            self.waiting.insert(index);
        }
        self.proven = true;
        self.outages = 0;
    }

    /// It is stored.
    pub fn stored(&mut self, index: usize) {
        if self.waiting.remove(&index) {
            self.stored += 1;
        }
    }

    /// It failed, while it was fetched or stored. True: it counts as failed; false: it is left for later.
    pub fn failed(&mut self, index: usize, failure: &Failure) -> bool {
        self.in_flight.remove(&index);
        self.waiting.remove(&index);
        self.outages = if failure.outage { self.outages + 1 } else { 0 };
        let stop = match failure.scope {
            Scope::Window if self.outages >= BREAKER => Some(Stop::Useless),
            Scope::Window => None,
            Scope::Run => Some(Stop::Useless),
            Scope::Budget => Some(Stop::Spent),
            Scope::Blocked => Some(Stop::Blocked),
            Scope::Park(pause) => Some(Stop::Parked(pause)),
        };
        self.stop = self.stop.or(stop);
        let counts = !matches!(failure.scope, Scope::Park(_) | Scope::Blocked | Scope::Budget);
        self.failed += usize::from(counts);
        counts
    }

    /// What was stored is lost, in this attempt and before: those windows have failed.
    pub fn lost(&mut self) {
        self.total += self.before;
        self.failed += self.stored;
        (self.before, self.stored) = (0, 0);
    }

    /// Whether every window was handed out: none is left, and nothing stopped the run before that.
    pub fn is_handed_out(&self) -> bool {
        self.stop.is_none() && self.todo.is_empty()
    }

    /// Whether a request beside the windows may be sent: QuickBooks answers, and no window waits for a thread.
    pub fn has_room(&self) -> bool {
        self.proven && self.is_handed_out()
    }

    /// Somebody cancelled the run.
    pub fn cancel(&mut self) {
        self.stop = Some(Stop::Cancelled);
    }

    /// What must hold between two steps, where it does not: each window is in one place, and none is made up.
    pub fn broken(&self) -> Option<Failure> {
        let under_way = self.in_flight.len() + self.waiting.len();
        let what = if let Some(index) = self.in_flight.intersection(&self.waiting).next() {
            format!("window {index} is fetched and still being fetched")
        } else if under_way > 2 * self.at_once {
            format!("{under_way} windows under way with {} requests at once", self.at_once)
        } else if self.stored < self.before {
            format!("{} windows stored, {} were before", self.stored, self.before)
        } else if self.todo.len() + under_way + (self.stored - self.before) + self.failed > self.total {
            format!(
                "{} windows to do, {under_way} under way, {} stored, {} failed, of {}",
                self.todo.len(),
                self.stored - self.before,
                self.failed,
                self.total
            )
        } else {
            return None;
        };
        Some(Failure::new("internal", "XX000", format!("the run's machine is broken: {what}")))
    }

    /// How the run ends, once it does: when it was stopped, or nothing is left.
    pub fn end(&self) -> Option<Status> {
        let over = self.todo.is_empty() && self.in_flight.is_empty() && self.waiting.is_empty();
        match self.stop {
            // It came too late: everything is stored.
            Some(Stop::Cancelled) if over && self.failed == 0 => return Some(Status::Success),
            Some(Stop::Cancelled) => return Some(Status::Cancelled),
            Some(Stop::Blocked) => return Some(Status::BlockedAuth),
            Some(Stop::Parked(pause)) => return Some(Status::Parked(pause)),
            Some(Stop::Useless) => {}
            Some(Stop::Spent) if self.in_flight.is_empty() && self.waiting.is_empty() => {}
            None if over => {}
            Some(Stop::Spent) | None => return None,
        }
        let whole = self.stop.is_none() && self.failed == 0;
        Some(match (whole, self.stored) {
            (true, _) => Status::Success,
            (false, 0) => Status::Failed,
            (false, _) => Status::Partial,
        })
    }
}

//! What the fetch threads of a connection share: the windows to fetch, the token, the pace, and whether to stop. One lock
//! and one condition, so that every wait of a thread ends at once when the pool is stopped.

use crate::domain::fault::{Failure, Scope};
use crate::domain::pace::Pacer;
use crate::domain::query::Query;
use crate::domain::secret::Secret;
use crate::domain::token::{LIFE, Token};
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What is to be done with a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Fetch its records.
    Fetch,
    /// Only count them.
    Count,
}

/// A window to work on.
#[derive(Debug, Clone, Copy)]
pub struct Job {
    /// Its number among those that were handed out.
    pub index: usize,
    pub query: Query,
    pub task: Task,
}

/// Why a thread got nothing.
#[derive(Debug)]
pub enum Nothing {
    /// The pool is stopped: go.
    Stopped,
    /// There is no token to be had, or no request left to spend.
    Refused(Box<Failure>),
}

/// The shared state.
pub struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    origin: Instant,
}

struct State {
    jobs: VecDeque<Job>,
    token: Option<Held>,
    /// The generation that somebody already asked to replace; the owner is asked once for each.
    wanted: Option<Option<u64>>,
    no_token: Option<Failure>,
    pacer: Pacer,
    /// Requests that may still be sent this month, and those sent.
    allowance: u64,
    sent: u64,
    /// Requests that may be under way at once, and those that are.
    at_once: usize,
    under_way: usize,
    /// Whether a page came.
    proven: bool,
    /// Seconds by which our clock is ahead of QuickBooks'.
    clock_ahead: Option<i64>,
    stopped: bool,
}

/// Leave to send one request. Held until its answer is there: then another may be sent.
pub struct Leave<'a> {
    pub generation: u64,
    pub token: Secret,
    shared: &'a Shared,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.shared.lock().under_way -= 1;
        self.shared.changed.notify_all();
    }
}

struct Held {
    generation: u64,
    access: Secret,
    /// From here on another one is wanted, before this one ends.
    renew_at: Instant,
    ends_at: Instant,
    refused: bool,
}

/// After which a token service that was out is asked again.
const AGAIN: Duration = Duration::from_secs(30);

/// Seconds that our clock may seem to be ahead: an answer is under way for some.
const UNDER_WAY: i64 = 60;

/// The pacer's clock begins here, so that what a predecessor sent lies in its past.
const BEFORE: Duration = Duration::from_secs(120);

impl Shared {
    /// With these limits, after what was sent in the last minute; at most `allowance` requests in all, `at_once` of them at
    /// the same time.
    pub fn new(mut pacer: Pacer, recent: &[u32; 60], allowance: u64, at_once: usize) -> Self {
        pacer.seed(BEFORE, recent);
        let state = State {
            jobs: VecDeque::new(),
            token: None,
            wanted: None,
            no_token: None,
            pacer,
            allowance,
            sent: 0,
            at_once: at_once.max(1),
            under_way: 0,
            proven: false,
            clock_ahead: None,
            stopped: false,
        };
        Shared { state: Mutex::new(state), changed: Condvar::new(), origin: Instant::now() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panicked left nothing half done here.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        BEFORE + self.origin.elapsed()
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, at_most: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, at_most).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Adds a window.
    pub fn add(&self, job: Job) {
        self.lock().jobs.push_back(job);
        self.changed.notify_all();
    }

    /// Takes a window, waiting for one. None: stopped.
    pub fn take(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return None;
            }
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            state = self.wait(state, Duration::from_secs(60));
        }
    }

    /// Everybody stops.
    pub fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    /// Whether everybody stops.
    pub fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// Here is a token.
    pub fn give_token(&self, token: Token) {
        let mut state = self.lock();
        // A twelfth of its life before its end: five minutes of an hour. No longer life is believed.
        let (now, life) = (Instant::now(), token.valid_for.min(LIFE.1));
        state.no_token = None;
        state.token = Some(Held {
            generation: token.generation,
            access: token.access,
            renew_at: now + life.mul_f64(11.0 / 12.0),
            ends_at: now + life,
            refused: false,
        });
        state.wanted = None;
        drop(state);
        self.changed.notify_all();
    }

    /// There is none to be had. While the token service is out, one that was only to be replaced in time goes on being used.
    pub fn no_token(&self, failure: Failure) {
        let mut state = self.lock();
        let now = Instant::now();
        match state.token.as_mut().filter(|held| failure.outage && !held.refused && now < held.ends_at) {
            Some(held) => {
                held.renew_at = held.ends_at.min(now + AGAIN);
                state.wanted = None;
            }
            None => state.no_token = Some(failure),
        }
        drop(state);
        self.changed.notify_all();
    }

    /// QuickBooks refused the token of this generation: nobody uses it any more.
    pub fn refuse(&self, generation: u64) {
        if let Some(held) = self.lock().token.as_mut().filter(|held| held.generation == generation) {
            held.refused = true;
        }
    }

    /// Waits for leave to send one request: a token that is good, and a place within the limits. The place is taken last,
    /// together with the token: taken earlier, places would gather while a token is renewed and then be spent all at once;
    /// and a token can run out during a pause. `want` tells the owner, once a generation.
    pub fn leave(&self, want: impl Fn(Option<u64>)) -> Result<Leave<'_>, Nothing> {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return Err(Nothing::Stopped);
            }
            if let Some(failure) = &state.no_token {
                return Err(Nothing::Refused(Box::new(failure.clone())));
            }
            if state.sent >= state.allowance {
                return Err(Nothing::Refused(Box::new(spent())));
            }
            let held = state.token.as_ref();
            let good = held.filter(|held| !held.refused && Instant::now() < held.renew_at);
            if let Some((generation, access)) = good.map(|held| (held.generation, held.access.clone())) {
                if state.under_way >= state.at_once {
                    state = self.wait(state, Duration::from_secs(60));
                    continue;
                }
                let now = self.now();
                match state.pacer.try_take(now) {
                    Ok(()) => {
                        state.sent += 1;
                        state.under_way += 1;
                        return Ok(Leave { generation, token: access, shared: self });
                    }
                    Err(wait) => state = self.wait(state, wait.max(Duration::from_millis(1))),
                }
                continue;
            }
            let generation = held.map(|held| held.generation);
            if state.wanted == Some(generation) {
                state = self.wait(state, Duration::from_secs(60));
            } else {
                state.wanted = Some(generation);
                drop(state);
                want(generation);
                state = self.lock();
            }
        }
    }

    /// Waits; with `everyone` nobody sends anything meanwhile. False: stopped.
    pub fn sleep(&self, length: Duration, everyone: bool) -> bool {
        let until = Instant::now() + length;
        let mut state = self.lock();
        if everyone {
            let now = self.now();
            state.pacer.pause(now, length);
        }
        loop {
            if state.stopped {
                return false;
            }
            match until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
                None => return true,
                Some(left) => state = self.wait(state, left),
            }
        }
    }

    /// A page came; true for the first one.
    pub fn prove(&self) -> bool {
        !std::mem::replace(&mut self.lock().proven, true)
    }

    /// An answer came with this Date (RFC 9110, section 6.6.1), now.
    pub fn dated(&self, date: &str) {
        if let Ok(theirs) = DateTime::parse_from_rfc2822(date) {
            self.lock().clock_ahead = Some((Utc::now() - theirs.with_timezone(&Utc)).num_seconds());
        }
    }

    /// Seconds by which our clock is ahead of QuickBooks', by the last answer.
    pub fn clock_ahead(&self) -> Option<i64> {
        self.lock().clock_ahead
    }

    /// The time of a moment, by QuickBooks' clock where ours is ahead: what is covered is reckoned from such times, and a day
    /// is not over for being so here alone. Our clock may have been set meanwhile, so it is read now, as for `dated`.
    pub fn moment(&self, moment: Instant) -> DateTime<Utc> {
        let ahead = self.clock_ahead().filter(|ahead| *ahead > UNDER_WAY).unwrap_or(0);
        Utc::now() - moment.elapsed() - TimeDelta::seconds(ahead)
    }

    /// Requests sent so far.
    pub fn sent(&self) -> u64 {
        self.lock().sent
    }

    /// Requests of the last minute by second, newest first.
    pub fn recent(&self) -> [u32; 60] {
        let state = self.lock();
        state.pacer.recent(self.now())
    }
}

/// Intuit meters what is read: the connection's budget for the month is used up.
fn spent() -> Failure {
    Failure::new("budget_spent", "53400", "the connection's requests for this month are spent")
        .hint(
            "It goes on next month with raw.qb_resume(run_id), or now with a larger monthly_budget in raw.qb_config. \
             See raw.qb_api_usage.",
        )
        .scope(Scope::Budget)
}

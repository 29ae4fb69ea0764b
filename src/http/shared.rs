//! What the fetch threads of a connection share: the windows to fetch, the token, the pace, and whether to stop. One lock
//! and one condition, so that every wait of a thread ends at once when the pool is stopped.

use crate::domain::fault::Failure;
use crate::domain::pace::Pacer;
use crate::domain::query::Query;
use crate::domain::secret::Secret;
use crate::domain::token::{LIFE, Token};
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A window to fetch.
#[derive(Debug, Clone, Copy)]
pub struct Job {
    /// Its number in the run.
    pub index: usize,
    pub query: Query,
}

/// Why a thread got nothing.
#[derive(Debug)]
pub enum Nothing {
    /// The pool is stopped: go.
    Stopped,
    /// There is no token to be had.
    NoToken(Box<Failure>),
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
    stopped: bool,
}

struct Held {
    generation: u64,
    access: Secret,
    /// From here on another one is wanted, before this one ends.
    renew_at: Instant,
}

/// The pacer's clock begins here, so that what a predecessor sent lies in its past.
const BEFORE: Duration = Duration::from_secs(120);

impl Shared {
    /// With these limits, after what was sent in the last minute.
    pub fn new(mut pacer: Pacer, recent: &[u32; 60]) -> Self {
        pacer.seed(BEFORE, recent);
        let state =
            State { jobs: VecDeque::new(), token: None, wanted: None, no_token: None, pacer, stopped: false };
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
        let renew_at = Instant::now() + token.valid_for.min(LIFE.1).mul_f64(11.0 / 12.0);
        state.no_token = None;
        state.token = Some(Held { generation: token.generation, access: token.access, renew_at });
        state.wanted = None;
        drop(state);
        self.changed.notify_all();
    }

    /// There is none to be had.
    pub fn no_token(&self, failure: Failure) {
        self.lock().no_token = Some(failure);
        self.changed.notify_all();
    }

    /// Waits for leave to send one request: a token that is good and not of the generation `refused`, and a place within
    /// the limits. The place is taken last, together with the token: taken earlier, places would gather while a token is
    /// renewed and then be spent all at once; and a token can run out during a pause. `want` tells the owner, once a
    /// generation.
    pub fn leave(&self, refused: Option<u64>, want: impl Fn(Option<u64>)) -> Result<(u64, Secret), Nothing> {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return Err(Nothing::Stopped);
            }
            if let Some(failure) = &state.no_token {
                return Err(Nothing::NoToken(Box::new(failure.clone())));
            }
            let held = state.token.as_ref();
            let good = held.filter(|held| Some(held.generation) != refused && Instant::now() < held.renew_at);
            if let Some((generation, access)) = good.map(|held| (held.generation, held.access.clone())) {
                let now = self.now();
                match state.pacer.try_take(now) {
                    Ok(()) => return Ok((generation, access)),
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

    /// Requests of the last minute by second, newest first.
    pub fn recent(&self) -> [u32; 60] {
        let state = self.lock();
        state.pacer.recent(self.now())
    }
}

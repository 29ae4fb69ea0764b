//! Intuit's limits for a company: 500 requests a minute, 10 a second, 10 at once.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The limits that are enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub per_minute: usize,
    pub per_second: usize,
    pub at_once: usize,
}

impl Rate {
    /// What Intuit documents.
    pub fn intuit() -> Self {
        Rate { per_minute: 500, per_second: 10, at_once: 10 }
    }
}

/// Counts requests over sliding windows.
pub struct Limits {
    rate: Rate,
    sent: VecDeque<Instant>,
}

impl Limits {
    /// Nothing was sent yet.
    pub fn new(rate: Rate) -> Self {
        Limits { rate, sent: VecDeque::new() }
    }

    /// Whether one more request is within the limits; it counts if it is. `open` is how many are being answered already.
    pub fn admit(&mut self, now: Instant, open: usize) -> bool {
        while self.sent.front().is_some_and(|at| now.duration_since(*at) >= Duration::from_secs(60)) {
            self.sent.pop_front();
        }
        let recent = |at: &&Instant| now.duration_since(**at) < Duration::from_secs(1);
        let second = self.sent.iter().rev().take_while(recent).count();
        let Rate { per_minute, per_second, at_once } = self.rate;
        let admitted = self.sent.len() < per_minute && second < per_second && open < at_once;
        if admitted {
            self.sent.push_back(now);
        }
        admitted
    }
}

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
    pub rate: Rate,
    sent: VecDeque<Instant>,
    /// Requests being answered right now.
    pub open: usize,
}

impl Limits {
    /// Nothing was sent yet.
    pub fn new(rate: Rate) -> Self {
        Limits { rate, sent: VecDeque::new(), open: 0 }
    }

    /// Whether one more request is within the limits; it counts if it is.
    pub fn admit(&mut self) -> bool {
        let now = Instant::now();
        while self.sent.front().is_some_and(|at| now.duration_since(*at) >= Duration::from_secs(60)) {
            self.sent.pop_front();
        }
        let second =
            self.sent.iter().rev().take_while(|at| now.duration_since(**at) < Duration::from_secs(1)).count();
        if self.sent.len() >= self.rate.per_minute
            || second >= self.rate.per_second
            || self.open > self.rate.at_once
        {
            return false;
        }
        self.sent.push_back(now);
        true
    }
}

//! When to try again: exponential back-off with jitter, and what a Retry-After header says.

use chrono::{DateTime, Utc};
use std::time::Duration;

/// Five tries with 2, 4, 8, 16 and 32 seconds: together they outlast the minute for which QuickBooks throttles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// How often a request is repeated.
    pub retries: u32,
    /// The first wait; each next one is twice as long.
    pub base: Duration,
}

/// No single wait is longer, however many retries are set.
const LONGEST: Duration = Duration::from_secs(300);

impl Backoff {
    /// How long to wait before repetition `n`, counted from 0: up to a quarter longer by `jitter`, in 0..1, never shorter.
    /// None: the tries are spent.
    pub fn wait(&self, n: u32, jitter: f64) -> Option<Duration> {
        if n >= self.retries {
            return None;
        }
        let plain = self.base.saturating_mul(1u32.checked_shl(n).unwrap_or(u32::MAX)).min(LONGEST);
        Some(plain + plain.mul_f64(jitter.clamp(0.0, 1.0) / 4.0))
    }
}

/// A Retry-After longer than this is no wait for a thread: the run is put aside.
pub const LONGEST_RETRY_AFTER: Duration = LONGEST;

/// Reads a Retry-After header: seconds, or a date of HTTP. None for anything else, for the past and for zero.
pub fn retry_after(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    let text = text.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => (DateTime::parse_from_rfc2822(text).ok()?.with_timezone(&Utc) - now).to_std().ok()?,
    };
    (!wait.is_zero()).then_some(wait)
}

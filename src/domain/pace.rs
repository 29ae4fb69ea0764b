//! Pacing: QuickBooks allows 500 requests a minute and 10 a second for a company (Intuit, "Limits and throttles"). Counted
//! over sliding windows, so that no minute and no second sees more than its share, wherever it begins.

use std::collections::VecDeque;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// Time is the duration since any fixed origin.
#[derive(Debug, Clone)]
pub struct Pacer {
    per_minute: usize,
    per_second: usize,
    /// When requests of the last minute were sent, oldest first.
    sent: VecDeque<Duration>,
    paused_until: Duration,
}

impl Pacer {
    /// So many requests in any 60 seconds and in any second.
    pub fn new(per_minute: u32, per_second: u32) -> Self {
        Pacer {
            per_minute: per_minute.max(1) as usize,
            per_second: per_second.max(1) as usize,
            sent: VecDeque::new(),
            paused_until: Duration::ZERO,
        }
    }

    /// Takes leave to send one request now; otherwise says how long to wait before asking again.
    ///
    /// Requests leave evenly, one second's share spread over the second: what leaves in one burst may arrive, behind slow
    /// handshakes, in one second with the next burst.
    pub fn try_take(&mut self, now: Duration) -> Result<(), Duration> {
        while self.sent.front().is_some_and(|at| *at + MINUTE <= now) {
            self.sent.pop_front();
        }
        let back = |most: usize| self.sent.len().checked_sub(most).and_then(|index| self.sent.get(index));
        let apart = SECOND / u32::try_from(self.per_second).unwrap_or(u32::MAX);
        let free = [
            Some(self.paused_until),
            back(self.per_minute).map(|at| *at + MINUTE),
            back(self.per_second).map(|at| *at + SECOND),
            back(1).map(|at| *at + apart),
        ];
        match free.into_iter().flatten().max().filter(|free| *free > now) {
            Some(free) => Err(free - now),
            None => {
                self.sent.push_back(now);
                Ok(())
            }
        }
    }

    /// Nobody sends anything for a while: one of them was throttled.
    pub fn pause(&mut self, now: Duration, length: Duration) {
        self.paused_until = self.paused_until.max(now.saturating_add(length));
    }

    /// Adds what somebody else sent before: requests in each of the last 60 seconds, the newest first. An unknown moment
    /// within a second counts as its end.
    pub fn seed(&mut self, now: Duration, recent: &[u32; 60]) {
        let mut earlier = VecDeque::new();
        for (age, count) in recent.iter().enumerate().rev() {
            let at = now.saturating_sub(SECOND * u32::try_from(age).unwrap_or(0));
            earlier.extend((0..*count).map(|_| at));
        }
        earlier.append(&mut self.sent);
        self.sent = earlier;
    }

    /// Requests in each of the last 60 seconds, the newest first.
    pub fn recent(&self, now: Duration) -> [u32; 60] {
        let mut recent = [0; 60];
        for at in &self.sent {
            let age = usize::try_from(now.saturating_sub(*at).as_secs()).unwrap_or(usize::MAX);
            if let Some(count) = recent.get_mut(age) {
                *count += 1;
            }
        }
        recent
    }
}

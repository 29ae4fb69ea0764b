//! What the end-to-end tests stand on: private PostgreSQL servers, a database with a simulator for each test, and short
//! words for what a DBA does. A test that cannot have what it needs fails; so everything here panics.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod broken;
mod canaries;
mod database;
mod limits;
mod points;
mod server;
mod watch;

pub use broken::Times;
pub use database::{Database, RANGE, Refused, browse, refused, rows};
pub use limits::{Disk, Limit};
pub use points::{is_alive, is_reaped, lacks, library, points, signal};
pub use server::{Server, as_server, program};
pub use watch::Watch;

use std::time::{Duration, Instant};

/// Waits until something holds; panics with its name when the time is over. How long it took. What comes soon is seen soon,
/// and looking does not keep the processors from what takes long.
pub fn wait_until(what: &str, at_most: Duration, mut holds: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < at_most, "not within {at_most:?}: {what}");
        std::thread::sleep(
            (began.elapsed() / 10).clamp(Duration::from_millis(5), Duration::from_millis(100)),
        );
    }
    began.elapsed()
}

/// Does something at the end of its scope, that of a test that fails too: others wait for it.
pub struct AtLast<F: FnMut()>(pub F);

impl<F: FnMut()> Drop for AtLast<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Seconds, short.
pub fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

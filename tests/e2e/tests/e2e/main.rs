//! What a DBA does and must see, on a real server with the simulator of QuickBooks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod adopt;
mod arguments;
mod authorize;
mod backfill;
mod companies;
mod cron;
mod escalation;
mod faults;
mod hazards;
mod keep;
mod launcher;
mod library;
mod memory;
mod readme;
mod resume;
mod rights;
mod secrets;
mod stop;
mod surroundings;
mod tokens;
mod upgrade;
mod verify;
mod watch;

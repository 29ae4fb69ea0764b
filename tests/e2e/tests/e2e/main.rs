//! What a DBA does and must see, on a real server with the simulator of QuickBooks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod adopt;
mod adopt_hostile;
mod adopt_refused;
mod arguments;
mod authorize;
mod backfill;
mod broken;
mod calendar;
mod companies;
mod cron;
mod disk;
mod doctor;
mod escalation;
mod failover;
mod faults;
mod hazards;
mod keep;
mod launcher;
mod library;
mod limits;
mod lost;
mod memory;
mod readme;
mod replication;
mod resume;
mod rights;
mod secrets;
mod sessions;
mod stop;
mod surroundings;
mod tokens;
mod upgrade;
mod verify;
mod waits;
mod watch;

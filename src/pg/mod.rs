//! The shell: the only place with PostgreSQL in it. It knows `http` and `domain`; nothing below knows it.
//!
//! `api` holds what a user calls, `worker` what the background worker does; the rest are the tools of the two. Everything
//! that touches a table goes through `spi`, with a `statement` whose text was written by us.

// pgrx wants its own, large error type from a SQL function.
#[allow(clippy::result_large_err)]
pub mod api;
mod array;
mod config;
mod consent;
mod count;
mod errand;
mod guc;
mod held;
mod holdoff;
mod latch;
mod launch;
mod launcher;
mod line;
mod lock;
mod mailbox;
mod owner;
mod probe;
mod queue;
mod raise;
mod report;
mod run;
mod session;
mod sift;
mod spi;
mod statement;
mod store;
mod tables;
mod time;
mod token;
mod usage;
mod work;
mod worker;

/// Called once when PostgreSQL loads the library.
pub fn init() {
    guc::define();
    launch::launcher();
}

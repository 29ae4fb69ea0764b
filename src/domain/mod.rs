//! What to do next, as pure code: no PostgreSQL, no socket, no clock, no thread and no random number of its own. Time and
//! chance come in with each step, effects go out as values, so every rule can be tried in microseconds.
//!
//! The words, each with one meaning, here as in tables, functions and log lines:
//!
//! - connection: one QuickBooks company (realm) with its credentials, and the schema its tables live in
//! - entity: one kind of record: `invoices` in SQL, `Invoice` for QuickBooks
//! - run: one call of `qb_backfill`: an entity, a range of days, its settings, its state
//! - window: one slice of the range, half-open, UTC, whole seconds; the unit of commit
//! - page: one answer of QuickBooks: at most `page_size` records of a window, from a position on
//! - record: one object of QuickBooks, kept byte for byte as it was sent
//! - report row: what became of one attempt at one window

pub mod entity;
pub mod fault;
pub mod fetch;
pub mod pace;
pub mod page;
pub mod query;
pub mod retry;
pub mod run;
pub mod secret;
pub mod token;
pub mod window;

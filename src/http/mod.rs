//! QuickBooks over HTTPS: one agent, configured once; the query API and the token endpoint; threads that fetch windows, one
//! each, and spool them. It knows `domain`, which decides what to ask next, and nothing of PostgreSQL.

pub mod agent;
pub mod api;
pub mod callback;
mod lost;
pub mod oauth;
pub mod pool;
pub mod shared;
pub mod spool;
pub mod texts;
pub mod thread;

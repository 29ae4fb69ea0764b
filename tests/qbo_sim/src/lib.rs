//! A simulator of QuickBooks Online, as a real HTTP server: the query API, OAuth2, the limits, and faults on
//! demand. It speaks what Intuit documents and what was recorded, and nothing more convenient. It keeps the truth:
//! every record and its older versions, every request, every token; so a test can prove that nothing was lost.
//!
//! `entity`, `record`, `query`, `company`, `fault` and `time` are pure; `service` is the state behind one lock;
//! `http` is the wire; `sim` is what a test holds in its hand.

mod company;
mod control;
mod entity;
mod fault;
mod http;
mod limits;
mod names;
mod options;
mod query;
mod record;
mod service;
mod sim;
mod time;

pub use company::IdOrder;
pub use fault::{Bend, Edit, Fault, Framing, NAMES as FAULT_NAMES, Place, When};
pub use http::Certificate;
pub use limits::Rate;
pub use options::Options;
pub use service::{Action, RecordVersion, Request, TokenEvent, TokenMode, fingerprint};
pub use sim::Sim;

/// Whether a statement belongs to the query language; the detail of the refusal when it does not.
pub fn check_statement(text: &str) -> Result<(), String> {
    query::parse(text, "2025-07-01").map(|_| ()).map_err(|refusal| refusal.detail)
}

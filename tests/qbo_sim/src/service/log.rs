//! What is remembered of requests, and what can be done to records. Pure data.

use chrono::{DateTime, Utc};
use std::time::{Duration, SystemTime};

/// One API request that arrived.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its number, from 1.
    pub n: u64,
    /// When it arrived.
    pub at: SystemTime,
    /// How long its answer took; zero while it is being answered.
    pub took: Duration,
    pub method: String,
    pub path: String,
    pub statement: String,
    /// 0: nothing was sent, or not yet.
    pub status: u16,
    /// Records in the true answer.
    pub rows: usize,
    /// Whether the answer was sent to its end.
    pub whole: bool,
    /// Whether a fault struck it.
    pub faulted: bool,
    /// Whether its client had closed the connection before it was taken in: it was sent earlier, and its answer is heard by
    /// nobody.
    pub abandoned: bool,
    /// Of the bearer token: see `fingerprint`.
    pub token_fingerprint: String,
}

/// A change to a record. The first text is QuickBooks' name of its entity, the second its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A new SyncToken, LastUpdatedTime now, and a field that differs.
    Update(String, String),
    /// Gone from every query, as a deleted transaction is.
    Delete(String, String),
    /// A list record: Active false, and the suffix at its name.
    Deactivate(String, String),
    /// A new record, created now.
    Insert(String),
    /// From now on this exact text is served for the record.
    Patch(String, String, String),
    /// Its LastUpdatedTime is this, in whole seconds.
    MoveTo(String, String, DateTime<Utc>),
}

/// A state that a record had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordVersion {
    /// The first API request that could see it; 0 = from the start.
    pub from_request: u64,
    /// The record; None: it did not exist, or no more.
    pub json: Option<String>,
}

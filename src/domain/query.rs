//! The text of a query, in QuickBooks' query language (Intuit, "Data queries"): AND only, values in single quotes, times
//! with an offset. Rows are ordered by the window's time and then by Id, so that pages can be laid edge to edge.

use super::entity::Entity;
use super::window::{Window, WindowOn};
use chrono::{DateTime, SecondsFormat, Utc};

/// What is asked for: an entity in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query {
    pub entity: &'static Entity,
    pub on: WindowOn,
    pub window: Window,
}

/// Which part of the answer: from a row, counted from 1, so many rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    pub start_position: u32,
    pub max_results: u32,
}

/// QuickBooks gives at most this many records a page.
pub const MOST_RESULTS: u32 = 1_000;

impl Query {
    /// The statement for one page.
    pub fn page(&self, slice: Slice) -> String {
        format!(
            "SELECT * FROM {}{} ORDERBY {} ASC, Id ASC STARTPOSITION {} MAXRESULTS {}",
            self.entity.qbo,
            self.condition(),
            self.on.property(),
            slice.start_position.max(1),
            slice.max_results.clamp(1, MOST_RESULTS),
        )
    }

    /// The statement that counts the same records.
    pub fn count(&self) -> String {
        format!("SELECT COUNT(*) FROM {}{}", self.entity.qbo, self.condition())
    }

    /// Without the last part a list entity would leave inactive records out, in the count as well.
    fn condition(&self) -> String {
        let property = self.on.property();
        format!(
            " WHERE {property} >= {} AND {property} < {}{}",
            literal(&instant(self.window.start)),
            literal(&instant(self.window.end)),
            if self.entity.active_filter { " AND Active IN (true, false)" } else { "" },
        )
    }
}

/// What a time without offset means is written down nowhere; so there is always one.
fn instant(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, false)
}

/// A value in quotes: the quote and the backslash are escaped by a backslash.
pub fn literal(value: &str) -> String {
    let mut quoted = String::with_capacity(value.len() + 2);
    quoted.push('\'');
    for c in value.chars() {
        if c == '\'' || c == '\\' {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('\'');
    quoted
}

//! What a user calls: one file a family of functions. Each takes its arguments as `Option`, since a function that is STRICT
//! would answer a NULL with silence, and raises errors with SQLSTATE, DETAIL and HINT. Their SQL is in `sql/`.

mod ask;
mod authorize;
mod backfill;
mod cancel;
mod entities;
mod purge;
mod resume;
mod tick;
mod wait;

use crate::error::{Error, Result};

/// An argument that must not be NULL.
fn need<T>(value: Option<T>, argument: &'static str) -> Result<T> {
    value.ok_or(Error::NullArgument { argument })
}

/// Error: `Argument`.
fn checked_page_size(page_size: i32) -> Result<i32> {
    match page_size {
        1..=1000 => Ok(page_size),
        other => Err(Error::Argument {
            argument: "page_size",
            value: other.to_string(),
            expected: "1 to 1000, the most that QuickBooks gives in one page".to_owned(),
        }),
    }
}

//! What a user calls: one file a family of functions. Each takes its arguments as `Option`, since a function that is STRICT
//! would answer a NULL with silence, and raises errors with SQLSTATE, DETAIL and HINT. Their SQL is in `sql/`.

mod backfill;
mod cancel;
mod entities;
mod tick;

use crate::error::{Error, Result};

/// An argument that must not be NULL.
fn need<T>(value: Option<T>, argument: &'static str) -> Result<T> {
    value.ok_or(Error::NullArgument { argument })
}

//! What a user calls: one file a family of functions. Each takes its arguments as `Option`, since a function that is STRICT
//! would answer a NULL with silence, and raises errors with SQLSTATE, DETAIL and HINT. Their SQL is in `sql/`.

mod ask;
mod authorize;
mod backfill;
mod cancel;
mod entities;
mod last_run;
mod purge;
mod resume;
mod tick;
mod wait;

use crate::error::{Error, Result};
use crate::pg::{config, raise};

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

/// No more than the connection allows, with a NOTICE where that is less than what was asked for.
fn allowed_page_size(asked: i32, connection: &str, known: &config::Summary) -> i32 {
    if asked > known.page_size {
        raise::notice(
            format!(
                "page_size {asked} is more than the {} of connection \"{connection}\": {} are taken",
                known.page_size, known.page_size
            ),
            Some("page_size in raw.qb_config is the most that a connection allows."),
        );
    }
    asked.min(known.page_size)
}

/// What is said of a run that was queued.
fn queued(id: i64, entity: &str, windows: usize, more: &str) {
    let what = if windows == 1 { "window" } else { "windows" };
    raise::notice(format!("run {id} of {entity}: {windows} {what}{more}"), None);
}

/// What is said instead where a run does that already.
fn joined(id: i64, but: &str) {
    raise::notice(
        ["run ", &id.to_string(), " already does this", but].concat(),
        Some("SELECT * FROM raw.qb_progress; shows how far it is."),
    );
}

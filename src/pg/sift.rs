//! Finding the records of a window that jsonb cannot hold: `\u0000`, lone surrogates, numbers and nesting beyond its limits.
//! PostgreSQL decides, record by record; no rule of ours has to agree with it.

use super::spi;
use super::statement::Statement;
use crate::error::{Error, Result};
use crate::http::spool::Spooled;

/// A record that jsonb refuses.
pub struct Unfit {
    /// Number of its batch in the spool, from 0.
    pub batch: usize,
    /// Its place in the batch, from 0.
    pub place: usize,
    pub reason: String,
}

/// Whether a failed statement may be the fault of one record: a data exception or a program limit.
pub fn may_be_a_record(error: &Error) -> bool {
    matches!(error, Error::Database { sqlstate, .. } if sqlstate.starts_with("22") || sqlstate.starts_with("54"))
}

/// Looks through a window. A batch is tried whole first, its records one by one only when it fails.
pub fn find(spool: &mut Spooled) -> Result<Vec<Unfit>> {
    let mut unfit = Vec::new();
    for (number, batch) in spool.batches()?.enumerate() {
        let batch = batch?;
        let payloads: Vec<&str> = batch.raws.iter().collect();
        if spi::interruptible(|| cast(&payloads)).is_ok() {
            continue;
        }
        spi::interruptible(|| {
            for (place, payload) in payloads.iter().enumerate() {
                if let Err(error) = spi::subtransaction(|| cast(&[payload])) {
                    if !may_be_a_record(&error) {
                        return Err(error);
                    }
                    unfit.push(Unfit { batch: number, place, reason: reason(&error) });
                }
            }
            Ok(())
        })?;
    }
    Ok(unfit)
}

/// How deep jsonb goes depends on the stack, and the statement that stores takes more of it than this one: what fits here
/// only just would fail there, and its window for ever. So a record has to fit two hundred levels further in.
fn cast(payloads: &[&str]) -> Result<()> {
    let statement = Statement::fixed(
        "SELECT pg_catalog.count(pg_catalog.concat(pg_catalog.repeat('[', 200), p.payload, pg_catalog.repeat(']', 200))::jsonb)
           FROM pg_catalog.unnest($1::text[]) AS p (payload)",
    );
    spi::read(&statement, &[payloads.to_vec().into()], |_| Ok(())).map(|_| ())
}

/// What PostgreSQL said of the record, without quoting it.
fn reason(error: &Error) -> String {
    let mut reason = ["jsonb refuses it: ", &error.to_string()].concat();
    if let Some(detail) = error.detail() {
        reason.push_str(" (");
        reason.push_str(&detail);
        reason.push(')');
    }
    reason
}

//! Report rows: what became of each attempt at each window. Written as the owner of the report table, in the transaction of
//! the window itself.

use super::owner;
use super::run::Tally;
use super::spi;
use super::statement::Statement;
use super::tables::Tables;
use super::time;
use crate::domain::window::Window;
use crate::error::{Error, Result};
use chrono::{DateTime, Utc};
use pgrx::prelude::*;
use std::collections::HashSet;

/// Whose attempt, at which window.
#[derive(Clone)]
pub struct Attempt {
    pub run: i64,
    pub number: i32,
    pub window: Window,
    pub started_at: DateTime<Utc>,
    pub intuit_tid: Option<String>,
}

/// Writes the row of a stored window, or of one that failed.
pub fn write(tables: &Tables, attempt: &Attempt, tally: &Tally, error: Option<&Error>) -> Result<()> {
    let statement = Statement::on(
        "INSERT INTO %report (run_id, attempt, window_start, window_end, status, row_count, inserted_count, updated_count,
                              skipped_count, rejected_count, page_count, request_count, error_code, error_message,
                              intuit_tid, started_at, finished_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
        &tables.target,
    );
    let message = error.map(|error| match error.hint() {
        Some(hint) => [error.to_string().as_str(), ". ", &hint].concat(),
        None => error.to_string(),
    });
    let args = [
        attempt.run.into(),
        attempt.number.into(),
        time::to_pg(attempt.window.start).into(),
        time::to_pg(attempt.window.end).into(),
        if error.is_none() { "success" } else { "error" }.into(),
        tally.rows.into(),
        tally.inserted.into(),
        tally.updated.into(),
        tally.skipped.into(),
        tally.rejected.into(),
        tally.pages.into(),
        tally.requests.into(),
        error.map(|error| error.code()).into(),
        message.into(),
        attempt.intuit_tid.clone().into(),
        time::to_pg(attempt.started_at).into(),
        time::to_pg(time::now()).into(),
    ];
    owner::run_as(tables.report_owner, || spi::run(&statement, &args)).map(|_| ())
}

/// Sees that writing to the report table has to wait for nobody. Error: 55P03, somebody has locked it.
pub fn lock_at_once(tables: &Tables) -> Result<()> {
    let statement = Statement::on("LOCK TABLE %report IN ROW EXCLUSIVE MODE NOWAIT", &tables.target);
    owner::run_as(tables.report_owner, || spi::run(&statement, &[])).map(|_| ())
}

/// Takes the number of a run that has just begun off rows that have it already: the table came from a database in which it was
/// another run's. They still say what is covered, under a number that no run has.
pub fn disown(tables: &Tables, run: i64) -> Result<()> {
    let statement = Statement::on(
        "UPDATE %report AS r SET run_id = OPERATOR(pg_catalog.-) r.run_id WHERE r.run_id OPERATOR(pg_catalog.=) $1",
        &tables.target,
    );
    owner::run_as(tables.report_owner, || spi::run(&statement, &[run.into()])).map(|_| ())
}

/// Starts of the windows that this run has stored already.
pub fn stored(tables: &Tables, run: i64) -> Result<HashSet<DateTime<Utc>>> {
    let statement = Statement::on(
        "SELECT r.window_start FROM %report r
          WHERE r.run_id OPERATOR(pg_catalog.=) $1 AND r.status OPERATOR(pg_catalog.=) 'success'",
        &tables.target,
    );
    let starts = owner::run_as(tables.report_owner, || {
        spi::read(&statement, &[run.into()], |row| {
            Ok(row.get::<TimestampWithTimeZone>(1)?.and_then(time::from_pg))
        })
    })?;
    Ok(starts.into_iter().flatten().collect())
}

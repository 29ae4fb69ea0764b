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

/// Takes the number of a run off rows that are not its own: the table came from a database in which it was another run's. Such
/// are those of this attempt, which has only begun, and what was stored where the run has stored nothing. They still say what
/// is covered, under a number that no run has.
pub fn disown(tables: &Tables, run: i64, attempt: i32, has_stored: bool) -> Result<()> {
    let statement = Statement::on(
        "UPDATE %report AS r SET run_id = OPERATOR(pg_catalog.-) r.run_id
          WHERE r.run_id OPERATOR(pg_catalog.=) $1
            AND (r.attempt OPERATOR(pg_catalog.>=) $2 OR NOT $3 AND r.status OPERATOR(pg_catalog.=) 'success')",
        &tables.target,
    );
    let args = [run.into(), attempt.into(), has_stored.into()];
    owner::run_as(tables.report_owner, || spi::run(&statement, &args)).map(|_| ())
}

/// Windows that this run has stored already.
pub fn stored(tables: &Tables, run: i64) -> Result<HashSet<Window>> {
    let statement = Statement::on(
        "SELECT r.window_start, r.window_end FROM %report r
          WHERE r.run_id OPERATOR(pg_catalog.=) $1 AND r.status OPERATOR(pg_catalog.=) 'success'",
        &tables.target,
    );
    let windows = owner::run_as(tables.report_owner, || {
        spi::read(&statement, &[run.into()], |row| {
            let at =
                |ordinal| Ok::<_, Error>(row.get::<TimestampWithTimeZone>(ordinal)?.and_then(time::from_pg));
            Ok(at(1)?.zip(at(2)?).map(|(start, end)| Window { start, end }))
        })
    })?;
    Ok(windows.into_iter().flatten().collect())
}

/// Records that a run has read in windows that begin before a time.
pub fn rows_before(tables: &Tables, run: i64, end: DateTime<Utc>) -> Result<i64> {
    let statement = Statement::on(
        "SELECT coalesce(pg_catalog.sum(r.row_count), 0)::bigint FROM %report r
          WHERE r.run_id OPERATOR(pg_catalog.=) $1 AND r.status OPERATOR(pg_catalog.=) 'success'
            AND r.window_start OPERATOR(pg_catalog.<) $2",
        &tables.target,
    );
    let args = [run.into(), time::to_pg(end).into()];
    let rows = owner::run_as(tables.report_owner, || spi::read_one(&statement, &args, |row| row.need(1)))?;
    Ok(rows.unwrap_or(0))
}

//! Runs: the rows of `raw.qb_run`.

use super::spi::{self, Row};
use super::statement::Statement;
use super::time;
use crate::domain::entity::Entity;
use crate::domain::fault::Counters;
use crate::domain::window::{self, Range, Window, WindowOn};
use crate::error::{Error, Result};
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use pgrx::prelude::*;
use std::time::Duration;

/// A run that a worker took up.
pub struct Run {
    pub id: i64,
    pub entity: &'static Entity,
    /// In the order of time.
    pub windows: Vec<Window>,
    pub page_size: u32,
    pub on: WindowOn,
    pub execution_date: Option<DateTime<Utc>>,
    pub attempt: i32,
    /// Whether any of its windows was ever stored.
    pub has_stored: bool,
    /// When the first day began that was not over when the run did.
    pub open_from: DateTime<Utc>,
}

/// What is added to a run when a window is stored or has failed.
#[derive(Clone, Copy, Default)]
pub struct Tally {
    pub rows: i64,
    pub inserted: i64,
    pub updated: i64,
    pub skipped: i64,
    pub rejected: i64,
    pub pages: i32,
    pub requests: i32,
}

impl Tally {
    /// What a window cost that brought nothing.
    pub fn requests(counters: &Counters) -> Self {
        Tally {
            pages: i32::try_from(counters.pages).unwrap_or(i32::MAX),
            requests: i32::try_from(counters.requests).unwrap_or(i32::MAX),
            ..Tally::default()
        }
    }
}

/// Connections that have work to do; without an id its configuration is gone. The one that was worked on longest ago comes
/// first, so that many companies share few workers evenly.
///
/// While one run of a connection is put aside, because QuickBooks asked to wait, its others wait too.
///
/// Work is a run, or a refresh token that nobody uses: Intuit lets it end after a hundred days without use, so it is
/// renewed when half of that is over; after a failure, an hour later again.
pub fn due() -> Result<Vec<(String, Option<i32>)>> {
    let statement = Statement::fixed(
        "SELECT w.connection, c.connection_id
           FROM (SELECT r.connection, pg_catalog.min(r.run_id) AS first FROM raw.qb_run r
                  WHERE r.status IN ('queued', 'running')
                  GROUP BY r.connection HAVING raw._qb_paused_until(r.connection) IS NULL
                 UNION
                 SELECT i.connection, NULL FROM raw.qb_config i WHERE raw._qb_token_is_idle(i)
                    AND NOT EXISTS (SELECT 1 FROM raw.qb_run q WHERE q.status IN ('queued', 'running')
                                       AND q.connection OPERATOR(pg_catalog.=) i.connection)) w
           LEFT JOIN raw.qb_config c ON c.connection OPERATOR(pg_catalog.=) w.connection
           LEFT JOIN raw.qb_pace p ON p.connection OPERATOR(pg_catalog.=) w.connection
          ORDER BY p.as_of NULLS FIRST, w.first NULLS LAST",
    );
    spi::read(&statement, &[], |row| Ok((row.need(1)?, row.get(2)?)))
}

/// The run that a worker says it is at.
pub fn at_work(connection: &str) -> Result<Option<i64>> {
    let statement = Statement::fixed(
        "SELECT r.run_id FROM raw.qb_run r
          WHERE r.connection OPERATOR(pg_catalog.=) $1 AND r.status OPERATOR(pg_catalog.=) 'running' ORDER BY r.run_id LIMIT 1",
    );
    spi::read_one(&statement, &[connection.into()], |row| row.need(1))
}

/// Attempts in a row that end with their worker, and store nothing, after which a run ends.
const MOST_LOST: i32 = 10;

/// Ends a run of a connection, whose lock the caller holds, that was left behind again and again: it may be what ends its
/// worker, and every session of the server with it. Its id.
pub fn end_lost(connection: &str) -> Result<Option<i64>> {
    let statement = Statement::fixed(
        "UPDATE raw.qb_run AS r
            SET status = CASE WHEN r.windows_done OPERATOR(pg_catalog.>) 0 THEN 'partial' ELSE 'failed' END,
                lost_attempts = $2, error_code = $3, error_message = $4, error_hint = $5,
                finished_at = pg_catalog.clock_timestamp(), updated_at = pg_catalog.clock_timestamp()
          WHERE r.connection OPERATOR(pg_catalog.=) $1 AND r.status OPERATOR(pg_catalog.=) 'running'
            AND r.lost_attempts OPERATOR(pg_catalog.>=) ($2 OPERATOR(pg_catalog.-) 1)
            AND r.windows_done OPERATOR(pg_catalog.=) r.attempt_windows
         RETURNING r.run_id",
    );
    let lost = Error::WorkerLost { times: MOST_LOST };
    let args = [
        connection.into(),
        MOST_LOST.into(),
        lost.code().into(),
        lost.to_string().into(),
        lost.hint().into(),
    ];
    Ok(spi::write(&statement, &args, |row| row.need(1))?.into_iter().next())
}

/// Takes up the next run of a connection whose lock the caller holds: the oldest that is queued or was left behind.
pub fn claim(connection: &str) -> Result<Option<i64>> {
    let statement = Statement::fixed(
        "UPDATE raw.qb_run AS r
            SET status = 'running', attempt = r.attempt OPERATOR(pg_catalog.+) 1, worker_pid = pg_catalog.pg_backend_pid(),
                started_at = coalesce(r.started_at, pg_catalog.clock_timestamp()), not_before = NULL,
                source_count = NULL, stored_count = NULL,
                lost_attempts = CASE WHEN r.status OPERATOR(pg_catalog.=) 'running' AND r.windows_done OPERATOR(pg_catalog.=) r.attempt_windows
                                     THEN r.lost_attempts OPERATOR(pg_catalog.+) 1 ELSE 0 END,
                attempt_started_at = pg_catalog.clock_timestamp(), attempt_windows = r.windows_done, attempt_rows = r.row_count,
                windows_failed = 0, error_code = NULL, error_message = NULL, error_hint = NULL,
                updated_at = pg_catalog.clock_timestamp()
          WHERE r.run_id OPERATOR(pg_catalog.=) (
                SELECT q.run_id FROM raw.qb_run q
                 WHERE q.connection OPERATOR(pg_catalog.=) $1 AND q.status IN ('queued', 'running')
                   AND (SELECT raw._qb_paused_until($1)) IS NULL
                 ORDER BY q.run_id LIMIT 1)
            AND r.status IN ('queued', 'running')
         RETURNING r.run_id",
    );
    Ok(spi::write(&statement, &[connection.into()], |row| row.need(1))?.into_iter().next())
}

/// A range was checked against the clock when it was asked for; the clock may have been set back since.
const ANY_DAY: NaiveDate = NaiveDate::MAX;

/// Reads a run that was taken up, and checks that whoever asked for it still may.
pub fn load(id: i64) -> Result<Run> {
    let statement = Statement::fixed(
        "SELECT r.entity, r.start_date, r.end_date, r.chunk_days, r.page_size, r.window_on, r.execution_date, r.attempt,
                r.requested_by::text,
                (SELECT pg_catalog.has_function_privilege(o.oid,
                          'raw.qb_backfill(text, date, date, int, int, text, timestamptz, text)', 'EXECUTE')
                   FROM pg_catalog.pg_roles o WHERE o.rolname OPERATOR(pg_catalog.=) r.requested_by),
                r.windows_done OPERATOR(pg_catalog.>) 0, raw._qb_day_of(r.started_at)
           FROM raw.qb_run r WHERE r.run_id OPERATOR(pg_catalog.=) $1",
    );
    let mut run = spi::read_one(&statement, &[id.into()], |row| read(id, &row))?
        .ok_or(Error::UnknownRun { run_id: id })?;
    let named = Statement::fixed(
        "SELECT pg_catalog.lower(w), pg_catalog.upper(w)
           FROM raw.qb_run r, pg_catalog.unnest(r.windows) w WHERE r.run_id OPERATOR(pg_catalog.=) $1",
    );
    let named = spi::read(&named, &[id.into()], |row| window(&row))?;
    if !named.is_empty() {
        run.windows = window::listed(named, ANY_DAY)?;
    }
    Ok(run)
}

/// A window from the first two columns of a row.
pub fn window(row: &Row) -> Result<Window> {
    let at = |ordinal| -> Result<DateTime<Utc>> {
        let bound = row.get::<TimestampWithTimeZone>(ordinal)?.and_then(time::from_pg);
        bound.ok_or_else(|| Error::Argument {
            argument: "windows",
            value: "a range that is empty, NULL or without end".to_owned(),
            expected: "windows that begin and end".to_owned(),
        })
    };
    Ok(Window { start: at(1)?, end: at(2)? })
}

fn read(id: i64, row: &Row) -> Result<Run> {
    if row.get::<bool>(10)? != Some(true) {
        return Err(Error::NotPermitted { role: row.need(9)? });
    }
    let day = |ordinal| -> Result<NaiveDate> {
        Ok(time::date_from_pg(row.need::<Date>(ordinal)?).unwrap_or(NaiveDate::MIN))
    };
    Ok(Run {
        id,
        entity: Entity::find(&row.need::<String>(1)?)?,
        windows: Range::new(day(2)?, day(3)?, row.need(4)?, ANY_DAY)?.windows().collect(),
        page_size: u32::try_from(row.need::<i32>(5)?).unwrap_or(1),
        on: WindowOn::parse(&row.need::<String>(6)?)?,
        execution_date: row.get::<TimestampWithTimeZone>(7)?.and_then(time::from_pg),
        attempt: row.need(8)?,
        has_stored: row.need(11)?,
        open_from: day(12)?.and_time(NaiveTime::MIN).and_utc(),
    })
}

/// Counts what is stored anew: a report table that was made again, or emptied, no longer has what the run had done.
pub fn has_stored(id: i64, windows: usize) -> Result<()> {
    let statement = Statement::fixed(
        "UPDATE raw.qb_run AS r SET windows_done = $2, attempt_windows = $2
          WHERE r.run_id OPERATOR(pg_catalog.=) $1 AND r.windows_done OPERATOR(pg_catalog.<>) $2
            AND r.worker_pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()",
    );
    let windows = i32::try_from(windows).unwrap_or(i32::MAX);
    spi::run(&statement, &[id.into(), windows.into()]).map(|_| ())
}

/// What was stored is gone with its table: those windows count as failed.
pub fn lost(id: i64) -> Result<()> {
    let statement = Statement::fixed(
        "UPDATE raw.qb_run AS r
            SET windows_failed = r.windows_failed OPERATOR(pg_catalog.+) r.windows_done, windows_done = 0, attempt_windows = 0
          WHERE r.run_id OPERATOR(pg_catalog.=) $1 AND r.worker_pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()",
    );
    spi::run(&statement, &[id.into()]).map(|_| ())
}

/// A window of a run that is gone, or whose id belongs to another run by now, is not stored.
fn ours(rows: usize) -> Result<()> {
    if rows > 0 { Ok(()) } else { Err(Error::cancelled()) }
}

/// Adds a stored window.
pub fn add_stored(id: i64, tally: &Tally) -> Result<()> {
    let statement = Statement::fixed(
        "UPDATE raw.qb_run AS r
            SET windows_done = r.windows_done OPERATOR(pg_catalog.+) 1,
                row_count = r.row_count OPERATOR(pg_catalog.+) $2, inserted_count = r.inserted_count OPERATOR(pg_catalog.+) $3,
                updated_count = r.updated_count OPERATOR(pg_catalog.+) $4, skipped_count = r.skipped_count OPERATOR(pg_catalog.+) $5,
                rejected_count = r.rejected_count OPERATOR(pg_catalog.+) $6, page_count = r.page_count OPERATOR(pg_catalog.+) $7,
                request_count = r.request_count OPERATOR(pg_catalog.+) $8, updated_at = pg_catalog.clock_timestamp()
          WHERE r.run_id OPERATOR(pg_catalog.=) $1
            AND r.worker_pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()",
    );
    let args = [
        id.into(),
        tally.rows.into(),
        tally.inserted.into(),
        tally.updated.into(),
        tally.skipped.into(),
        tally.rejected.into(),
        tally.pages.into(),
        tally.requests.into(),
    ];
    ours(spi::run(&statement, &args)?)
}

/// Adds a failed window, and keeps the first error of the run.
pub fn add_failed(id: i64, tally: &Tally, error: &Error) -> Result<()> {
    let statement = Statement::fixed(
        "UPDATE raw.qb_run AS r
            SET windows_failed = r.windows_failed OPERATOR(pg_catalog.+) 1,
                page_count = r.page_count OPERATOR(pg_catalog.+) $2, request_count = r.request_count OPERATOR(pg_catalog.+) $3,
                error_code = coalesce(r.error_code, $4), error_message = coalesce(r.error_message, $5),
                error_hint = coalesce(r.error_hint, $6), updated_at = pg_catalog.clock_timestamp()
          WHERE r.run_id OPERATOR(pg_catalog.=) $1
            AND r.worker_pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()",
    );
    let args = [
        id.into(),
        tally.pages.into(),
        tally.requests.into(),
        error.code().into(),
        error.to_string().into(),
        error.hint().into(),
    ];
    ours(spi::run(&statement, &args)?)
}

/// Ends a run, with the error that ended it if there was one; a cancel that came when all was stored came too late. False:
/// it is ours no more.
pub fn finish(id: i64, status: &str, error: Option<&Error>) -> Result<bool> {
    let statement = Statement::fixed(
        "UPDATE raw.qb_run AS r
            SET status = CASE WHEN $2 OPERATOR(pg_catalog.=) 'cancelled' AND r.windows_done OPERATOR(pg_catalog.=) r.windows_total
                              THEN 'success' ELSE $2 END,
                finished_at = pg_catalog.clock_timestamp(), updated_at = pg_catalog.clock_timestamp(),
                error_code = coalesce(r.error_code, $3), error_message = coalesce(r.error_message, $4),
                error_hint = coalesce(r.error_hint, $5)
          WHERE r.run_id OPERATOR(pg_catalog.=) $1 AND r.status OPERATOR(pg_catalog.=) 'running'
            AND r.worker_pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()",
    );
    let args = [
        id.into(),
        status.into(),
        error.map(|error| error.code()).into(),
        error.map(|error| error.to_string()).into(),
        error.and_then(|error| error.hint()).into(),
    ];
    spi::run(&statement, &args).map(|rows| rows > 0)
}

/// Writes down what the count at the end of a run said: records of its range in QuickBooks, and in the table.
pub fn verified(id: i64, source: i64, stored: i64) -> Result<()> {
    let statement = Statement::fixed(
        "UPDATE raw.qb_run AS r SET source_count = $2, stored_count = $3 WHERE r.run_id OPERATOR(pg_catalog.=) $1
            AND r.worker_pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()",
    );
    spi::run(&statement, &[id.into(), source.into(), stored.into()]).map(|_| ())
}

/// Puts a run back into the queue; nothing of its connection is touched for a while, as QuickBooks asked. One that somebody
/// cancelled meanwhile ends. False: it is ours no more.
pub fn park(id: i64, pause: Duration) -> Result<bool> {
    let statement = Statement::fixed(
        "UPDATE raw.qb_run AS r
            SET status = CASE WHEN r.cancel_requested_at IS NULL THEN 'queued' ELSE 'cancelled' END,
                finished_at = CASE WHEN r.cancel_requested_at IS NOT NULL THEN pg_catalog.clock_timestamp() END,
                updated_at = pg_catalog.clock_timestamp(),
                not_before = pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) pg_catalog.make_interval(secs => $2)
          WHERE r.run_id OPERATOR(pg_catalog.=) $1
            AND r.worker_pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()",
    );
    spi::run(&statement, &[id.into(), pause.as_secs_f64().into()]).map(|rows| rows > 0)
}

/// Whether somebody asked to end the run. A run whose row is gone counts as cancelled, and so does one whose id is another
/// run's since the extension was made anew.
pub fn is_cancelled(id: i64) -> Result<bool> {
    let statement = Statement::fixed(
        "SELECT r.cancel_requested_at IS NOT NULL FROM raw.qb_run r
          WHERE r.run_id OPERATOR(pg_catalog.=) $1
            AND r.worker_pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()",
    );
    Ok(spi::read_one(&statement, &[id.into()], |row| row.need(1))?.unwrap_or(true))
}

/// What the log says at the end of a run.
pub fn totals(id: i64) -> Result<Option<String>> {
    let statement = Statement::fixed(
        "SELECT pg_catalog.format('%s of %s windows, %s rows (%s new, %s updated, %s unchanged, %s rejected), %s requests, %s s',
                  r.windows_done, r.windows_total, r.row_count, r.inserted_count, r.updated_count, r.skipped_count,
                  r.rejected_count, r.request_count,
                  pg_catalog.round(extract(epoch FROM r.finished_at OPERATOR(pg_catalog.-) r.started_at), 1))
           FROM raw.qb_run r WHERE r.run_id OPERATOR(pg_catalog.=) $1",
    );
    Ok(spi::read_one(&statement, &[id.into()], |row| row.get(1))?.flatten())
}

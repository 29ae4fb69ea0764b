//! Queueing runs: new ones, runs for windows that are named one by one, and runs that go on. The same work is never queued
//! twice, however many sessions ask at once.

use super::lock::{self, Lock};
use super::run;
use super::spi;
use super::statement::Statement;
use super::time;
use crate::domain::entity::Entity;
use crate::domain::window::{Window, WindowOn};
use crate::error::{Error, Result};
use pgrx::prelude::*;

/// What a caller asks for.
pub struct Asked<'a> {
    pub entity: &'static Entity,
    pub start_date: Date,
    pub end_date: Date,
    pub chunk_days: i32,
    pub page_size: i32,
    pub window_on: WindowOn,
    pub execution_date: Option<TimestampWithTimeZone>,
    pub connection: &'a str,
    pub windows: usize,
}

/// The run that does what was asked for.
pub struct Range {
    pub id: i64,
    /// A live run that was there before: whether its execution date is the same too.
    pub joined: Option<bool>,
}

/// Queues a run, or joins a live one with the same settings. Error: `Cancelling`, when that one is told to end.
pub fn range(asked: &Asked) -> Result<Range> {
    let insert = Statement::fixed(
        "INSERT INTO raw.qb_run AS r (connection, entity, start_date, end_date, chunk_days, page_size, window_on,
                                      execution_date, requested_by, windows_total)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, (SELECT o.rolname FROM pg_catalog.pg_roles o WHERE o.oid OPERATOR(pg_catalog.=) $9), $10)
         ON CONFLICT (connection, entity, start_date, end_date, chunk_days, page_size, window_on)
           WHERE status OPERATOR(pg_catalog.=) ANY ('{queued,running}'::text[]) AND windows IS NULL DO NOTHING
         RETURNING r.run_id",
    );
    let args = [
        asked.connection.into(),
        asked.entity.name.into(),
        asked.start_date.into(),
        asked.end_date.into(),
        asked.chunk_days.into(),
        asked.page_size.into(),
        asked.window_on.as_str().into(),
        asked.execution_date.into(),
        caller().into(),
        i32::try_from(asked.windows).unwrap_or(i32::MAX).into(),
    ];
    if let Some(id) = spi::write(&insert, &args, |row| row.need(1))?.first() {
        return Ok(Range { id: *id, joined: None });
    }
    let find = Statement::fixed(
        "SELECT r.run_id, r.execution_date IS NOT DISTINCT FROM $8, r.cancel_requested_at IS NOT NULL FROM raw.qb_run r
          WHERE r.connection OPERATOR(pg_catalog.=) $1 AND r.entity OPERATOR(pg_catalog.=) $2
            AND r.start_date OPERATOR(pg_catalog.=) $3 AND r.end_date OPERATOR(pg_catalog.=) $4
            AND r.chunk_days OPERATOR(pg_catalog.=) $5 AND r.page_size OPERATOR(pg_catalog.=) $6
            AND r.window_on OPERATOR(pg_catalog.=) $7 AND r.status IN ('queued', 'running') AND r.windows IS NULL",
    );
    let found = spi::write(&find, &args[..8], |row| {
        Ok((Range { id: row.need(1)?, joined: Some(row.need(2)?) }, row.need::<bool>(3)?))
    })?;
    match found.into_iter().next() {
        Some((Range { id, .. }, true)) => Err(Error::Cancelling { run_id: id }),
        Some((live, false)) => Ok(live),
        // It ended between the two statements: now there is room for a new one.
        None => range(asked),
    }
}

/// A run for windows that are named one by one.
pub struct Named<'a> {
    pub entity: &'static Entity,
    pub windows: &'a [Window],
    pub page_size: i32,
    pub window_on: WindowOn,
    pub connection: &'a str,
    pub connection_id: i32,
}

/// What became of it.
pub enum Queued {
    /// A new run, for so many of the windows: a live run is at the others.
    New { id: i64, windows: usize, busy: Option<i64> },
    /// A live run is at all of them.
    Busy { id: i64 },
}

/// Queues a run for these windows, without those that a live run is at already.
pub fn named(asked: &Named) -> Result<Queued> {
    // One at a time for each connection: what another session queued is seen when its transaction has ended.
    lock::hold(Lock::Ask, asked.connection_id)?;
    let (starts, ends): (Vec<_>, Vec<_>) =
        asked.windows.iter().map(|window| (time::to_pg(window.start), time::to_pg(window.end))).unzip();
    let split = Statement::fixed(
        "SELECT pg_catalog.lower(a.w), pg_catalog.upper(a.w),
                (SELECT pg_catalog.max(l.run_id) FROM raw._qb_live_windows l
                  WHERE l.connection OPERATOR(pg_catalog.=) $3 AND l.entity OPERATOR(pg_catalog.=) $4
                    AND l.window_on OPERATOR(pg_catalog.=) $5 AND a.w OPERATOR(pg_catalog.<@) l.spans)
           FROM (SELECT pg_catalog.tstzrange(u.s, u.e) AS w
                   FROM ROWS FROM (pg_catalog.unnest($1::timestamptz[]), pg_catalog.unnest($2::timestamptz[])) AS u (s, e)) a
          ORDER BY a.w",
    );
    let args = [
        starts.into(),
        ends.into(),
        asked.connection.into(),
        asked.entity.name.into(),
        asked.window_on.as_str().into(),
    ];
    let split = spi::write(&split, &args, |row| Ok((run::window(&row)?, row.get::<i64>(3)?)))?;
    let busy = split.iter().filter_map(|(_, run)| *run).max();
    let free: Vec<Window> =
        split.iter().filter(|(_, run)| run.is_none()).map(|(window, _)| *window).collect();
    let (Some(first), Some(last)) = (free.first(), free.last()) else {
        return Ok(Queued::Busy { id: busy.unwrap_or(0) });
    };
    let longest = free.iter().map(|window| (window.end - window.start).num_days()).max().unwrap_or(1).max(1);
    let (starts, ends): (Vec<_>, Vec<_>) =
        free.iter().map(|window| (time::to_pg(window.start), time::to_pg(window.end))).unzip();
    let insert = Statement::fixed(
        "INSERT INTO raw.qb_run AS r (connection, entity, start_date, end_date, chunk_days, page_size, window_on,
                                      requested_by, windows_total, windows)
         VALUES ($1, $2, ($3::timestamptz AT TIME ZONE 'UTC')::date,
                 (($4::timestamptz OPERATOR(pg_catalog.-) '1 microsecond'::interval) AT TIME ZONE 'UTC')::date, $5, $6, $7,
                 (SELECT o.rolname FROM pg_catalog.pg_roles o WHERE o.oid OPERATOR(pg_catalog.=) $8), $9,
                 ARRAY(SELECT pg_catalog.tstzrange(u.s, u.e) FROM ROWS FROM (pg_catalog.unnest($10::timestamptz[]),
                         pg_catalog.unnest($11::timestamptz[])) AS u (s, e) ORDER BY u.s))
         RETURNING r.run_id",
    );
    let args = [
        asked.connection.into(),
        asked.entity.name.into(),
        time::to_pg(first.start).into(),
        time::to_pg(last.end).into(),
        i32::try_from(longest).unwrap_or(i32::MAX).into(),
        asked.page_size.into(),
        asked.window_on.as_str().into(),
        caller().into(),
        i32::try_from(free.len()).unwrap_or(i32::MAX).into(),
        starts.into(),
        ends.into(),
    ];
    let id = spi::write(&insert, &args, |row| row.need::<i64>(1))?.first().copied().unwrap_or(0);
    Ok(Queued::New { id, windows: free.len(), busy })
}

/// A run as `qb_resume` finds it.
pub struct Found {
    pub connection: String,
    pub status: String,
    pub cancelling: bool,
    pub left: i32,
    pub total: i32,
    /// A live run that does the same.
    pub twin: Option<i64>,
}

/// Finds a run, and keeps others from changing it before this transaction ends.
pub fn find(id: i64) -> Result<Found> {
    let statement = Statement::fixed(
        "SELECT r.connection, r.status, r.cancel_requested_at IS NOT NULL,
                r.windows_total OPERATOR(pg_catalog.-) r.windows_done, r.windows_total,
                (SELECT t.run_id FROM raw.qb_run t
                  WHERE t.status IN ('queued', 'running') AND t.run_id OPERATOR(pg_catalog.<>) r.run_id
                    AND t.connection OPERATOR(pg_catalog.=) r.connection AND t.entity OPERATOR(pg_catalog.=) r.entity
                    AND t.start_date OPERATOR(pg_catalog.=) r.start_date AND t.end_date OPERATOR(pg_catalog.=) r.end_date
                    AND t.chunk_days OPERATOR(pg_catalog.=) r.chunk_days AND t.page_size OPERATOR(pg_catalog.=) r.page_size
                    AND t.window_on OPERATOR(pg_catalog.=) r.window_on AND t.windows IS NOT DISTINCT FROM r.windows
                  ORDER BY t.run_id LIMIT 1)
           FROM raw.qb_run r WHERE r.run_id OPERATOR(pg_catalog.=) $1 FOR UPDATE OF r",
    );
    let found = spi::write(&statement, &[id.into()], |row| {
        Ok(Found {
            connection: row.need(1)?,
            status: row.need(2)?,
            cancelling: row.need(3)?,
            left: row.need(4)?,
            total: row.need(5)?,
            twin: row.get(6)?,
        })
    })?;
    found.into_iter().next().ok_or(Error::UnknownRun { run_id: id })
}

/// Puts a run that ended back into the queue; it is the caller's from now on.
pub fn again(id: i64) -> Result<()> {
    let statement = Statement::fixed(
        "UPDATE raw.qb_run AS r
            SET status = 'queued', finished_at = NULL, cancel_requested_at = NULL, not_before = NULL, windows_failed = 0,
                error_code = NULL, error_message = NULL, error_hint = NULL, updated_at = pg_catalog.clock_timestamp(),
                requested_by = (SELECT o.rolname FROM pg_catalog.pg_roles o WHERE o.oid OPERATOR(pg_catalog.=) $2)
          WHERE r.run_id OPERATOR(pg_catalog.=) $1",
    );
    spi::run(&statement, &[id.into(), caller().into()]).map(|_| ())
}

/// Who calls, through all functions that run with other rights.
fn caller() -> pg_sys::Oid {
    // SAFETY: reads a variable of the session.
    unsafe { pg_sys::GetOuterUserId() }
}

//! `raw.qb_cancel`: ends a run within a second, wherever it is.

use super::need;
use crate::error::{Error, Result};
use crate::pg::launch;
use crate::pg::lock::{self, Lock};
use crate::pg::raise::Raised;
use crate::pg::spi;
use crate::pg::statement::Statement;
use pgrx::callbacks::{PgXactCallbackEvent, register_xact_callback};
use pgrx::prelude::*;

#[pg_extern(sql = false)]
fn qb_cancel(run_id: Option<i64>) -> Raised<String> {
    Ok(cancel(need(run_id, "run_id")?)?)
}

fn cancel(id: i64) -> Result<String> {
    launch::may_write()?;
    // A run that nobody works on ends at once; one that is worked on is flagged, and its worker told at commit.
    let flag = Statement::fixed(
        "UPDATE raw.qb_run AS r SET cancel_requested_at = coalesce(r.cancel_requested_at, pg_catalog.clock_timestamp())
          WHERE r.run_id OPERATOR(pg_catalog.=) $1 AND r.status IN ('queued', 'running')
         RETURNING r.status, r.worker_pid,
                   (SELECT c.connection_id FROM raw.qb_config c WHERE c.connection OPERATOR(pg_catalog.=) r.connection)",
    );
    let flagged = spi::write(&flag, &[id.into()], |row| {
        Ok((row.need::<String>(1)?, row.get::<i32>(2)?, row.get::<i32>(3)?))
    })?;
    let Some((status, worker, connection)) = flagged.into_iter().next() else {
        return ended(id);
    };
    // What the row says of its worker may be of another time: after a crash its number may be anybody's.
    let at_work = match connection {
        Some(connection) => lock::holder(Lock::Connection, connection)?,
        None => None,
    };
    if let Some(worker) = at_work.filter(|pid| status == "running" && Some(*pid) == worker) {
        register_xact_callback(PgXactCallbackEvent::Commit, move || wake(worker));
        return Ok(["run ", &id.to_string(), " is told to end"].concat());
    }
    // Its worker may have died when all was stored: then it came too late.
    let end = Statement::fixed(
        "UPDATE raw.qb_run AS r
            SET status = CASE WHEN r.windows_done OPERATOR(pg_catalog.=) r.windows_total THEN 'success' ELSE 'cancelled' END,
                finished_at = pg_catalog.clock_timestamp(), updated_at = pg_catalog.clock_timestamp()
          WHERE r.run_id OPERATOR(pg_catalog.=) $1
         RETURNING r.status OPERATOR(pg_catalog.=) 'cancelled'",
    );
    match spi::write(&end, &[id.into()], |row| row.need(1))?.first() {
        Some(true) => Ok(["run ", &id.to_string(), " is cancelled"].concat()),
        _ => ended(id),
    }
}

/// What to say of a run that is not alive.
fn ended(id: i64) -> Result<String> {
    let find = Statement::fixed("SELECT r.status FROM raw.qb_run r WHERE r.run_id OPERATOR(pg_catalog.=) $1");
    let status: String =
        spi::read_one(&find, &[id.into()], |row| row.need(1))?.ok_or(Error::UnknownRun { run_id: id })?;
    Ok(["run ", &id.to_string(), " has ended already: ", &status].concat())
}

/// The worker reads the flag as soon as it is interrupted. A signal is all that may be done after a commit. Should the
/// worker be at another run by now, it finds no flag there and goes on.
fn wake(worker: i32) {
    // SAFETY: kill has no preconditions; the process is one of this server, or gone.
    unsafe { libc::kill(worker, libc::SIGINT) };
}

//! `raw.qb_tick`: starts workers for what is queued or was left behind.

use crate::error::Result;
use crate::pg::lock::{self, Lock};
use crate::pg::raise::Raised;
use crate::pg::{guc, launch, raise, run};
use pgrx::prelude::*;

#[pg_extern(sql = false)]
fn qb_tick() -> Raised<i32> {
    Ok(tick()?)
}

fn tick() -> Result<i32> {
    // Called every minute by a schedule that a restored copy brought along: no failure each time.
    if !guc::enabled() {
        raise::notice("qbo_raw.enabled is off: no worker is started".to_owned(), None);
        return Ok(0);
    }
    launch::may_write()?;
    let mut free = Vec::new();
    for (_, connection) in run::due()? {
        // A run whose connection was deleted needs a worker too, to be ended with an error.
        let connection = connection.unwrap_or(0);
        if lock::is_free(Lock::Connection, connection)? {
            launch::at_commit(connection);
            free.push(connection);
        }
    }
    let started = free.len().min(lock::free_places(guc::max_workers())?);
    Ok(i32::try_from(started).unwrap_or(i32::MAX))
}

//! What `raw.qb_wait` cannot find out in SQL.

use crate::error::Error;
use crate::pg::raise::Raised;
use pgrx::prelude::*;

/// Refuses a transaction block, where PostgreSQL itself would call the first COMMIT an invalid termination.
#[pg_extern(sql = false)]
fn qb_wait_may() -> Raised<()> {
    // SAFETY: reads the state of the session.
    match unsafe { pg_sys::IsTransactionBlock() } {
        true => Err(Error::InTransaction.into()),
        false => Ok(()),
    }
}

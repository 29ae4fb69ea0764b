//! Running as the owner of a table. The worker is a superuser; a statement on a data table may run a trigger, a default, a
//! constraint or an index expression that somebody else wrote. So such a statement runs as the table's owner inside a
//! security-restricted operation, as PostgreSQL's logical replication does since version 16: what the code of the owner
//! can do there, the owner could do anyway.

use crate::error::Result;
use pgrx::prelude::*;

/// Runs `work` as `role`. Settings that the work changes are set back. An error that unwinds through here is undone by the
/// abort of the transaction, which restores user and settings.
pub fn run_as<T>(role: pg_sys::Oid, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let mut user = pg_sys::InvalidOid;
    let mut context = 0;
    // SAFETY: inside a transaction of the main thread; both out pointers are valid.
    let level = unsafe {
        pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
        let restricted =
            (pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_RESTRICTED_OPERATION) as i32;
        pg_sys::SetUserIdAndSecContext(role, context | restricted);
        pg_sys::NewGUCNestLevel()
    };
    let outcome = work();
    // SAFETY: undoes exactly what was done above.
    unsafe {
        pg_sys::AtEOXact_GUC(false, level);
        pg_sys::SetUserIdAndSecContext(user, context);
    }
    outcome
}

//! Running as the owner of a table. The worker is a superuser; a statement on a data table may run a trigger, a default, a
//! constraint or an index expression that somebody else wrote. So such a statement runs as the table's owner inside a
//! security-restricted operation, as PostgreSQL's logical replication does since version 16: what the code of the owner
//! can do there, the owner could do anyway.

use super::spi;
use super::statement::{Statement, Target};
use crate::error::Result;
use pgrx::PgMemoryContexts;
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

/// Runs `work` while `qbo_raw_owner` may create in the schema of `target`, where it may not anyway. It must not for good: a
/// function beside the extension's own could be called in place of one of them. Committed is only what it was before.
pub fn with_create<T>(target: &Target, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let lacks = Statement::fixed(
        "SELECT NOT pg_catalog.has_schema_privilege('qbo_raw_owner', n.oid, 'CREATE')
           FROM pg_catalog.pg_namespace n WHERE n.nspname OPERATOR(pg_catalog.=) $1::name",
    );
    // Without the schema, creating the table says so.
    let lacks = spi::read_one(&lacks, &[target.schema().into()], |row| row.need::<bool>(1))?;
    if !lacks.unwrap_or(false) {
        return work();
    }
    change_rights(&Statement::on("GRANT CREATE ON SCHEMA %schema TO qbo_raw_owner", target));
    let value = work()?;
    change_rights(&Statement::on("REVOKE CREATE ON SCHEMA %schema FROM qbo_raw_owner", target));
    Ok(value)
}

/// A GRANT or REVOKE, past the event triggers: as a statement of the worker they would run as superuser.
fn change_rights(statement: &Statement) {
    // SAFETY: inside a transaction of the main thread. The text is one statement, GRANT or REVOKE, which the parser makes a
    // list of one RawStmt with a GrantStmt of; an error unwinds and aborts the transaction.
    unsafe {
        let text = PgMemoryContexts::CurrentMemoryContext.pstrdup(statement.text());
        let parsed = pg_sys::raw_parser(text, pg_sys::RawParseMode::RAW_PARSE_DEFAULT);
        let first: *mut pg_sys::RawStmt = (*(*parsed).elements).ptr_value.cast();
        pg_sys::ExecuteGrantStmt((*first).stmt.cast());
        pg_sys::CommandCounterIncrement();
    }
}

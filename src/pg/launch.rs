//! Starting workers. A run that was queued gets its worker when the caller's transaction commits: not before, since the
//! worker could not see the run, and not at all after a rollback.
//!
//! A worker that is about to leave and a caller that is about to commit must not miss each other. The caller holds the
//! queue lock, shared, from looking for a worker to the end of its commit; the worker gives up its locks, takes the queue
//! lock alone, and looks once more.

use super::guc;
use super::lock::{self, Lock};
use super::raise;
use crate::error::{Error, Result};
use pgrx::bgworkers::{
    BackgroundWorkerBuilder, BackgroundWorkerStatus, BgWorkerStartTime, DynamicBackgroundWorker,
};
use pgrx::callbacks::{PgXactCallbackEvent, register_xact_callback};
use pgrx::prelude::*;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

thread_local! {
    /// Connections that this transaction queued runs for.
    static WANTED: RefCell<BTreeSet<i32>> = const { RefCell::new(BTreeSet::new()) };
}

/// Sees to it that somebody works on the connection once this transaction has committed.
pub fn at_commit(connection: i32) {
    let first = WANTED.with_borrow_mut(|wanted| {
        let first = wanted.is_empty();
        wanted.insert(connection);
        first
    });
    if first {
        register_xact_callback(PgXactCallbackEvent::PreCommit, before_commit);
        register_xact_callback(PgXactCallbackEvent::Abort, forget);
        // A prepared transaction commits in another session: the next tick finds its run.
        register_xact_callback(PgXactCallbackEvent::PrePrepare, forget);
    }
}

fn forget() {
    WANTED.with_borrow_mut(BTreeSet::clear);
}

fn before_commit() {
    let wanted = WANTED.with_borrow_mut(std::mem::take);
    // SAFETY: still inside the transaction. SPI would leave a snapshot of its own behind where none is active.
    unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot()) };
    let outcome = start_missing(&wanted);
    point!("call@committing");
    // SAFETY: the snapshot pushed above is on top again.
    unsafe { pg_sys::PopActiveSnapshot() };
    if let Err(error) = outcome {
        // The run itself is fine; it waits for the next tick.
        raise::warning(error.to_string(), error.hint().as_deref());
    }
}

fn start_missing(wanted: &BTreeSet<i32>) -> Result<()> {
    lock::hold_shared(Lock::Queue, 0)?;
    // Whoever has a place looks for more work before it leaves: one more worker than there are places has nothing to do.
    let mut places = lock::free_places(guc::max_workers())?;
    for connection in wanted {
        if places > 0 && lock::is_free(Lock::Connection, *connection)? {
            start()?;
            places -= 1;
        }
    }
    Ok(())
}

/// Registers one worker for this database. It waits for the present transaction to end before it looks for work.
pub fn start() -> Result<()> {
    // SAFETY: reads variables of the session.
    let (database, transaction) = unsafe { (pg_sys::MyDatabaseId, pg_sys::GetTopTransactionIdIfAny()) };
    builder("qbo_raw worker", "qbo_raw_worker_main")
        .set_argument(database.into_datum())
        .set_extra(&transaction.into_inner().to_string())
        .load_dynamic()
        .map(|_| ())
        .map_err(|_| Error::NoWorkerSlot)
}

/// Registers a worker that goes on the errand in this mailbox.
pub fn errand(database: pg_sys::Oid, mailbox: u32) -> Result<DynamicBackgroundWorker> {
    builder("qbo_raw errand", "qbo_raw_errand_main")
        .set_argument(database.into_datum())
        .set_extra(&mailbox.to_string())
        // SAFETY: reads a variable of the session.
        .set_notify_pid(unsafe { pg_sys::MyProcPid })
        .load_dynamic()
        .map_err(|_| Error::NoErrandSlot)
}

/// Whether such a worker is gone.
pub fn has_ended(worker: &DynamicBackgroundWorker) -> bool {
    matches!(worker.pid(), Err(BackgroundWorkerStatus::Stopped | BackgroundWorkerStatus::PostmasterDied))
}

/// Registers the launcher, where the library is preloaded. Not during pg_upgrade, which wants the databases for itself.
pub fn launcher() {
    // SAFETY: reads variables of the postmaster.
    let wanted = unsafe { pg_sys::process_shared_preload_libraries_in_progress && !pg_sys::IsBinaryUpgrade };
    if wanted {
        builder("qbo_raw launcher", "qbo_raw_launcher_main")
            .set_start_time(BgWorkerStartTime::RecoveryFinished)
            .set_restart_time(Some(LAUNCHER_RESTART))
            .load();
    }
}

/// What PostgreSQL waits before it starts the launcher again.
const LAUNCHER_RESTART: Duration = Duration::from_secs(5);

fn builder(name: &str, function: &str) -> BackgroundWorkerBuilder {
    BackgroundWorkerBuilder::new(name)
        .set_type(name)
        .set_library("qbo_raw")
        .set_function(function)
        .enable_spi_access()
        .set_restart_time(None)
}

/// Refuses when this server may not work: a standby, a read-only transaction, or switched off.
pub fn need_writable() -> Result<()> {
    if !guc::enabled() {
        return Err(Error::Disabled);
    }
    may_write()
}

/// Refuses on a standby and in a read-only transaction.
pub fn may_write() -> Result<()> {
    // SAFETY: reads the state of the session.
    let (standby, read_only) = unsafe { (pg_sys::RecoveryInProgress(), pg_sys::XactReadOnly) };
    if standby || read_only { Err(Error::ReadOnly { standby }) } else { Ok(()) }
}

//! The background worker: finds a connection with work that nobody works on, drains it, looks for the next, and leaves.
//! Who works on what is a matter of advisory locks, so a crash, a restart or a promotion leaves nothing behind that looks
//! alive; a run that is "running" without a lock behind it is taken up again.

use super::config;
use super::latch;
use super::launch;
use super::line::{self, Line};
use super::lock::{self, Lock};
use super::raise;
use super::run;
use super::session;
use super::spi;
use super::statement::Statement;
use super::work;
use crate::error::Result;
use crate::pg::guc;
use pgrx::bgworkers::BackgroundWorker;
use pgrx::prelude::*;
use std::time::Duration;

/// Entry point; named in `launch`. The argument is the database, the extra text the transaction to wait for.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn qbo_raw_worker_main(database: pg_sys::Datum) {
    session::open(pg_sys::Oid::from(database.value() as u32));
    line::hang_up_at_exit();
    session::show("qbo_raw: looking for work");
    point!("worker@opened");
    if let Err(error) = wait_for_caller().and_then(|()| serve()) {
        // Whatever it was, the rows say what is left to do, and the next tick does it.
        match extension() {
            Ok(None) => raise::log(PgLogLevel::LOG, "qbo_raw worker: the extension was dropped".to_owned()),
            _ => raise::warning(["qbo_raw worker: ", &error.to_string()].concat(), error.hint().as_deref()),
        }
    }
}

/// The run becomes visible when the transaction that queued it has ended.
fn wait_for_caller() -> Result<()> {
    let transaction: u32 = BackgroundWorker::get_extra().parse().unwrap_or(0);
    if transaction == 0 {
        return Ok(());
    }
    spi::transaction(|| {
        // SAFETY: inside a transaction; interruptible, returns at once when that transaction is over.
        unsafe {
            pg_sys::XactLockTableWait(
                pg_sys::TransactionId::from(transaction),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                pg_sys::XLTW_Oper::XLTW_None,
            );
        }
        Ok(())
    })
}

/// Starts a worker in this database, if there is something to do that nobody does. Error: 55P03, somebody has locked what
/// tells.
pub fn send_another() -> Result<()> {
    if !guc::enabled() || extension()?.is_none() {
        return Ok(());
    }
    let never = || Ok(false);
    // Who is committing a run just now may have counted on us, who held the connection's lock when he looked.
    spi::patiently(never, || lock::hold(Lock::Queue, 0))?;
    if spi::patiently(never, || Ok(lock::free_places(guc::max_workers())? > 0 && work_is_free()?))? {
        spi::transaction(launch::start)?;
    }
    Ok(())
}

/// Between two looks for work that is free and cannot be had.
const PAUSE: Duration = Duration::from_millis(200);

fn serve() -> Result<()> {
    let Some(extension) = extension()? else { return Ok(()) };
    point!("worker@caller_ended");
    loop {
        let Some(place) = take_place()? else { return Ok(()) };
        point!("worker@placed");
        let mut idle = true;
        while let Some((name, key)) = take_connection()? {
            idle = false;
            point!("worker@locked");
            let outcome = work_on(&name, extension);
            spi::transaction(|| lock::release(Lock::Connection, key))?;
            point!("worker@unlocked");
            if !outcome? {
                // An extension that was made anew meanwhile has a worker of its own.
                spi::transaction(|| lock::release(Lock::Place, place))?;
                return send_another();
            }
        }
        spi::transaction(|| lock::release(Lock::Place, place))?;
        point!("worker@leaving");
        // Whoever commits a run now, or from now on, either saw our locks gone or is waited for here.
        spi::transaction(|| lock::hold(Lock::Queue, 0))?;
        if !spi::transaction(work_is_free)? {
            point!("worker@left");
            return Ok(());
        }
        if idle {
            // Free, and yet not to be had: somebody who is no worker of ours holds the lock beside others.
            latch::wait(PAUSE);
        }
    }
}

/// Does the next run of the connection, or what else there is to do for it. False: the worker has to leave.
fn work_on(name: &str, here: pg_sys::Oid) -> Result<bool> {
    if !guc::enabled() || extension()? != Some(here) {
        return Ok(false);
    }
    if let Some(id) = spi::transaction(|| run::end_lost(name))? {
        raise::warning(
            ["qbo_raw: run ", &id.to_string(), " ends: its worker was lost again and again"].concat(),
            None,
        );
    }
    let claim = || {
        let claimed = run::claim(name)?;
        point!("run@claiming");
        Ok(claimed)
    };
    let Some(id) = spi::transaction(claim)? else {
        renew_idle(name)?;
        return Ok(true);
    };
    point!("run@claimed");
    if let Err(error) = work::run(id, name) {
        // What keeps a run from even starting: it ends with that error.
        spi::transaction(|| run::finish(id, "failed", Some(&error)))?;
        raise::warning(["qbo_raw: run ", &id.to_string(), " failed: ", &error.to_string()].concat(), None);
    }
    Ok(true)
}

/// Renews a refresh token before it ends for want of use.
fn renew_idle(name: &str) -> Result<()> {
    if !spi::transaction(|| config::is_idle(name))? {
        return Ok(());
    }
    let connection = spi::transaction(|| config::load(name))?;
    let stored = spi::transaction(|| config::tokens(connection.id))?;
    let generation = stored.map(|(stored, _)| stored.generation);
    let line = Line::open(&connection, 1, 1)?;
    match line.keeper.renew(generation, || Ok(false)) {
        Ok(_) => {
            raise::log(PgLogLevel::LOG, ["qbo_raw: renewed the idle token of connection ", name].concat());
        }
        Err(failure) => {
            let text =
                ["qbo_raw: the idle token of connection ", name, " is not renewed: ", &failure.message]
                    .concat();
            raise::warning(text, failure.hint.as_deref());
        }
    }
    Ok(())
}

/// A free place among `qbo_raw.max_workers`. None: as many workers as may be are working, and each looks once more before
/// it leaves.
fn take_place() -> Result<Option<i32>> {
    spi::transaction(|| {
        for place in 1..=guc::max_workers() {
            if lock::try_take(Lock::Place, place)? {
                return Ok(Some(place));
            }
        }
        Ok(None)
    })
}

/// The connection whose work waits longest and that nobody works on.
fn take_connection() -> Result<Option<(String, i32)>> {
    for (name, key) in spi::transaction(run::due)? {
        let key = key.unwrap_or(0);
        if spi::transaction(|| lock::try_take(Lock::Connection, key))? {
            return Ok(Some((name, key)));
        }
    }
    Ok(None)
}

fn work_is_free() -> Result<bool> {
    for (_, key) in run::due()? {
        if lock::is_free(Lock::Connection, key.unwrap_or(0))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Identity of the extension: after DROP and CREATE EXTENSION it is another one, and nothing of ours may be written there.
pub fn extension() -> Result<Option<pg_sys::Oid>> {
    let statement = Statement::fixed(
        "SELECT e.oid FROM pg_catalog.pg_extension e WHERE e.extname OPERATOR(pg_catalog.=) 'qbo_raw'",
    );
    spi::transaction(|| spi::read_one(&statement, &[], |row| row.need(1)))
}

//! Waiting. The main thread of the worker waits here and nowhere else: on its latch, which the fetch threads, signals and
//! time-outs set.

use crate::http::thread;
use pgrx::prelude::*;
use std::sync::Arc;
use std::sync::mpsc::TryRecvError;
use std::time::Duration;

/// Why a wait ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// The latch was set or the time is over: look again.
    Look,
    /// SIGINT came: `qb_cancel`, or somebody called `pg_cancel_backend`.
    Cancel,
}

/// Waits at most `timeout`. Ends the process when it was told to end, or when the postmaster died; reloads the
/// configuration after SIGHUP.
pub fn wait(timeout: Duration) -> Wake {
    let milliseconds = i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX).clamp(1, 60_000);
    // SAFETY: main thread of a backend; MyLatch is valid for its whole life.
    unsafe {
        let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
        pg_sys::WaitLatch(pg_sys::MyLatch, events as i32, milliseconds, pg_sys::PG_WAIT_EXTENSION);
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
    // A cancel that arrives while no statement runs is ours to handle; CHECK_FOR_INTERRUPTS would make it an error.
    let cancelled = take_cancel();
    pg_sys::check_for_interrupts!();
    reload();
    if cancelled { Wake::Cancel } else { Wake::Look }
}

/// Whether a cancel is pending; it is not any more afterwards.
pub fn take_cancel() -> bool {
    // SAFETY: a flag of type sig_atomic_t that signal handlers write.
    unsafe {
        let pending = (&raw mut pg_sys::QueryCancelPending).read_volatile() != 0;
        if pending {
            (&raw mut pg_sys::QueryCancelPending).write_volatile(0);
        }
        pending
    }
}

fn reload() {
    // SAFETY: main thread, outside a transaction, as the main loops of PostgreSQL do it.
    unsafe {
        if (&raw mut pg_sys::ConfigReloadPending).read_volatile() != 0 {
            (&raw mut pg_sys::ConfigReloadPending).write_volatile(0);
            pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
        }
    }
}

/// What a fetch thread calls to wake the main thread: PostgreSQL's handler of SIGUSR1 sets the latch. All signals are
/// blocked in the threads, so it is the main thread that gets it.
pub fn waker() -> Arc<dyn Fn() + Send + Sync> {
    // SAFETY: getpid and kill have no preconditions.
    let process = unsafe { libc::getpid() };
    Arc::new(move || unsafe {
        // SAFETY: a signal to ourselves that PostgreSQL handles in every backend.
        libc::kill(process, libc::SIGUSR1);
    })
}

/// Does one blocking call on a thread of its own, while the main thread waits on its latch.
pub fn call<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let receiver = thread::off_main(waker(), work).ok()?;
    loop {
        match receiver.try_recv() {
            Ok(value) => return Some(value),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => {
                wait(Duration::from_secs(1));
            }
        }
    }
}

/// While it lives, SIGTERM and cancel are put off: a token that was spent must be stored before the process may go.
pub struct Hold;

impl Hold {
    /// Begins to hold.
    pub fn begin() -> Self {
        // SAFETY: the counter belongs to this process's main thread (HOLD_INTERRUPTS).
        unsafe { pg_sys::InterruptHoldoffCount += 1 };
        Hold
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // SAFETY: as above (RESUME_INTERRUPTS). An error that unwound may have set the counter back already.
        unsafe { pg_sys::InterruptHoldoffCount = pg_sys::InterruptHoldoffCount.saturating_sub(1) };
    }
}

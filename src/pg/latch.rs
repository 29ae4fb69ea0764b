//! Waiting. The main thread of the worker waits here and nowhere else: on its latch, which the fetch threads, signals and
//! time-outs set.

use crate::http::thread;
use pgrx::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::TryRecvError;
use std::time::{Duration, Instant};

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
    let held = HELD.load(Ordering::Relaxed);
    let orphaned = if held { pg_sys::WL_POSTMASTER_DEATH } else { pg_sys::WL_EXIT_ON_PM_DEATH };
    // SAFETY: main thread of a backend; MyLatch is valid for its whole life.
    let events = unsafe {
        let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | orphaned;
        let events =
            pg_sys::WaitLatch(pg_sys::MyLatch, events as i32, milliseconds, pg_sys::PG_WAIT_EXTENSION);
        pg_sys::ResetLatch(pg_sys::MyLatch);
        events as u32
    };
    if held && events & pg_sys::WL_POSTMASTER_DEATH != 0 {
        // From now on every wait ends at once. What was spent is still stored: that needs no postmaster.
        std::thread::sleep(Duration::from_millis(10));
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

/// While it lives, SIGTERM and SIGINT wait outside: a token that was spent must be stored before the process may go. The
/// signals themselves are blocked. A counter of PostgreSQL would be set back by the first error, and until 15 a regular
/// expression, such as a CHECK may have, is broken off by a pending signal whatever the counter says.
pub struct Hold {
    began: Instant,
    before: libc::sigset_t,
}

/// Longest that a process may put off its end.
const HOLD_MOST: Duration = Duration::from_secs(10);

/// Whether a hold lives; of the main thread, like everything here.
static HELD: AtomicBool = AtomicBool::new(false);

impl Hold {
    /// Begins to hold; there is one at a time. Whoever was told to end before ends now.
    pub fn begin() -> Self {
        let before = block_ends();
        // SAFETY: main thread; waits for nothing.
        unsafe {
            // Whoever is an orphan spends nothing any more.
            let events = (pg_sys::WL_EXIT_ON_PM_DEATH | pg_sys::WL_TIMEOUT) as i32;
            pg_sys::WaitLatch(std::ptr::null_mut(), events, 0, pg_sys::PG_WAIT_EXTENSION);
        }
        take_cancel();
        pg_sys::check_for_interrupts!();
        HELD.store(true, Ordering::Relaxed);
        Hold { began: Instant::now(), before }
    }

    /// Whether it has lasted as long as it may.
    pub fn is_over(&self) -> bool {
        self.began.elapsed() >= HOLD_MOST
    }
}

/// Blocks the signals that end or interrupt; the mask as it was.
fn block_ends() -> libc::sigset_t {
    let mut ends: libc::sigset_t = unsafe {
        // SAFETY: a signal set is plain memory that sigemptyset fills.
        std::mem::zeroed()
    };
    let mut before = ends;
    // SAFETY: both sets live until the calls return; whoever holds restores the mask.
    unsafe {
        libc::sigemptyset(&mut ends);
        libc::sigaddset(&mut ends, libc::SIGTERM);
        libc::sigaddset(&mut ends, libc::SIGINT);
        libc::pthread_sigmask(libc::SIG_BLOCK, &ends, &mut before);
    }
    before
}

/// A transaction that is aborted lets all signals in. Who holds keeps them outside again, and sends out what came in.
pub fn keep_holding() {
    if !HELD.load(Ordering::Relaxed) {
        return;
    }
    block_ends();
    // SAFETY: a flag that only the handler of SIGTERM writes, which is blocked; the signal waits until the hold is over.
    unsafe {
        let ending = &raw mut pg_sys::ProcDiePending;
        if ending.read_volatile() != 0 {
            ending.write_volatile(0);
            libc::kill(libc::getpid(), libc::SIGTERM);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        HELD.store(false, Ordering::Relaxed);
        // SAFETY: the set was written when the hold began; what waits outside comes in now and sets its flag.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, std::ptr::null_mut());
        }
    }
}

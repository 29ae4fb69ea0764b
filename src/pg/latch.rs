//! Waiting. The main thread of the worker waits here and nowhere else: on its latch, which the fetch threads, signals and
//! time-outs set.

use super::holdoff::uncancelled;
use crate::http::thread;
use pgrx::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, TryRecvError, channel};
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
    uncancelled(|| {
        pg_sys::check_for_interrupts!();
        reload();
    });
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

/// While it lives, SIGTERM and SIGINT are only noted: a token that was spent must be stored before the process may go. A
/// counter of PostgreSQL would be set back by the first error, and until 15 a regular expression, such as a CHECK may have,
/// is broken off by a pending signal whatever the counter says; a mask would be opened by the first transaction that aborts.
pub struct Hold {
    began: Instant,
    before: [libc::sigaction; 2],
    /// Ends the thread that ends the hold.
    limit: Option<Sender<()>>,
}

/// Time to store what was asked for, however long the answer took.
const SAVE_LEAST: Duration = Duration::from_secs(3);

/// Longest that a process may put off its end.
const HOLD_MOST: Duration = Duration::from_secs(10);

/// The signals that are held, and whether each came meanwhile.
const ENDS: [libc::c_int; 2] = [libc::SIGTERM, libc::SIGINT];
static CAME: [AtomicBool; 2] = [AtomicBool::new(false), AtomicBool::new(false)];

/// Whether a hold lives; of the main thread, like everything here.
static HELD: AtomicBool = AtomicBool::new(false);

unsafe extern "C-unwind" {
    /// Whether the postmaster lives, by the pipe that ends with it. (pgrx does not bind it.)
    fn PostmasterIsAliveInternal() -> bool;
}

extern "C" fn note(signal: libc::c_int) {
    for (end, came) in ENDS.iter().zip(&CAME) {
        if *end == signal {
            came.store(true, Ordering::Relaxed);
        }
    }
}

impl Hold {
    /// Begins to hold; there is one at a time. Whoever was told to end before ends now.
    pub fn begin() -> Self {
        // SAFETY: plain memory, filled by sigaction and sigemptyset. The handler stores to an atomic and no more; the
        // actions before it come back when the hold is dropped.
        let before = ENDS.map(|signal| unsafe {
            let mut noted: libc::sigaction = std::mem::zeroed();
            let mut before: libc::sigaction = std::mem::zeroed();
            noted.sa_sigaction = note as extern "C" fn(libc::c_int) as libc::sighandler_t;
            noted.sa_flags = libc::SA_RESTART;
            libc::sigemptyset(&mut noted.sa_mask);
            libc::sigaction(signal, &noted, &mut before);
            before
        });
        let hold = Hold { began: Instant::now(), before, limit: None };
        // An orphan spends nothing any more: a commit that was to wait for a standby has not. A wait without a time-out would
        // not tell: it looks at one event, which may be another.
        // SAFETY: main thread; both have no preconditions.
        unsafe {
            if !PostmasterIsAliveInternal() {
                pg_sys::proc_exit(1);
            }
        }
        take_cancel();
        pg_sys::check_for_interrupts!();
        HELD.store(true, Ordering::Relaxed);
        hold
    }

    /// From now on only PostgreSQL is waited for. A standby that commits wait for may have gone: then the hold ends by itself,
    /// and the signals that came end the wait.
    pub fn limit(&mut self) {
        let (sender, receiver) = channel();
        let (before, left) = (self.before, HOLD_MOST.saturating_sub(self.began.elapsed()).max(SAVE_LEAST));
        let end = move || {
            if receiver.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
                let_in(&before);
            }
        };
        self.limit = thread::spawn("qbo_raw hold", end).is_ok().then_some(sender);
    }

    /// Whether it would last longer than it may, after such a pause.
    pub fn is_over_after(&self, pause: Duration) -> bool {
        self.began.elapsed() + pause >= HOLD_MOST
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        HELD.store(false, Ordering::Relaxed);
        self.limit = None;
        let_in(&self.before);
    }
}

/// Gives the signals back their actions; what came meanwhile comes again, to ourselves.
fn let_in(before: &[libc::sigaction; 2]) {
    for ((signal, before), came) in ENDS.iter().zip(before).zip(&CAME) {
        // SAFETY: the action was written when the hold began; it may be set twice.
        unsafe {
            libc::sigaction(*signal, before, std::ptr::null_mut());
            if came.swap(false, Ordering::Relaxed) {
                libc::kill(libc::getpid(), *signal);
            }
        }
    }
}

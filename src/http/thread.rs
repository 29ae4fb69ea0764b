//! Threads beside PostgreSQL's main thread. All signals are blocked in them before they begin: a handler of PostgreSQL must
//! never run off the main thread. They are not joined; the process may end at any time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

/// Wakes the main thread.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// Starts a thread with all signals blocked. Threads that it starts itself, such as the resolver's, inherit that.
pub fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    let mut all: libc::sigset_t = unsafe {
        // SAFETY: a signal set is plain memory that sigfillset fills.
        std::mem::zeroed()
    };
    let mut before = all;
    // SAFETY: both sets live until the call returns; the mask of this thread is restored below.
    unsafe {
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
    }
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        step_back();
        work();
    });
    // SAFETY: the set was written by the call above.
    unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
    }
    started.map(|_| ())
}

/// Gives this thread a tenth of the weight of others: what it unpacks is only stored when the main thread, and the rest of
/// the server, get on.
fn step_back() {
    #[cfg(target_os = "linux")]
    // SAFETY: of Linux, where it is about the calling thread alone; that it has no effect elsewhere is no loss.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, 10);
    }
}

/// Does one blocking call on a thread of its own; its value arrives in the channel, and then the main thread is woken. A
/// call that panics closes the channel, and wakes as well.
pub fn off_main<T: Send + 'static>(
    wake: Wake,
    call: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<Receiver<T>> {
    let (sender, receiver) = channel();
    spawn("qbo_raw call", move || {
        if let Ok(value) = catch_unwind(AssertUnwindSafe(call)) {
            // Nobody may be listening any more.
            let _ = sender.send(value);
        }
        drop(sender);
        wake();
    })?;
    Ok(receiver)
}

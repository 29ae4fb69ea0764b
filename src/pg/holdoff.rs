//! Holding a cancel off. PostgreSQL looks for one in many places, at the end of each log line too, and raises an error there.
//! Outside of a statement nobody catches it, and it would end the worker: `latch` takes notice of a cancel instead.

use pgrx::prelude::*;

/// Does `work`; a cancel that comes meanwhile waits. An error inside sets PostgreSQL's counter back by itself.
pub fn uncancelled<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: the counter belongs to the main thread (HOLD_CANCEL_INTERRUPTS).
    unsafe { pg_sys::QueryCancelHoldoffCount += 1 };
    let value = work();
    // SAFETY: as above (RESUME_CANCEL_INTERRUPTS).
    unsafe { pg_sys::QueryCancelHoldoffCount = pg_sys::QueryCancelHoldoffCount.saturating_sub(1) };
    value
}

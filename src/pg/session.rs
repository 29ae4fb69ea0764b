//! The worker's session: signals, settings that must not depend on how a role or database is set up, and what
//! `pg_stat_activity` shows.

use super::holdoff::uncancelled;
use pgrx::bgworkers::{BackgroundWorker, SignalWakeFlags};
use pgrx::prelude::*;
use std::ffi::{CStr, CString};

/// Settings a DBA may have changed for the database or for all roles; the worker must work the same everywhere. Nested
/// loops over the primary key are the right plan for a page against a table of any size; a plan made while the table was
/// small would otherwise be kept.
const PINNED: &[(&CStr, &CStr)] = &[
    (c"search_path", c"pg_catalog, pg_temp"),
    (c"TimeZone", c"UTC"),
    (c"DateStyle", c"ISO, YMD"),
    (c"IntervalStyle", c"postgres"),
    (c"bytea_output", c"hex"),
    (c"standard_conforming_strings", c"on"),
    (c"default_transaction_isolation", c"read committed"),
    (c"statement_timeout", c"0"),
    (c"lock_timeout", c"30s"),
    (c"idle_in_transaction_session_timeout", c"0"),
    #[cfg(any(feature = "pg17", feature = "pg18"))]
    (c"transaction_timeout", c"0"),
    (c"row_security", c"off"),
    (c"check_function_bodies", c"on"),
    (c"enable_hashjoin", c"off"),
    (c"enable_mergejoin", c"off"),
    (c"enable_seqscan", c"off"),
    (c"jit", c"off"),
    // From 16 on it logs parameters: records, and tokens.
    (c"auto_explain.log_min_duration", c"-1"),
];

unsafe extern "C-unwind" {
    /// PostgreSQL's own handler of SIGTERM: the next CHECK_FOR_INTERRUPTS ends the process, in the middle of a statement
    /// or a lock wait as well. (pgrx's handler only sets a flag, its binding of `die` is a wrapper that cannot be one.)
    fn die(signal: i32);
}

/// Installs the signal handlers, connects to the database as superuser and pins the settings.
pub fn open(database: pg_sys::Oid) {
    keep_memory_small();
    handle_signals();
    uncancelled(|| {
        BackgroundWorker::connect_worker_to_spi_by_oid(Some(database), None);
        pin();
    });
}

/// For the launcher: a connection to no database. It has no statement to interrupt, so SIGTERM only sets a flag, and a
/// shutdown of the server leaves no FATAL in the log.
pub fn open_without_database() {
    BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGHUP | SignalWakeFlags::SIGTERM);
    BackgroundWorker::connect_worker_to_spi(None, None);
    pin();
}

/// Answers and pages of several megabytes come and go. By default glibc gives each thread a heap of its own, keeps in them
/// what was freed, and gives large pieces back to the system only to take them again at once.
fn keep_memory_small() {
    #[cfg(target_env = "gnu")]
    // SAFETY: changes how later allocations are served, nothing else.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 16 << 20);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 24 << 20);
    }
}

fn handle_signals() {
    // SAFETY: `die` is an async-signal-safe handler of PostgreSQL, with the type that pqsignal wants.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        pg_sys::pqsignal(libc::SIGTERM, Some(die));
        #[cfg(feature = "pg18")]
        pg_sys::pqsignal_be(libc::SIGTERM, Some(die));
    }
    BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGHUP);
}

fn pin() {
    for (name, value) in PINNED {
        set(name, value);
    }
    // SAFETY: connected, on the main thread; a C string of ours.
    unsafe { pg_sys::pgstat_report_appname(c"qbo_raw".as_ptr()) }
}

fn set(name: &CStr, value: &CStr) {
    // SAFETY: connected, on the main thread; name and value are C strings.
    unsafe {
        pg_sys::SetConfigOption(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_SUSET,
            pg_sys::GucSource::PGC_S_OVERRIDE,
        );
    }
}

/// Waits no longer than this for a lock from now on, a `lock_timeout`.
pub fn wait_at_most(limit: &CStr) {
    set(c"lock_timeout", limit);
}

/// What the worker is doing, for `pg_stat_activity.query`; never with a value of a record or a secret.
pub fn show(text: &str) {
    if let Ok(text) = CString::new(text) {
        // SAFETY: PostgreSQL copies the text.
        unsafe { pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_RUNNING, text.as_ptr()) }
    }
}

/// Whether SIGTERM came; for the launcher.
pub fn is_stopping() -> bool {
    // SAFETY: a flag of type sig_atomic_t that signal handlers write.
    unsafe { (&raw mut pg_sys::ShutdownRequestPending).read_volatile() != 0 }
}

/// Ends the launcher; PostgreSQL starts it again, unless the server stops.
pub fn end() {
    // SAFETY: main thread, outside a transaction; does not come back, which not every binding says.
    unsafe { pg_sys::proc_exit(1) };
}

/// Nothing to do.
pub fn idle() {
    // SAFETY: no text is passed.
    unsafe { pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_IDLE, std::ptr::null()) }
}

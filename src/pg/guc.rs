//! The settings, prefix `qbo_raw.`. None is needed to start. The worker reads them from the configuration file, `ALTER
//! SYSTEM` or `ALTER DATABASE`; a `SET` in a session does not reach it.

use crate::domain::retry::Backoff;
use crate::http::agent::Settings;
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::prelude::*;
use std::ffi::CString;
use std::time::Duration;

static ENABLED: GucSetting<bool> = GucSetting::<bool>::new(true);
static MAX_WORKERS: GucSetting<i32> = GucSetting::<i32>::new(2);
static FETCH_THREADS: GucSetting<i32> = GucSetting::<i32>::new(4);
static MAX_RETRIES: GucSetting<i32> = GucSetting::<i32>::new(5);
static RETRY_DELAY: GucSetting<i32> = GucSetting::<i32>::new(2_000);
static REQUESTS_PER_MINUTE: GucSetting<i32> = GucSetting::<i32>::new(480);
static REQUESTS_PER_SECOND: GucSetting<i32> = GucSetting::<i32>::new(8);
static REQUEST_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(150_000);
static CONNECT_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(10_000);
static MAX_BODY_SIZE: GucSetting<i32> = GucSetting::<i32>::new(64 * 1024);
static CA_FILE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static PROXY: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static API_BASE_URL: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static OAUTH_BASE_URL: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static LOG_LEVEL: GucSetting<LogLevel> = GucSetting::<LogLevel>::new(LogLevel::Debug1);

/// At which level the worker logs windows; the two lines of a run are always at LOG.
#[derive(Clone, Copy, PostgresGucEnum)]
pub enum LogLevel {
    #[name = c"debug2"]
    Debug2,
    #[name = c"debug1"]
    Debug1,
    #[name = c"log"]
    Log,
}

/// Defines all of them; called when the library is loaded.
pub fn define() {
    let none = GucFlags::empty();

    GucRegistry::define_bool_guc(
        c"qbo_raw.enabled",
        c"Whether runs may be queued and worked on in this server.",
        c"Switch it off in a restored copy of production: its worker would renew, and so replace, production's token.",
        &ENABLED,
        GucContext::Suset,
        none,
    );
    int(
        c"qbo_raw.max_workers",
        c"Background workers of qbo_raw in one database, at most.",
        c"Each works on one connection at a time and takes a slot of max_worker_processes.",
        &MAX_WORKERS,
        (1, 64),
        none,
    );
    int(
        c"qbo_raw.fetch_threads",
        c"Requests of a run that are under way at the same time.",
        c"Half as many threads more read what came meanwhile. QuickBooks allows ten requests at once for a company.",
        &FETCH_THREADS,
        (1, 10),
        none,
    );
    int(
        c"qbo_raw.max_retries",
        c"How often a request is repeated after a connection error, 429, 5xx or an answer that is not JSON.",
        c"With five, the waits are 2, 4, 8, 16 and 32 seconds.",
        &MAX_RETRIES,
        (0, 20),
        none,
    );
    int(
        c"qbo_raw.retry_delay",
        c"Wait before the first repetition; it doubles each time.",
        c"A longer Retry-After of QuickBooks is obeyed instead.",
        &RETRY_DELAY,
        (1, 600_000),
        GucFlags::UNIT_MS,
    );
    int(
        c"qbo_raw.requests_per_minute",
        c"Requests a minute for each connection, at most.",
        c"Intuit allows 500; for Intuit's hosts a higher value counts as 500.",
        &REQUESTS_PER_MINUTE,
        (1, 1_000_000),
        none,
    );
    int(
        c"qbo_raw.requests_per_second",
        c"Requests a second for each connection, at most.",
        c"Intuit allows 10; for Intuit's hosts a higher value counts as 10.",
        &REQUESTS_PER_SECOND,
        (1, 100_000),
        none,
    );
    int(
        c"qbo_raw.request_timeout",
        c"How long one request to QuickBooks may take, from connecting to the last byte.",
        c"Intuit ends a request after 120 seconds itself.",
        &REQUEST_TIMEOUT,
        (100, 3_600_000),
        GucFlags::UNIT_MS,
    );
    int(
        c"qbo_raw.connect_timeout",
        c"How long connecting to QuickBooks may take.",
        c"",
        &CONNECT_TIMEOUT,
        (50, 600_000),
        GucFlags::UNIT_MS,
    );
    int(
        c"qbo_raw.max_body_size",
        c"Largest answer that is accepted, after decompression.",
        c"A larger page is asked for in halves.",
        &MAX_BODY_SIZE,
        (64, 1_000_000),
        GucFlags::UNIT_KB,
    );
    text(
        c"qbo_raw.ca_file",
        c"PEM file with certificate authorities to trust beside those of the system.",
        c"For a proxy that inspects TLS, or the simulator.",
        &CA_FILE,
    );
    text(
        c"qbo_raw.proxy",
        c"Proxy for the requests, as a URL; empty means none.",
        c"Proxy variables in the server's environment are ignored.",
        &PROXY,
    );
    text(
        c"qbo_raw.api_base_url",
        c"Replaces the host of the QuickBooks API; empty means Intuit's.",
        c"https, or http for this machine. Access tokens are sent there.",
        &API_BASE_URL,
    );
    text(
        c"qbo_raw.oauth_base_url",
        c"Replaces the host of Intuit's OAuth service; empty means Intuit's.",
        c"https, or http for this machine. The client secret and refresh tokens are sent there.",
        &OAUTH_BASE_URL,
    );
    GucRegistry::define_enum_guc(
        c"qbo_raw.log_level",
        c"Level at which the worker logs each window.",
        c"A run is logged at LOG when it starts and when it ends.",
        &LOG_LEVEL,
        GucContext::Suset,
        none,
    );
    // SAFETY: the prefix is a C string of ours, and all settings with it are defined above.
    unsafe { pg_sys::MarkGUCPrefixReserved(c"qbo_raw".as_ptr()) };
}

fn int(
    name: &'static std::ffi::CStr,
    short: &'static std::ffi::CStr,
    long: &'static std::ffi::CStr,
    setting: &'static GucSetting<i32>,
    (least, most): (i32, i32),
    flags: GucFlags,
) {
    GucRegistry::define_int_guc(name, short, long, setting, least, most, GucContext::Suset, flags);
}

fn text(
    name: &'static std::ffi::CStr,
    short: &'static std::ffi::CStr,
    long: &'static std::ffi::CStr,
    setting: &'static GucSetting<Option<CString>>,
) {
    // Where tokens go, and by which way, is nobody's business but the superuser's.
    let flags = GucFlags::SUPERUSER_ONLY | GucFlags::NOT_WHILE_SEC_REST;
    GucRegistry::define_string_guc(name, short, long, setting, GucContext::Suset, flags);
}

/// Whether runs may be queued and worked on.
pub fn enabled() -> bool {
    ENABLED.get()
}

/// Places for workers.
pub fn max_workers() -> i32 {
    MAX_WORKERS.get()
}

/// Windows in flight.
pub fn fetch_threads() -> usize {
    usize::try_from(FETCH_THREADS.get()).unwrap_or(1)
}

/// The back-off between repetitions.
pub fn backoff() -> Backoff {
    Backoff { retries: u32::try_from(MAX_RETRIES.get()).unwrap_or(0), base: milliseconds(&RETRY_DELAY) }
}

/// Requests a minute and a second, as set.
pub fn pace() -> (u32, u32) {
    (
        u32::try_from(REQUESTS_PER_MINUTE.get()).unwrap_or(1),
        u32::try_from(REQUESTS_PER_SECOND.get()).unwrap_or(1),
    )
}

/// What the HTTP agent is configured with.
pub fn http() -> Settings {
    Settings {
        ca_file: string(&CA_FILE),
        proxy: string(&PROXY),
        connect_timeout: milliseconds(&CONNECT_TIMEOUT),
        request_timeout: milliseconds(&REQUEST_TIMEOUT),
        max_body_size: u64::try_from(MAX_BODY_SIZE.get()).unwrap_or(1) * 1024,
    }
}

/// Replacement of the API's host.
pub fn api_base_url() -> Option<String> {
    string(&API_BASE_URL)
}

/// Replacement of the OAuth service's host.
pub fn oauth_base_url() -> Option<String> {
    string(&OAUTH_BASE_URL)
}

/// Level for the lines about windows.
pub fn log_level() -> PgLogLevel {
    match LOG_LEVEL.get() {
        LogLevel::Debug2 => PgLogLevel::DEBUG2,
        LogLevel::Debug1 => PgLogLevel::DEBUG1,
        LogLevel::Log => PgLogLevel::LOG,
    }
}

fn milliseconds(setting: &GucSetting<i32>) -> Duration {
    Duration::from_millis(u64::try_from(setting.get()).unwrap_or(1))
}

fn string(setting: &GucSetting<Option<CString>>) -> Option<String> {
    setting.get().and_then(|text| text.into_string().ok()).filter(|text| !text.trim().is_empty())
}

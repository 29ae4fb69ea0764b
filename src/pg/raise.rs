//! The one place where an error of ours becomes an error of PostgreSQL, and the other way round.

use super::holdoff::uncancelled;
use crate::error::Error;
use pgrx::PgMemoryContexts;
use pgrx::pg_sys::panic::{CaughtError, ErrorReport};
use pgrx::prelude::*;

/// What a SQL function of ours returns: an `ErrorReport` keeps its SQLSTATE, DETAIL and HINT, any other error type would
/// lose them in pgrx.
pub type Raised<T> = Result<T, ErrorReport>;

impl From<Error> for ErrorReport {
    fn from(error: Error) -> Self {
        let mut report = ErrorReport::new(code_of(error.sqlstate()), error.to_string(), "qbo_raw");
        if let Some(detail) = error.detail() {
            report = report.set_detail(detail);
        }
        if let Some(hint) = error.hint() {
            report = report.set_hint(hint);
        }
        report
    }
}

/// PostgreSQL packs the five characters of an SQLSTATE into six bits each.
fn code_of(sqlstate: &str) -> PgSqlErrorCode {
    let packed = sqlstate
        .bytes()
        .take(5)
        .enumerate()
        .fold(0i32, |packed, (place, byte)| packed | ((i32::from(byte) - 0x30) & 0x3f) << (6 * place));
    PgSqlErrorCode::from(packed)
}

fn sqlstate_of(code: PgSqlErrorCode) -> String {
    let packed = code as i32;
    (0..5).map(|place| char::from((((packed >> (6 * place)) & 0x3f) + 0x30) as u8)).collect()
}

/// What PostgreSQL, or a panic of our own code, said.
pub fn caught(error: CaughtError) -> Error {
    let report = match &error {
        CaughtError::PostgresError(report) | CaughtError::ErrorReport(report) => report,
        CaughtError::RustPanic { ereport, .. } => ereport,
    };
    Error::Database {
        sqlstate: sqlstate_of(report.sql_error_code()),
        message: report.message().to_owned(),
        detail: report.detail().map(str::to_owned),
        hint: report.hint().map(str::to_owned),
    }
}

/// A NOTICE to the caller.
pub fn notice(message: String, hint: Option<&str>) {
    tell(PgLogLevel::NOTICE, PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION, message, hint);
}

/// A WARNING to the caller, or to the log.
pub fn warning(message: String, hint: Option<&str>) {
    tell(PgLogLevel::WARNING, PgSqlErrorCode::ERRCODE_WARNING, message, hint);
}

/// A line for the server log.
pub fn log(level: PgLogLevel, message: String) {
    tell(level, PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION, message, None);
}

fn tell(level: PgLogLevel, code: PgSqlErrorCode, message: String, hint: Option<&str>) {
    let mut report = ErrorReport::new(code, message, "qbo_raw");
    if let Some(hint) = hint {
        report = report.set_hint(hint);
    }
    // pgrx leaves copies of the texts in the memory context, which outside a transaction lasts as long as the process.
    // SAFETY: a context of our own, below the one that is current; nothing that is made in it is used afterwards.
    unsafe {
        let texts = pg_sys::AllocSetContextCreateInternal(
            pg_sys::CurrentMemoryContext,
            c"qbo_raw report".as_ptr(),
            pg_sys::ALLOCSET_SMALL_MINSIZE as usize,
            pg_sys::ALLOCSET_SMALL_INITSIZE as usize,
            pg_sys::ALLOCSET_SMALL_MAXSIZE as usize,
        );
        PgMemoryContexts::For(texts).switch_to(|_| uncancelled(|| report.report(level)));
        pg_sys::MemoryContextDelete(texts);
    }
}

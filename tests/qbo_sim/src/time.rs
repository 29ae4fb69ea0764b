//! Times as QuickBooks writes and reads them: Pacific time with its offset, to the second. Pure.

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeZone, Utc};
use chrono_tz::America::Los_Angeles;

/// `2025-07-01T02:03:04-07:00`, for a count of seconds.
pub fn pacific(seconds: i64) -> String {
    let time = DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    time.with_timezone(&Los_Angeles).format("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// The same with milliseconds, as the envelope of an answer has it.
pub fn envelope(now: DateTime<Utc>) -> String {
    now.with_timezone(&Los_Angeles).format("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string()
}

/// A date as HTTP writes it.
pub fn http_date(now: DateTime<Utc>) -> String {
    now.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// Reads a literal: a date, a time without offset (taken as Pacific), or a time with one. In milliseconds.
pub fn read(literal: &str) -> Option<i64> {
    if let Ok(time) = DateTime::parse_from_rfc3339(literal) {
        return Some(time.timestamp_millis());
    }
    let local = NaiveDateTime::parse_from_str(literal, "%Y-%m-%dT%H:%M:%S%.f")
        .ok()
        .or_else(|| NaiveDate::parse_from_str(literal, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0))?;
    Los_Angeles.from_local_datetime(&local).earliest().map(|time| time.timestamp_millis())
}

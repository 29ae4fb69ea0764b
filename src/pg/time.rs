//! Times and dates between PostgreSQL and chrono. PostgreSQL counts microseconds and days from 2000-01-01.

use chrono::{DateTime, NaiveDate, Utc};
use pgrx::prelude::*;

/// 2000-01-01T00:00:00Z in seconds of the Unix epoch.
const EPOCH: i64 = 946_684_800;
/// 2000-01-01 in days from 0001-01-01, as chrono counts them.
const EPOCH_DAY: i32 = 730_120;

/// For a parameter of type timestamptz.
pub fn to_pg(time: DateTime<Utc>) -> Option<TimestampWithTimeZone> {
    time.timestamp_micros()
        .checked_sub(EPOCH * 1_000_000)
        .and_then(|micros| TimestampWithTimeZone::try_from(micros).ok())
}

/// From a column of type timestamptz; None for infinity and times that chrono does not reach.
pub fn from_pg(time: TimestampWithTimeZone) -> Option<DateTime<Utc>> {
    time.into_inner().checked_add(EPOCH * 1_000_000).and_then(DateTime::from_timestamp_micros)
}

/// From a value of type date; None for infinity and dates that chrono does not reach.
pub fn date_from_pg(date: Date) -> Option<NaiveDate> {
    if !date.is_finite() {
        return None;
    }
    date.to_pg_epoch_days().checked_add(EPOCH_DAY).and_then(NaiveDate::from_num_days_from_ce_opt)
}

/// The moment, by the clock of this machine.
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

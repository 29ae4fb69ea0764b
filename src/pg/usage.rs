//! What a connection spends: requests of the last minute, which its limits count, and of the month, which Intuit meters.

use super::spi;
use super::statement::Statement;
use crate::error::Result;

/// What requests were spent for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A window that was stored.
    Success,
    /// A window that failed.
    Error,
    /// A COUNT(*).
    Count,
    /// A window that was given up: the run was cancelled, put aside, or its worker ended.
    Abandoned,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Outcome::Success => "success",
            Outcome::Error => "error",
            Outcome::Count => "count",
            Outcome::Abandoned => "abandoned",
        }
    }
}

/// Adds requests to the present month, UTC.
pub fn add(connection: &str, entity: &str, outcome: Outcome, requests: i64) -> Result<()> {
    if requests <= 0 {
        return Ok(());
    }
    let statement = Statement::fixed(
        "INSERT INTO raw.qb_usage AS u (connection, month, entity, outcome, requests)
         VALUES ($1, pg_catalog.date_trunc('month', pg_catalog.clock_timestamp() AT TIME ZONE 'UTC')::date, $2, $3, $4)
         ON CONFLICT (connection, month, entity, outcome)
           DO UPDATE SET requests = u.requests OPERATOR(pg_catalog.+) excluded.requests",
    );
    spi::run(&statement, &[connection.into(), entity.into(), outcome.as_str().into(), requests.into()])
        .map(|_| ())
}

/// Requests that the connection may still send this month; a budget that is NULL has no end.
pub fn allowance(connection: &str) -> Result<u64> {
    let statement = Statement::fixed(
        "SELECT c.monthly_budget OPERATOR(pg_catalog.-) coalesce((
                  SELECT pg_catalog.sum(u.requests) FROM raw.qb_usage u
                   WHERE u.connection OPERATOR(pg_catalog.=) c.connection
                     AND u.month OPERATOR(pg_catalog.=)
                         pg_catalog.date_trunc('month', pg_catalog.clock_timestamp() AT TIME ZONE 'UTC')::date), 0::numeric)::bigint
           FROM raw.qb_config c WHERE c.connection OPERATOR(pg_catalog.=) $1",
    );
    let left = spi::read_one(&statement, &[connection.into()], |row| row.get::<i64>(1))?.flatten();
    Ok(left.map_or(u64::MAX, |left| u64::try_from(left).unwrap_or(0)))
}

/// Keeps what was sent in the last minute for whoever works on the connection next.
pub fn keep_pace(connection: &str, sent: &[u32; 60]) -> Result<()> {
    let statement = Statement::fixed(
        "INSERT INTO raw.qb_pace AS p (connection, as_of, sent) VALUES ($1, pg_catalog.clock_timestamp(), $2)
         ON CONFLICT (connection) DO UPDATE SET as_of = excluded.as_of, sent = excluded.sent",
    );
    let sent: Vec<i32> = sent.iter().map(|count| i32::try_from(*count).unwrap_or(i32::MAX)).collect();
    spi::run(&statement, &[connection.into(), sent.into()]).map(|_| ())
}

/// What was sent on the connection in the last minute, newest second first.
pub fn last_pace(connection: &str) -> Result<[u32; 60]> {
    let statement = Statement::fixed(
        "SELECT pg_catalog.floor(extract(epoch FROM pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) p.as_of))::int, p.sent
           FROM raw.qb_pace p
          WHERE p.connection OPERATOR(pg_catalog.=) $1
            AND p.as_of OPERATOR(pg_catalog.>) (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) '1 minute'::interval)",
    );
    let mut recent = [0; 60];
    if let Some((age, sent)) = spi::read_one(&statement, &[connection.into()], |row| {
        Ok((row.need::<i32>(1)?, row.need::<Vec<i32>>(2)?))
    })? {
        let age = usize::try_from(age).unwrap_or(0);
        for (slot, count) in recent.iter_mut().skip(age).zip(sent) {
            *slot = u32::try_from(count).unwrap_or(0);
        }
    }
    Ok(recent)
}

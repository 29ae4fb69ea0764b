//! `raw.qb_backfill`: queues a run.

use super::resume::configured;
use super::{allowed_page_size, checked_page_size, joined, need, queued};
use crate::domain::entity::Entity;
use crate::domain::window::{EARLIEST, Range, WindowOn};
use crate::error::{Error, Result};
use crate::pg::queue::{self, Asked};
use crate::pg::raise::Raised;
use crate::pg::{launch, time};
use chrono::{NaiveDate, TimeDelta};
use pgrx::prelude::*;

#[allow(clippy::too_many_arguments)]
#[pg_extern(sql = false)]
fn qb_backfill(
    entity: Option<&str>,
    start_date: Option<Date>,
    end_date: Option<Date>,
    chunk_days: Option<i32>,
    page_size: Option<i32>,
    window_on: Option<&str>,
    execution_date: Option<TimestampWithTimeZone>,
    connection: Option<&str>,
) -> Raised<i64> {
    let entity = Entity::find(need(entity, "entity")?)?;
    let start_date = need(start_date, "start_date")?;
    let end_date = need(end_date, "end_date")?;
    let chunk_days = need(chunk_days, "chunk_days")?;
    let page_size = checked_page_size(need(page_size, "page_size")?)?;
    let window_on = WindowOn::parse(need(window_on, "window_on")?)?;
    let connection = need(connection, "connection")?;
    let range = Range::new(
        day(start_date, "start_date")?,
        day(end_date, "end_date")?,
        chunk_days,
        time::now().date_naive(),
    )?;
    if let Some(at) = execution_date.filter(|at| !is_likely(*at)) {
        return Err(Error::Argument {
            argument: "execution_date",
            value: shown(at.is_infinity(), at.is_neg_infinity(), || at.to_string()),
            expected: format!("a finite time from {EARLIEST} to two days from now"),
        }
        .into());
    }

    launch::need_writable()?;
    let known = configured(connection)?;
    let asked = Asked {
        entity,
        start_date,
        end_date,
        chunk_days,
        page_size: allowed_page_size(page_size, connection, &known),
        window_on,
        execution_date,
        connection,
        windows: range.len(),
    };
    let run = queue::range(&asked)?;
    let id = run.id;
    match run.joined {
        None => queued(id, entity.name, range.len(), ""),
        Some(same) => joined(id, if same { "" } else { ", with another execution_date" }),
    }
    launch::at_commit(known.id);
    point!("call@queued");
    Ok(id)
}

/// Each row gets it: a typing mistake in the year is found as it is in a day.
fn is_likely(execution_date: TimestampWithTimeZone) -> bool {
    let latest = time::now() + TimeDelta::days(2);
    time::from_pg(execution_date).is_some_and(|at| at.date_naive() >= EARLIEST && at <= latest)
}

/// Infinity has no digits.
fn shown(future: bool, past: bool, finite: impl FnOnce() -> String) -> String {
    match (future, past) {
        (true, _) => "infinity".to_owned(),
        (_, true) => "-infinity".to_owned(),
        _ => finite(),
    }
}

/// A day that exists; infinity and days beyond any calendar of QuickBooks do not.
pub fn day(date: Date, argument: &'static str) -> Result<NaiveDate> {
    time::date_from_pg(date).ok_or_else(|| Error::Argument {
        argument,
        value: shown(date.is_infinity(), date.is_neg_infinity(), || date.to_string()),
        expected: "a day from 1990-01-01 on".to_owned(),
    })
}

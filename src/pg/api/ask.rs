//! What a session asks QuickBooks through an errand: counts of windows, and whether a connection works.

use super::backfill::day;
use super::need;
use crate::domain::entity::Entity;
use crate::domain::window::{Range, Window, WindowOn};
use crate::error::{Error, Result};
use crate::pg::count::{Counts, Question};
use crate::pg::errand::{self, Reply, Request};
use crate::pg::probe::Findings;
use crate::pg::raise::Raised;
use crate::pg::{launch, time};
use pgrx::prelude::*;

/// Windows that are counted in one call, at most: each costs a request.
const MOST_WINDOWS: usize = 10_000;

#[allow(clippy::type_complexity)]
#[pg_extern(sql = false)]
fn qb_count(
    entity: Option<&str>,
    start_date: Option<Date>,
    end_date: Option<Date>,
    chunk_days: Option<i32>,
    window_on: Option<&str>,
    connection: Option<&str>,
    stored: Option<bool>,
) -> Raised<
    TableIterator<
        'static,
        (
            name!(window_start, Option<TimestampWithTimeZone>),
            name!(window_end, Option<TimestampWithTimeZone>),
            name!(in_quickbooks, i64),
            name!(in_table, i64),
        ),
    >,
> {
    let entity = Entity::find(need(entity, "entity")?)?;
    let range = Range::new(
        day(need(start_date, "start_date")?, "start_date")?,
        day(need(end_date, "end_date")?, "end_date")?,
        need(chunk_days, "chunk_days")?,
        time::now().date_naive(),
    )?;
    let window_on = WindowOn::parse(need(window_on, "window_on")?)?;
    let connection = need(connection, "connection")?;
    launch::need_writable()?;
    let windows: Vec<Window> = range.windows().collect();
    if windows.len() > MOST_WINDOWS {
        return Err(Error::TooManyWindows { count: windows.len() as u64, limit: MOST_WINDOWS as u64 }.into());
    }
    let question = Question {
        connection: connection.to_owned(),
        entity: entity.name.to_owned(),
        window_on: window_on.as_str().to_owned(),
        windows: windows.iter().map(|window| (window.start.timestamp(), window.end.timestamp())).collect(),
        stored: need(stored, "stored")?,
    };
    let counts = counts(&question)?;
    Ok(TableIterator::new(windows.into_iter().zip(counts).map(|(window, counts)| {
        (time::to_pg(window.start), time::to_pg(window.end), counts.source, counts.stored)
    })))
}

fn counts(question: &Question) -> Result<Vec<Counts>> {
    // The request owns its question; what is asked is small.
    let request = Request::Count(question.clone());
    match errand::ask(errand::here(), &request, None)? {
        Reply::Counts(counts) => Ok(counts),
        _ => Err(Error::NoAnswer),
    }
}

#[allow(clippy::type_complexity)]
#[pg_extern(sql = false)]
fn qb_probe(
    connection: Option<&str>,
) -> Raised<
    TableIterator<
        'static,
        (name!(subject, String), name!(works, bool), name!(found, String), name!(hint, Option<String>)),
    >,
> {
    let connection = need(connection, "connection")?.to_owned();
    launch::need_writable()?;
    let findings = match errand::ask(errand::here(), &Request::Probe { connection }, None)? {
        Reply::Probed(findings) => findings,
        _ => return Err(Error::NoAnswer.into()),
    };
    Ok(TableIterator::new(rows(findings)))
}

/// A token is believed to be expired early or late when clocks differ by minutes.
const CLOCK: i64 = 60;

fn rows(findings: Findings) -> Vec<(String, bool, String, Option<String>)> {
    let clock = findings.clock_ahead.map(|ahead| {
        let hint = (ahead.abs() > CLOCK)
            .then(|| "Set the clock of the database server; let it follow NTP.".to_owned());
        ("clock".to_owned(), hint.is_none(), format!("{ahead} s ahead of QuickBooks"), hint)
    });
    let finding = |subject: &str, finding: Option<crate::pg::probe::Finding>| {
        finding.map(|finding| (subject.to_owned(), finding.works, finding.found, finding.hint))
    };
    [finding("token", findings.token), finding("query", findings.query), clock]
        .into_iter()
        .flatten()
        .collect()
}

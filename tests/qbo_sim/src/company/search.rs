//! Finds the rows of a statement: through an index where time is all that is asked, else by looking at every
//! record. Pure.

use super::filter::{self, Filter, Time};
use super::index::IdOrder;
use super::table::{Row, Table};
use crate::entity::{Entity, Kind};
use crate::query::{Order, Refusal, Select, Statement};
use crate::record::Version;
use serde_json::Value;
use std::cmp::Ordering;

/// The rows that were found.
pub struct Found {
    pub entity: &'static Entity,
    /// How many fit, on whatever page.
    pub total: usize,
    pub rows: Vec<Row>,
}

/// Runs a statement on the records of its entity.
pub fn run(
    entity: &'static Entity,
    table: &Table,
    statement: &Statement,
    request: u64,
) -> Result<Found, Refusal> {
    let filter = Filter::new(entity, &statement.conditions)?;
    for order in &statement.order {
        filter::check(entity, &order.property)?;
    }
    if let Select::Properties(properties) = &statement.select {
        for property in properties {
            filter::check(entity, property)?;
        }
    }
    let order = if statement.order.is_empty() { default_order(entity) } else { statement.order.clone() };
    let (skip, take) =
        if statement.select == Select::Count { (0, 0) } else { (statement.start - 1, statement.max) };
    let (total, numbers) = match by_time(&order) {
        Some((time, descending, by_id)) if filter.is_only(time) => {
            let index = if time == Time::Updated { &table.updated } else { &table.created };
            let (from, until) = filter.bounds(time);
            let found = index.range(from, until);
            (found.len(), page(found, skip, take, descending, by_id, request))
        }
        Some((time, descending, by_id)) if filter.needs_versions_only() => {
            let index = if time == Time::Updated { &table.updated } else { &table.created };
            let (from, until) = filter.bounds(time);
            let fits =
                |(_, number): &(i64, u64)| table.version(*number).is_some_and(|version| filter.fits(version));
            let found: Vec<(i64, u64)> = index.range(from, until).iter().copied().filter(fits).collect();
            (found.len(), page(&found, skip, take, descending, by_id, request))
        }
        _ => {
            let numbers = slowly(table, &filter, &order, request);
            (numbers.len(), numbers.into_iter().skip(skip).take(take).collect())
        }
    };
    Ok(Found { entity, total, rows: numbers.into_iter().filter_map(|number| table.row(number)).collect() })
}

/// Without ORDERBY transactions were seen by last change, newest first, and lists by name.
fn default_order(entity: &Entity) -> Vec<Order> {
    let order = |property: &str, descending| vec![Order { property: property.to_owned(), descending }];
    match entity.kind {
        Kind::Transaction => order("MetaData.LastUpdatedTime", true),
        _ => order(entity.name_property(), false),
    }
}

/// Whether an order is that of an index: its time, whether it goes backwards, and whether Id decides between equal times.
fn by_time(order: &[Order]) -> Option<(Time, bool, bool)> {
    let first = order.first()?;
    let time = Time::of(&first.property)?;
    match order.get(1) {
        None => Some((time, first.descending, false)),
        Some(id) if id.property.eq_ignore_ascii_case("Id") && id.descending == first.descending => {
            Some((time, first.descending, true))
        }
        Some(_) => None,
    }
}

/// A page out of what an index gives.
fn page(
    found: &[(i64, u64)],
    skip: usize,
    take: usize,
    descending: bool,
    by_id: bool,
    request: u64,
) -> Vec<u64> {
    let at = |place: usize| if descending { found.len() - 1 - place } else { place };
    let end = (skip + take).min(found.len());
    if skip >= end {
        return Vec::new();
    }
    let get = |place: usize| found.get(at(place)).copied().unwrap_or_default();
    if by_id {
        return (skip..end).map(|place| get(place).1).collect();
    }
    // Rows of one second have no order of their own: it differs from one request to the next.
    let mut first = skip;
    while first > 0 && get(first - 1).0 == get(skip).0 {
        first -= 1;
    }
    let mut last = end;
    while last < found.len() && get(last).0 == get(end - 1).0 {
        last += 1;
    }
    let mut rows: Vec<(i64, u64)> = (first..last).map(get).collect();
    rows.sort_by_key(|(time, number)| (if descending { -time } else { *time }, scrambled(*number, request)));
    rows.into_iter().skip(skip - first).take(end - skip).map(|(_, number)| number).collect()
}

fn scrambled(number: u64, request: u64) -> u64 {
    (number ^ request.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9).rotate_left(29)
}

/// A key to sort by.
enum Key {
    Time(i64),
    Id(IdOrder),
    Text(String),
}

/// Any condition and any order. Records are rendered only where a condition or a key needs it.
fn slowly(table: &Table, filter: &Filter, order: &[Order], request: u64) -> Vec<u64> {
    let (from, until) = filter.bounds(Time::Updated);
    let window = || table.updated.range(from, until).iter().map(|(_, number)| *number);
    let candidates: Vec<u64> = filter.numbers.clone().unwrap_or_else(|| window().collect());
    let in_json =
        |order: &Order| Time::of(&order.property).is_none() && !order.property.eq_ignore_ascii_case("Id");
    let needs_json = !filter.others.is_empty() || order.iter().any(in_json);
    let mut found: Vec<(Vec<Key>, u64)> = Vec::new();
    for number in candidates {
        let Some(row) = table.row(number).filter(|row| filter.fits(&row.version)) else { continue };
        let json =
            if needs_json { serde_json::from_str(&row.json()).unwrap_or(Value::Null) } else { Value::Null };
        if filter.fits_json(&json) {
            found.push((order.iter().map(|key| key_of(key, &row.version, &json, table)).collect(), number));
        }
    }
    found.sort_by(|(a, a_number), (b, b_number)| {
        for ((a, b), order) in a.iter().zip(b).zip(order) {
            let by = match (a, b) {
                (Key::Time(a), Key::Time(b)) => a.cmp(b),
                (Key::Id(ids), _) => ids.compare(*a_number, *b_number),
                (Key::Text(a), Key::Text(b)) => filter::compare(a, b),
                _ => Ordering::Equal,
            };
            let by = if order.descending { by.reverse() } else { by };
            if by != Ordering::Equal {
                return by;
            }
        }
        scrambled(*a_number, request).cmp(&scrambled(*b_number, request))
    });
    found.into_iter().map(|(_, number)| number).collect()
}

fn key_of(order: &Order, version: &Version, json: &Value, table: &Table) -> Key {
    match Time::of(&order.property) {
        Some(time) => Key::Time(time.at(version)),
        None if order.property.eq_ignore_ascii_case("Id") => Key::Id(table.updated.id_order()),
        None => Key::Text(filter::text(json, &order.property)),
    }
}

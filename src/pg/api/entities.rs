//! The catalogue of entities for SQL, and reading a time as QuickBooks writes it.

use super::need;
use crate::domain::entity::{Entity, Kind, catalogue};
use crate::pg::raise::Raised;
use crate::pg::time;
use chrono::{DateTime, Utc};
use pgrx::prelude::*;

#[allow(clippy::type_complexity)]
#[pg_extern(sql = false)]
fn qb_catalogue() -> TableIterator<
    'static,
    (
        name!(entity, String),
        name!(qbo_name, String),
        name!(kind, String),
        name!(inactive_too, bool),
        name!(table_name, String),
        name!(report_table, String),
    ),
> {
    TableIterator::new(catalogue().iter().map(|entity| {
        let kind = match entity.kind {
            Kind::List => "list",
            Kind::Transaction => "transaction",
        };
        (
            entity.name.to_owned(),
            entity.qbo.to_owned(),
            kind.to_owned(),
            entity.active_filter,
            ["qb_", entity.name].concat(),
            ["backfill_report_", entity.name].concat(),
        )
    }))
}

/// RFC 3339 with an offset, which is how all recorded times of QuickBooks look; anything else is NULL, never an error.
#[pg_extern(sql = false)]
fn qb_instant(value: &str) -> Option<TimestampWithTimeZone> {
    DateTime::parse_from_rfc3339(value).ok().and_then(|at| time::to_pg(at.with_timezone(&Utc)))
}

/// The name of an entity, from what a person types. Error: `UnknownEntity`.
#[pg_extern(sql = false)]
fn qb_entity(name: Option<&str>) -> Raised<String> {
    Ok(Entity::find(need(name, "entity")?)?.name.to_owned())
}

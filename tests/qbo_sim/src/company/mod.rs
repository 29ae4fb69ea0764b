//! One company: which records there are, in which versions, and what a query finds. Pure.

mod filter;
mod index;
mod search;
mod table;

pub use index::IdOrder;
pub use search::Found;
pub use table::Row;

use crate::entity::{ENTITIES, Entity};
use crate::query::{Refusal, Statement, invalid};
use table::Table;

/// The company.
pub struct Company {
    seed: u64,
    /// In the order of the catalogue.
    tables: Vec<Table>,
}

impl Company {
    /// A company with so many records of each entity, whose last changes lie in the span, in seconds.
    pub fn new(seed: u64, counts: &[(String, u64)], span: (i64, i64), order: IdOrder) -> Self {
        let count = |entity: &Entity| {
            counts
                .iter()
                .rev()
                .find(|(name, _)| name.eq_ignore_ascii_case(entity.name))
                .map_or(0, |(_, count)| *count)
        };
        let tables =
            ENTITIES.iter().map(|entity| Table::new(seed, entity, count(entity), span, order)).collect();
        Company { seed, tables }
    }

    /// The seed it was made from.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// An entity and its records, by name.
    pub fn table(&self, name: &str) -> Option<(&'static Entity, &Table)> {
        ENTITIES.iter().zip(&self.tables).find(|(entity, _)| entity.name.eq_ignore_ascii_case(name))
    }

    /// The same, to change them.
    pub fn table_mut(&mut self, name: &str) -> Option<(&'static Entity, &mut Table)> {
        ENTITIES.iter().zip(&mut self.tables).find(|(entity, _)| entity.name.eq_ignore_ascii_case(name))
    }

    /// How many records of an entity there are, inactive ones included.
    pub fn count(&self, name: &str) -> usize {
        self.table(name).map_or(0, |(_, table)| table.len())
    }

    /// Numbers of an entity's records in the order of their last change.
    pub fn numbers(&self, name: &str) -> Vec<u64> {
        let all = |table: &Table| {
            table.updated.range(i64::MIN, i64::MAX).iter().map(|(_, number)| *number).collect()
        };
        self.table(name).map_or(Vec::new(), |(_, table)| all(table))
    }

    /// A record as it is now, by its id.
    pub fn row(&self, name: &str, id: &str) -> Option<Row> {
        let (entity, table) = self.table(name)?;
        table.row(entity.number(id)?)
    }

    /// Changes the version of a record, by its id; false when there is none.
    pub fn alter(
        &mut self,
        name: &str,
        id: &str,
        request: u64,
        change: impl FnOnce(&mut crate::record::Version),
    ) -> bool {
        let Some((entity, table)) = self.table_mut(name) else { return false };
        entity.number(id).is_some_and(|number| table.alter(number, request, change))
    }

    /// Runs a statement. `request` only decides how rows come that the statement leaves unordered.
    pub fn query(&self, statement: &Statement, request: u64) -> Result<Found, Refusal> {
        match self.table(&statement.entity) {
            Some((entity, table)) => search::run(entity, table, statement, request),
            None if Entity::is_known_only(&statement.entity) => {
                Err(invalid(format_args!("Metadata not found for Entity: {}", statement.entity)))
            }
            None => Err(invalid(format_args!("invalid context declaration: {}", statement.entity))),
        }
    }
}

//! One company: which records there are, in which version, and what a query finds. Records are rendered when they are asked
//! for; only their numbers and times are held, and what was changed.

use crate::entity;
use crate::filter::{Filter, compare, text};
use crate::query::{Refusal, Statement, invalid};
use crate::record::{self, Dice, Version};
use serde_json::Value;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A version of a record that was replaced, and the API request before which that happened.
#[derive(Debug, Clone)]
pub struct Replaced {
    pub entity: String,
    pub id: u64,
    pub before_request: u64,
    pub json: String,
}

/// The company.
pub struct Company {
    seed: u64,
    tables: BTreeMap<&'static str, Table>,
    history: Vec<Replaced>,
}

#[derive(Default)]
struct Table {
    versions: HashMap<u64, Version>,
    by_updated: BTreeSet<(i64, u64)>,
    by_created: BTreeSet<(i64, u64)>,
    patches: HashMap<u64, String>,
    next: u64,
}

/// The rows a query found.
pub struct Found {
    pub entity: &'static str,
    pub total: usize,
    pub rows: Vec<String>,
}

impl Company {
    /// A company with so many records of each entity, whose times lie in the span, in seconds.
    pub fn new(seed: u64, counts: &[(String, u64)], span: (i64, i64)) -> Self {
        let mut company = Company { seed, tables: BTreeMap::new(), history: Vec::new() };
        for (name, count) in counts {
            if let Some(entity) = entity::find(name) {
                let table = company.tables.entry(entity).or_default();
                for id in 1..=*count {
                    table.put(id, first_version(seed, entity, id, span));
                }
                table.next = count + 1;
            }
        }
        company
    }

    /// How many records of an entity there are, inactive ones included.
    pub fn count(&self, name: &str) -> usize {
        self.table(name).map_or(0, |(_, table)| table.versions.len())
    }

    /// Ids of an entity in the order of their last change.
    pub fn ids(&self, name: &str) -> Vec<u64> {
        self.table(name).map_or(Vec::new(), |(_, table)| table.by_updated.iter().map(|(_, id)| *id).collect())
    }

    /// A record as it is now.
    pub fn json(&self, name: &str, id: u64) -> Option<String> {
        let (entity, table) = self.table(name)?;
        Some(table.json(self.seed, entity, id, table.versions.get(&id)?))
    }

    /// Versions that were replaced, oldest first.
    pub fn history(&self) -> &[Replaced] {
        &self.history
    }

    fn table(&self, name: &str) -> Option<(&'static str, &Table)> {
        let entity = entity::find(name)?;
        Some((entity, self.tables.get(entity)?))
    }

    /// Changes a record at a moment, in seconds: a new version with the next SyncToken.
    pub fn update(&mut self, name: &str, id: u64, now: i64, request: u64) -> bool {
        self.alter(name, id, request, |version| {
            version.number += 1;
            version.updated = now;
        })
    }

    /// Makes a list record inactive.
    pub fn deactivate(&mut self, name: &str, id: u64, now: i64, request: u64) -> bool {
        self.alter(name, id, request, |version| {
            version.number += 1;
            version.updated = now;
            version.active = false;
        })
    }

    /// Sets the time of a record's last change, as it would be had the change happened then.
    pub fn set_updated(&mut self, name: &str, id: u64, updated: i64) -> bool {
        self.alter(name, id, 0, |version| version.updated = updated)
    }

    fn alter(&mut self, name: &str, id: u64, request: u64, change: impl FnOnce(&mut Version)) -> bool {
        let Some(json) = self.json(name, id) else { return false };
        let Some(entity) = entity::find(name) else { return false };
        let Some(table) = self.tables.get_mut(entity) else { return false };
        let Some(mut version) = table.take(id) else { return false };
        change(&mut version);
        table.put(id, version);
        self.history.push(Replaced { entity: entity.to_owned(), id, before_request: request, json });
        true
    }

    /// Deletes a record.
    pub fn delete(&mut self, name: &str, id: u64, request: u64) -> bool {
        let Some(json) = self.json(name, id) else { return false };
        let Some(entity) = entity::find(name) else { return false };
        let gone = self.tables.get_mut(entity).and_then(|table| table.take(id)).is_some();
        self.history.push(Replaced { entity: entity.to_owned(), id, before_request: request, json });
        gone
    }

    /// Adds a record at a moment; its id.
    pub fn insert(&mut self, name: &str, now: i64) -> Option<u64> {
        let table = self.tables.entry(entity::find(name)?).or_default();
        let id = table.next.max(1);
        table.next = id + 1;
        table.put(id, Version { number: 0, created: now, updated: now, active: true });
        Some(id)
    }

    /// From now on this exact text is served for the record.
    pub fn patch(&mut self, name: &str, id: u64, json: String) {
        if let Some(table) = entity::find(name).and_then(|entity| self.tables.get_mut(entity)) {
            table.patches.insert(id, json);
        }
    }

    /// Runs a statement.
    pub fn query(&self, statement: &Statement) -> Result<Found, Refusal> {
        let entity = entity::find(&statement.entity)
            .ok_or_else(|| invalid(format!("invalid context declaration: {}", statement.entity)))?;
        let empty = Table::default();
        let table = self.tables.get(entity).unwrap_or(&empty);
        let filter = Filter::new(entity, &statement.conditions)?;
        let ids = match filter.fast(&statement.order) {
            Some((by_updated, descending)) => {
                let index = if by_updated { &table.by_updated } else { &table.by_created };
                let window = index.range((filter.from, 0)..(filter.until.max(filter.from), 0));
                let fits =
                    |id: &u64| table.versions.get(id).is_some_and(|version| filter.fits_version(version));
                let ids = window.map(|(_, id)| *id).filter(fits);
                if descending { ids.rev().collect::<Vec<_>>() } else { ids.collect() }
            }
            None => self.slowly(entity, table, &filter, statement)?,
        };
        let total = ids.len();
        let page = if statement.count { &[] } else { ids.get(statement.start - 1..).unwrap_or_default() };
        let rows = page
            .iter()
            .take(statement.max)
            .filter_map(|id| Some(table.json(self.seed, entity, *id, table.versions.get(id)?)));
        Ok(Found { entity, total, rows: rows.collect() })
    }

    /// Any condition and any order: every record is rendered and looked at.
    fn slowly(
        &self,
        entity: &str,
        table: &Table,
        filter: &Filter,
        statement: &Statement,
    ) -> Result<Vec<u64>, Refusal> {
        let mut found: Vec<(u64, Value)> = Vec::new();
        for (id, version) in &table.versions {
            let json = table.json(self.seed, entity, *id, version);
            let value: Value = serde_json::from_str(&json).unwrap_or(Value::Null);
            if filter.fits(&value, version) {
                found.push((*id, value));
            }
        }
        let order = if statement.order.is_empty() { default_order(entity) } else { statement.order.clone() };
        found.sort_by(|(a_id, a), (b_id, b)| {
            for (property, descending) in &order {
                let by = compare(&text(a, property), &text(b, property));
                let by = if *descending { by.reverse() } else { by };
                if by != Ordering::Equal {
                    return by;
                }
            }
            a_id.cmp(b_id)
        });
        Ok(found.into_iter().map(|(id, _)| id).collect())
    }
}

impl Table {
    fn put(&mut self, id: u64, version: Version) {
        self.by_updated.insert((version.updated, id));
        self.by_created.insert((version.created, id));
        self.versions.insert(id, version);
    }

    fn take(&mut self, id: u64) -> Option<Version> {
        let version = self.versions.remove(&id)?;
        self.by_updated.remove(&(version.updated, id));
        self.by_created.remove(&(version.created, id));
        Some(version)
    }

    fn json(&self, seed: u64, entity: &str, id: u64, version: &Version) -> String {
        match self.patches.get(&id) {
            Some(json) => json.clone(),
            None => record::render(seed, entity, id, version),
        }
    }
}

/// Times in whole seconds; one record in eight shares its second with its predecessor.
fn first_version(seed: u64, entity: &str, id: u64, (from, to): (i64, i64)) -> Version {
    let place =
        |id: u64| from + (Dice::new(seed, entity, id ^ 0x5157).roll() % (to - from).max(1) as u64) as i64;
    let mut dice = Dice::new(seed, entity, id ^ 0xa11c);
    let updated = if id > 1 && dice.below(8) == 0 { place(id - 1) } else { place(id) };
    let created = updated - (dice.below(3) * dice.below(86_400 * 3)) as i64;
    let active = !entity::has_active(entity) || dice.below(10) > 0;
    Version { number: 0, created: created.max(from), updated, active }
}

/// Without ORDERBY transactions were seen by last change, newest first, and lists by name.
fn default_order(entity: &str) -> Vec<(String, bool)> {
    match entity {
        "Customer" | "Vendor" | "Employee" => vec![("DisplayName".to_owned(), false)],
        _ if entity::is_list(entity) => vec![("Name".to_owned(), false)],
        _ => vec![("MetaData.LastUpdatedTime".to_owned(), true)],
    }
}

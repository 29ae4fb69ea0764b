//! The records of one entity: their versions now and before, by number and by time. A record's JSON is made when it
//! is asked for; only numbers and times are held, and what was changed. Pure.

use super::index::{IdOrder, Index};
use crate::entity::Entity;
use crate::record::{self, Version};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A record as it was at a moment, ready to be rendered without the company.
#[derive(Debug, Clone)]
pub struct Row {
    pub seed: u64,
    pub entity: &'static Entity,
    pub number: u64,
    pub version: Version,
    /// This exact text is served instead.
    pub patch: Option<Arc<str>>,
}

impl Row {
    /// The text that is served.
    pub fn json(&self) -> String {
        match &self.patch {
            Some(text) => text.to_string(),
            None => record::render(self.seed, self.entity, self.number, &self.version),
        }
    }

    /// Its id.
    pub fn id(&self) -> String {
        self.entity.id(self.number)
    }
}

/// A state that a record had, and the API request from which on it had it no more. None: it did not exist.
struct Past {
    until: u64,
    row: Option<Row>,
}

/// The records of one entity.
pub struct Table {
    seed: u64,
    entity: &'static Entity,
    /// By number, from 1.
    versions: Vec<Option<Version>>,
    alive: usize,
    pub updated: Index,
    pub created: Index,
    patches: HashMap<u64, Arc<str>>,
    past: HashMap<u64, Vec<Past>>,
    /// When records were deleted, in seconds.
    pub deleted: Vec<(i64, u64)>,
}

impl Table {
    /// With the first so many records of the entity.
    pub fn new(seed: u64, entity: &'static Entity, count: u64, span: (i64, i64), order: IdOrder) -> Self {
        let versions: Vec<Version> =
            (1..=count).map(|number| record::first_version(seed, entity, number, span)).collect();
        let by = |time: fn(&Version) -> i64| {
            Index::new(
                order,
                versions.iter().zip(1..).map(|(version, number)| (time(version), number)).collect(),
            )
        };
        Table {
            seed,
            entity,
            alive: versions.len(),
            updated: by(|version| version.updated),
            created: by(|version| version.created),
            versions: versions.into_iter().map(Some).collect(),
            patches: HashMap::new(),
            past: HashMap::new(),
            deleted: Vec::new(),
        }
    }

    /// How many there are, inactive ones included.
    pub fn len(&self) -> usize {
        self.alive
    }

    /// The version of a record now.
    pub fn version(&self, number: u64) -> Option<&Version> {
        self.versions.get(usize::try_from(number).ok()?.checked_sub(1)?)?.as_ref()
    }

    /// A record as it is now.
    pub fn row(&self, number: u64) -> Option<Row> {
        let version = *self.version(number)?;
        let patch = self.patches.get(&number).cloned();
        Some(Row { seed: self.seed, entity: self.entity, number, version, patch })
    }

    /// Changes a record; `request` is the first API request that can see it.
    pub fn alter(&mut self, number: u64, request: u64, change: impl FnOnce(&mut Version)) -> bool {
        let Some(row) = self.row(number) else { return false };
        let mut version = row.version;
        change(&mut version);
        if version.updated != row.version.updated {
            self.updated.remove((row.version.updated, number));
            self.updated.insert((version.updated, number));
        }
        self.set(number, Some(version));
        self.remember(number, request, Some(row));
        true
    }

    /// Changes many at once, which is quicker than one by one.
    pub fn alter_all(&mut self, numbers: &[u64], request: u64, change: impl Fn(&mut Version)) {
        let mut come = Vec::with_capacity(numbers.len());
        for number in numbers {
            let Some(row) = self.row(*number) else { continue };
            let mut version = row.version;
            change(&mut version);
            come.push((version.updated, *number));
            self.set(*number, Some(version));
            self.remember(*number, request, Some(row));
        }
        self.updated.moved(&numbers.iter().copied().collect::<HashSet<u64>>(), &come);
    }

    /// Takes a record out for good.
    pub fn delete(&mut self, number: u64, now: i64, request: u64) -> bool {
        let Some(row) = self.row(number) else { return false };
        self.updated.remove((row.version.updated, number));
        self.created.remove((row.version.created, number));
        self.set(number, None);
        self.patches.remove(&number);
        self.alive -= 1;
        self.deleted.push((now, number));
        self.remember(number, request, Some(row));
        true
    }

    /// Adds a record; its number.
    pub fn insert(&mut self, now: i64, request: u64) -> u64 {
        self.versions.push(Some(Version { created: now, updated: now, number: 0, active: true }));
        let number = self.versions.len() as u64;
        self.updated.insert((now, number));
        self.created.insert((now, number));
        self.alive += 1;
        self.remember(number, request, None);
        number
    }

    /// From now on this exact text is served for a record.
    pub fn patch(&mut self, number: u64, text: &str, request: u64) -> bool {
        let Some(row) = self.row(number) else { return false };
        self.patches.insert(number, text.into());
        self.remember(number, request, Some(row));
        true
    }

    /// The states of a record: the API request from which each was current (0 = from the start), and what it was. None: it
    /// did not exist.
    pub fn history(&self, number: u64) -> Vec<(u64, Option<Row>)> {
        let mut states = Vec::new();
        let mut from = 0;
        for past in self.past.get(&number).into_iter().flatten() {
            states.push((from, past.row.clone()));
            from = past.until;
        }
        let now = self.row(number);
        if now.is_some() || !states.is_empty() {
            states.push((from, now));
        }
        states
    }

    /// Numbers of records that were changed, added or deleted.
    pub fn touched(&self) -> Vec<u64> {
        let mut numbers: Vec<u64> = self.past.keys().copied().collect();
        numbers.sort_unstable();
        numbers
    }

    fn set(&mut self, number: u64, version: Option<Version>) {
        let place = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        if let Some(slot) = place.and_then(|place| self.versions.get_mut(place)) {
            *slot = version;
        }
    }

    fn remember(&mut self, number: u64, until: u64, row: Option<Row>) {
        self.past.entry(number).or_default().push(Past { until, row });
    }
}

//! A company that changes while it is read.

use chrono::{DateTime, Utc};
use fastrand::Rng;
use qbo_raw::domain::query::{Query, Slice};
use qbo_raw::domain::window::WindowOn;

/// A record as QuickBooks has it now.
#[derive(Debug, Clone)]
pub struct Record {
    pub id: u32,
    pub version: u32,
    pub created: i64,
    pub updated: i64,
    /// When it came to be as it is, on the simulation's clock.
    pub since: i64,
    /// QuickBooks cannot deliver it: every page that holds it fails.
    pub poisoned: bool,
}

/// All of them.
pub struct Company {
    pub records: Vec<Record>,
    next: u32,
}

impl Company {
    /// Up to sixty records between two moments, in seconds; several may share a second.
    pub fn new(rng: &mut Rng, from: i64, now: i64) -> Self {
        let count = rng.u32(0..60);
        let moment = |rng: &mut Rng| {
            let at = rng.i64(from..now);
            if rng.bool() { at - at % 21_600 } else { at }
        };
        let records = (1..=count).map(|id| {
            let updated = moment(rng);
            let created = (updated - rng.i64(0..86_400)).max(from);
            Record { id, version: 0, created, updated, since: i64::MIN, poisoned: rng.u32(0..120) == 0 }
        });
        Company { records: records.collect(), next: count + 1 }
    }

    /// Something changes, at `now`.
    pub fn change(&mut self, rng: &mut Rng, now: i64) {
        match rng.u32(0..6) {
            0 => {
                self.records.push(Record {
                    id: self.next,
                    version: 0,
                    created: now,
                    updated: now,
                    since: now,
                    poisoned: false,
                });
                self.next += 1;
            }
            1 if self.records.len() > 3 => {
                self.records.swap_remove(rng.usize(0..self.records.len()));
            }
            _ if !self.records.is_empty() => {
                let place = rng.usize(0..self.records.len());
                let record = &mut self.records[place];
                record.version += 1;
                record.updated = now;
                record.since = now;
            }
            _ => {}
        }
    }

    /// What time decides in which window a record lies.
    pub fn time(record: &Record, on: WindowOn) -> i64 {
        match on {
            WindowOn::Updated => record.updated,
            WindowOn::Created => record.created,
        }
    }

    /// Records of a window in the order of the query.
    pub fn window(&self, query: &Query) -> Vec<&Record> {
        let (from, until) = (query.window.start.timestamp(), query.window.end.timestamp());
        let mut found: Vec<&Record> = self
            .records
            .iter()
            .filter(|record| (from..until).contains(&Company::time(record, query.on)))
            .collect();
        found.sort_by_key(|record| (Company::time(record, query.on), record.id));
        found
    }

    /// A slice of it.
    pub fn slice(&self, query: &Query, slice: Slice) -> Vec<Record> {
        let skip = slice.start_position as usize - 1;
        self.window(query).into_iter().skip(skip).take(slice.max_results as usize).cloned().collect()
    }
}

/// A record as JSON.
pub fn json(record: &Record) -> String {
    let time = |seconds| DateTime::<Utc>::from_timestamp(seconds, 0).unwrap().to_rfc3339();
    format!(
        "{{\"Id\":\"{}\",\"SyncToken\":\"{}\",\"MetaData\":{{\"CreateTime\":\"{}\",\"LastUpdatedTime\":\"{}\"}}}}",
        record.id,
        record.version,
        time(record.created),
        time(record.updated)
    )
}

//! The conditions of a statement: which an index answers, and how the others compare. Pure.

use crate::entity::Entity;
use crate::query::{Condition, Operator, Refusal, invalid};
use crate::record::Version;
use crate::time;
use serde_json::Value;
use std::cmp::Ordering;

/// The two times that every record has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    Updated,
    Created,
}

impl Time {
    /// By the name of the property.
    pub fn of(property: &str) -> Option<Time> {
        if property.eq_ignore_ascii_case("MetaData.LastUpdatedTime") {
            Some(Time::Updated)
        } else if property.eq_ignore_ascii_case("MetaData.CreateTime") {
            Some(Time::Created)
        } else {
            None
        }
    }

    /// Of a version, in seconds.
    pub fn at(self, version: &Version) -> i64 {
        match self {
            Time::Updated => version.updated,
            Time::Created => version.created,
        }
    }
}

/// The conditions, checked and sorted by what they need.
pub struct Filter<'a> {
    /// Half-open bounds in seconds, for each time.
    updated: (i64, i64),
    created: (i64, i64),
    /// Whether active and inactive records are wanted.
    active: (bool, bool),
    /// Only these records.
    pub numbers: Option<Vec<u64>>,
    /// Conditions on properties that are only in the JSON.
    pub others: Vec<&'a Condition>,
}

impl<'a> Filter<'a> {
    /// Refuses what cannot be filtered.
    pub fn new(entity: &'static Entity, conditions: &'a [Condition]) -> Result<Self, Refusal> {
        let all = (i64::MIN, i64::MAX);
        let mut filter =
            Filter { updated: all, created: all, active: (true, true), numbers: None, others: Vec::new() };
        let mut about_active = false;
        for condition in conditions {
            let property = condition.property.to_ascii_lowercase();
            check(entity, &condition.property)?;
            if let Some(time) = Time::of(&property) {
                filter.bound(time, condition)?;
            } else if property == "id" {
                filter.choose(entity, condition)?;
            } else if property == "active" {
                about_active = true;
                let wants =
                    |wanted: &str| condition.values.iter().any(|value| value.eq_ignore_ascii_case(wanted));
                filter.active = (filter.active.0 && wants("true"), filter.active.1 && wants("false"));
            } else {
                filter.others.push(condition);
            }
        }
        if entity.has_active() && !about_active {
            filter.active.1 = false;
        }
        Ok(filter)
    }

    fn bound(&mut self, time: Time, condition: &Condition) -> Result<(), Refusal> {
        let literal = condition.values.first().map(String::as_str).unwrap_or_default();
        let at = time::read(literal).ok_or_else(|| {
            invalid(format_args!("invalid date/time value '{literal}' for property {}", condition.property))
        })?;
        // Records have whole seconds: the first that is not before `at`, and the first that is after it.
        let (not_before, after) =
            (at.div_euclid(1000) + i64::from(at.rem_euclid(1000) > 0), at.div_euclid(1000) + 1);
        let (from, until) = match condition.operator {
            Operator::GreaterOrEqual => (not_before, i64::MAX),
            Operator::Greater => (after, i64::MAX),
            Operator::Less => (i64::MIN, not_before),
            Operator::LessOrEqual => (i64::MIN, after),
            Operator::Equal => (not_before, after),
            Operator::In | Operator::Like => {
                return Err(invalid(format_args!(
                    "operator not supported for property {}",
                    condition.property
                )));
            }
        };
        let bounds = match time {
            Time::Updated => &mut self.updated,
            Time::Created => &mut self.created,
        };
        *bounds = (bounds.0.max(from), bounds.1.min(until));
        Ok(())
    }

    fn choose(&mut self, entity: &'static Entity, condition: &Condition) -> Result<(), Refusal> {
        if !matches!(condition.operator, Operator::Equal | Operator::In) {
            return Err(invalid("operator not supported for property Id"));
        }
        let mut numbers: Vec<u64> = condition.values.iter().filter_map(|id| entity.number(id)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        if let Some(before) = &self.numbers {
            numbers.retain(|number| before.contains(number));
        }
        self.numbers = Some(numbers);
        Ok(())
    }

    /// Bounds of a time.
    pub fn bounds(&self, time: Time) -> (i64, i64) {
        let (from, until) = match time {
            Time::Updated => self.updated,
            Time::Created => self.created,
        };
        (from, until.max(from))
    }

    /// Whether nothing but this time is asked about.
    pub fn is_only(&self, time: Time) -> bool {
        let other = if time == Time::Updated { self.created } else { self.updated };
        self.needs_versions_only() && self.active == (true, true) && other == (i64::MIN, i64::MAX)
    }

    /// Whether times and Active decide alone.
    pub fn needs_versions_only(&self) -> bool {
        self.others.is_empty() && self.numbers.is_none()
    }

    /// Whether a version fits, as far as that can be told from it.
    pub fn fits(&self, version: &Version) -> bool {
        let inside = |(from, until): (i64, i64), at: i64| from <= at && (at < until || until == i64::MAX);
        inside(self.updated, version.updated)
            && inside(self.created, version.created)
            && (if version.active { self.active.0 } else { self.active.1 })
    }

    /// Whether a record fits the conditions that need its JSON.
    pub fn fits_json(&self, record: &Value) -> bool {
        self.others.iter().all(|condition| {
            let there = text(record, &condition.property);
            condition.values.iter().any(|wanted| holds(condition, &there, wanted))
        })
    }
}

/// Whether a property can be filtered and sorted.
pub fn check(entity: &'static Entity, property: &str) -> Result<(), Refusal> {
    if entity.can_filter(&property.to_ascii_lowercase()) {
        return Ok(());
    }
    Err(invalid(format_args!("Property {property} not found for Entity {}", entity.name)))
}

fn holds(condition: &Condition, there: &str, wanted: &str) -> bool {
    // One blank in quotes is how a statement writes null.
    if wanted == " " {
        return condition.operator == Operator::Equal && there.is_empty();
    }
    let order = compare(there, wanted);
    match condition.operator {
        Operator::Equal | Operator::In => order == Ordering::Equal,
        Operator::Less => order == Ordering::Less,
        Operator::Greater => order == Ordering::Greater,
        Operator::LessOrEqual => order != Ordering::Greater,
        Operator::GreaterOrEqual => order != Ordering::Less,
        Operator::Like => like(&there.to_lowercase(), &wanted.to_lowercase()),
    }
}

/// A property by its path, whatever its case; of a reference its value.
pub fn text(record: &Value, path: &str) -> String {
    let mut here = record;
    for name in path.split('.') {
        let next = here.as_object().and_then(|object| {
            object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        });
        match next {
            Some(next) => here = next,
            None => return String::new(),
        }
    }
    match here {
        Value::String(text) => text.clone(),
        Value::Object(object) => object.get("value").and_then(Value::as_str).unwrap_or_default().to_owned(),
        other => other.to_string(),
    }
}

/// Numbers as numbers, texts without regard to case.
pub fn compare(a: &str, b: &str) -> Ordering {
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
        _ => a.to_lowercase().cmp(&b.to_lowercase()),
    }
}

/// LIKE knows only `%`.
fn like(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('%');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last)
}

//! The conditions of a query, and whether a record fits them.

use crate::entity;
use crate::query::{Condition, Operator, Refusal, invalid};
use crate::record::Version;
use crate::time;
use serde_json::Value;
use std::cmp::Ordering;

/// Properties that can stand in a condition: some on every entity, some on those that have them.
const KNOWN: &[&str] = &[
    "id",
    "metadata.lastupdatedtime",
    "metadata.createtime",
    "active",
    "name",
    "displayname",
    "docnumber",
    "txndate",
    "totalamt",
    "balance",
    "duedate",
    "customerref",
    "givenname",
    "familyname",
    "sku",
    "type",
    "fullyqualifiedname",
];

/// The conditions of a statement, checked.
pub struct Filter<'a> {
    entity: &'a str,
    conditions: &'a [Condition],
    /// Bounds of the one time that is asked for, in seconds, half-open.
    pub from: i64,
    pub until: i64,
    on: Option<Time>,
    only_time: bool,
    active: Option<Vec<bool>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Time {
    Updated,
    Created,
}

fn time_of(property: &str) -> Option<Time> {
    if property.eq_ignore_ascii_case("MetaData.LastUpdatedTime") {
        Some(Time::Updated)
    } else if property.eq_ignore_ascii_case("MetaData.CreateTime") {
        Some(Time::Created)
    } else {
        None
    }
}

impl<'a> Filter<'a> {
    /// Checks them; an unknown property, or an operator that a property does not know, is refused.
    pub fn new(entity: &'a str, conditions: &'a [Condition]) -> Result<Self, Refusal> {
        let mut filter = Filter {
            entity,
            conditions,
            from: i64::MIN,
            until: i64::MAX,
            on: None,
            only_time: true,
            active: None,
        };
        for condition in conditions {
            let property = condition.property.to_ascii_lowercase();
            if !KNOWN.contains(&property.as_str()) || (property == "active" && !entity::has_active(entity)) {
                return Err(invalid(format!(
                    "property '{}' not found for Entity {entity}",
                    condition.property
                )));
            }
            if property == "id" && !matches!(condition.operator, Operator::Equal | Operator::In) {
                return Err(invalid("Operator not supported for property Id"));
            }
            if let Some(time) = time_of(&condition.property) {
                filter.bound(time, condition)?;
            } else if property == "active" {
                filter.active =
                    Some(condition.values.iter().map(|value| value.eq_ignore_ascii_case("true")).collect());
            } else {
                filter.only_time = false;
            }
        }
        if filter.active.is_none() && entity::has_active(entity) {
            filter.active = Some(vec![true]);
        }
        Ok(filter)
    }

    fn bound(&mut self, time: Time, condition: &Condition) -> Result<(), Refusal> {
        let literal = condition.values.first().map(String::as_str).unwrap_or_default();
        let at =
            time::read(literal).ok_or_else(|| invalid(format!("invalid date/time value '{literal}'")))?;
        if self.on.is_some_and(|on| on != time) {
            self.only_time = false;
        }
        self.on = self.on.or(Some(time));
        if self.on == Some(time) {
            match condition.operator {
                Operator::GreaterOrEqual => self.from = self.from.max(at),
                Operator::Greater => self.from = self.from.max(at + 1),
                Operator::Less => self.until = self.until.min(at),
                Operator::LessOrEqual => self.until = self.until.min(at + 1),
                Operator::Equal => (self.from, self.until) = (self.from.max(at), self.until.min(at + 1)),
                Operator::In | Operator::Like => self.only_time = false,
            }
        }
        Ok(())
    }

    /// Whether an index answers it: by which time, and whether backwards.
    pub fn fast(&self, order: &[(String, bool)]) -> Option<(bool, bool)> {
        if !self.only_time {
            return None;
        }
        let (property, descending) = match order.first() {
            Some((property, descending)) => (property.as_str(), *descending),
            None if !entity::is_list(self.entity) => ("MetaData.LastUpdatedTime", true),
            None => return None,
        };
        let time = time_of(property)?;
        let then_by_id = order
            .get(1)
            .is_none_or(|(property, down)| property.eq_ignore_ascii_case("Id") && *down == descending);
        (then_by_id && order.len() <= 2 && self.on.is_none_or(|on| on == time))
            .then_some((time == Time::Updated, descending))
    }

    /// Whether a version is among the active or inactive ones that are asked for.
    pub fn fits_version(&self, version: &Version) -> bool {
        self.active.as_ref().is_none_or(|wanted| wanted.contains(&version.active))
    }

    /// Whether a record fits all conditions.
    pub fn fits(&self, value: &Value, version: &Version) -> bool {
        self.fits_version(version)
            && self.conditions.iter().all(|condition| self.fits_one(condition, value, version))
    }

    fn fits_one(&self, condition: &Condition, value: &Value, version: &Version) -> bool {
        if condition.property.eq_ignore_ascii_case("Active") {
            return true;
        }
        if let Some(time) = time_of(&condition.property) {
            let at = if time == Time::Updated { version.updated } else { version.created };
            let holds = |wanted: &String| {
                time::read(wanted).is_some_and(|wanted| holds(condition.operator, at.cmp(&wanted)))
            };
            return condition.values.iter().any(holds);
        }
        let there = text(value, &condition.property);
        condition.values.iter().any(|wanted| match condition.operator {
            Operator::Like => like(&there.to_lowercase(), &wanted.to_lowercase()),
            operator => holds(operator, compare(&there, wanted)),
        })
    }
}

fn holds(operator: Operator, order: Ordering) -> bool {
    match operator {
        Operator::Equal | Operator::In => order == Ordering::Equal,
        Operator::Less => order == Ordering::Less,
        Operator::Greater => order == Ordering::Greater,
        Operator::LessOrEqual => order != Ordering::Greater,
        Operator::GreaterOrEqual => order != Ordering::Less,
        Operator::Like => false,
    }
}

/// A property by its path, whatever its case.
pub fn text(value: &Value, path: &str) -> String {
    let mut here = value;
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

//! One row of an answer: of a record only Id and LastUpdatedTime are read.

use super::object::{Keys, Object, not_null};
use super::{Record, Row, Unusable};
use chrono::{DateTime, Utc};
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess};
use serde_json::value::RawValue;
use std::ops::Range;

/// Reads a row that stands at `raw` in the answer.
pub fn row(json: &str, raw: Range<usize>) -> Row {
    let unusable = |reason: &str| Row::Unusable(Unusable { reason: reason.to_owned(), raw: raw.clone() });
    if !json.starts_with('{') {
        return unusable("it is no object");
    }
    let Some(head) = object(json, Head::default()) else { return unusable("it cannot be read") };
    let Some(id) = head.id else { return unusable("it has no Id") };
    match key(id.get()) {
        Ok(id) => Row::Record(Record { id, updated: head.updated(), raw: raw.clone() }),
        Err(reason) => unusable(reason),
    }
}

/// Longest Id that is taken for one, in characters; QuickBooks' are far shorter.
const LONGEST_ID: usize = 255;

/// The Id as text: a string, or a number as it was written.
fn key(json: &str) -> Result<String, &'static str> {
    let id = match json.bytes().next() {
        Some(b'"') => serde_json::from_str(json).map_err(|_| "its Id is no text")?,
        Some(b'0'..=b'9' | b'-') => json.to_owned(),
        _ => return Err("its Id is neither text nor number"),
    };
    match id {
        id if id.is_empty() => Err("its Id is empty"),
        id if id.contains('\0') => Err("its Id holds a NUL character"),
        id if id.chars().count() > LONGEST_ID => Err("its Id is too long"),
        id => Ok(id),
    }
}

fn object<'a, T: Keys<'a>>(json: &'a str, empty: T) -> Option<T> {
    Object(empty).deserialize(&mut serde_json::Deserializer::from_str(json)).ok()?
}

/// What is read of a record.
#[derive(Default)]
struct Head<'a> {
    id: Option<&'a RawValue>,
    meta: Option<&'a RawValue>,
}

impl Head<'_> {
    fn updated(&self) -> Option<DateTime<Utc>> {
        let meta = object(self.meta?.get(), Meta::default())?;
        let text: String = serde_json::from_str(meta.updated?.get()).ok()?;
        DateTime::parse_from_rfc3339(&text).ok().map(|time| time.with_timezone(&Utc))
    }
}

/// What is read of its MetaData.
#[derive(Default)]
struct Meta<'a> {
    updated: Option<&'a RawValue>,
}

impl<'a> Keys<'a> for Head<'a> {
    fn take<M: MapAccess<'a>>(&mut self, key: &str, map: &mut M) -> Result<(), M::Error> {
        match key {
            "Id" => self.id = not_null(map.next_value()?),
            "MetaData" => self.meta = Some(map.next_value()?),
            _ => {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

impl<'a> Keys<'a> for Meta<'a> {
    fn take<M: MapAccess<'a>>(&mut self, key: &str, map: &mut M) -> Result<(), M::Error> {
        match key {
            "LastUpdatedTime" => self.updated = Some(map.next_value()?),
            _ => {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

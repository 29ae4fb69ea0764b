//! Reading a page: the answer is cut into its records without touching them. Their bytes stay where they are; only Id and
//! LastUpdatedTime are read. An answer that is not a list of what was asked for is never taken for an empty one.

use super::entity::Entity;
use super::fault::Fault;
use chrono::{DateTime, Utc};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::ops::Range;

/// A record that can be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub id: String,
    /// MetaData.LastUpdatedTime, where it can be read.
    pub updated: Option<DateTime<Utc>>,
    raw: Range<usize>,
}

/// A row without an Id that could be a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    pub reason: String,
    raw: Range<usize>,
}

/// One row of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    Record(Record),
    Unusable(Unusable),
}

impl Row {
    /// The Id, where there is one.
    pub fn id(&self) -> Option<&str> {
        match self {
            Row::Record(record) => Some(&record.id),
            Row::Unusable(_) => None,
        }
    }

    fn raw(&self) -> Range<usize> {
        match self {
            Row::Record(record) => record.raw.clone(),
            Row::Unusable(unusable) => unusable.raw.clone(),
        }
    }
}

/// The rows of an answer, in their order, and the answer itself.
#[derive(Debug, Clone, Default)]
pub struct Page {
    body: String,
    rows: Vec<Row>,
    total: Option<u64>,
}

/// Why an answer is no page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PageError {
    EmptyBody,
    NotJson { start: String },
    BadJson { message: String },
    BadEncoding,
    Fault(Fault),
    UnexpectedShape { what: String },
}

impl Page {
    /// The rows in their order.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// How many rows the answer had.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it had none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// What the answer claims as totalCount; not to be trusted.
    pub fn claimed_total(&self) -> Option<u64> {
        self.total
    }

    /// The row as it was sent, byte for byte.
    pub fn raw(&self, row: &Row) -> &str {
        self.body.get(row.raw()).unwrap_or_default()
    }

    /// Leaves out rows beyond the first `most`.
    pub fn cut(&mut self, most: usize) {
        self.rows.truncate(most);
    }
}

/// Reads an answer with status 200 to a query for `entity`.
pub fn read(entity: &Entity, body: Vec<u8>) -> Result<Page, PageError> {
    let body = text(body)?;
    let base = body.as_ptr() as usize;
    let response = response(&body)?;
    let list = match response.list(entity)? {
        Some(list) => list,
        None => return Ok(Page { total: response.total, ..Page::default() }),
    };
    let elements: Vec<&RawValue> = parse(list.get())?;
    let rows = elements
        .into_iter()
        .map(|element| {
            let start = element.get().as_ptr() as usize - base;
            row(element.get(), start..start + element.get().len())
        })
        .collect();
    let total = response.total;
    Ok(Page { rows, total, body })
}

/// Reads the answer to a COUNT(*).
pub fn read_count(body: Vec<u8>) -> Result<u64, PageError> {
    let body = text(body)?;
    response(&body)?
        .total
        .ok_or_else(|| PageError::UnexpectedShape { what: "there is no totalCount".to_owned() })
}

/// Of an answer that is no JSON so much is kept, in characters: a fault in XML is whole in it.
const LONGEST_START: usize = 4_000;

fn text(body: Vec<u8>) -> Result<String, PageError> {
    // UTF-16 and UTF-32, which nothing marks: what JSON begins with is ASCII, and half of its bytes are NUL there.
    if body.iter().take(2).any(|byte| *byte == 0) {
        return Err(PageError::BadEncoding);
    }
    let body = String::from_utf8(body).map_err(|_| PageError::BadEncoding)?;
    match body.trim_start_matches('\u{feff}').trim_start().chars().next() {
        None => Err(PageError::EmptyBody),
        Some('{') => Ok(body),
        Some(_) => Err(PageError::NotJson { start: body.trim_start().chars().take(LONGEST_START).collect() }),
    }
}

fn response(body: &str) -> Result<Response<'_>, PageError> {
    let envelope: Envelope = parse(body.trim_start_matches('\u{feff}'))?;
    if let Some(fault) = envelope.fault {
        return Err(PageError::Fault(Fault::from_json(200, fault.get())));
    }
    let response = envelope
        .response
        .ok_or_else(|| PageError::UnexpectedShape { what: "there is no QueryResponse".to_owned() })?;
    if !response.get().starts_with('{') {
        return Err(PageError::UnexpectedShape { what: "QueryResponse is no object".to_owned() });
    }
    let response: Response = parse(response.get())?;
    match response.fault {
        Some(fault) => Err(PageError::Fault(Fault::from_json(200, fault.get()))),
        None => Ok(response),
    }
}

fn parse<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, PageError> {
    serde_json::from_str(json).map_err(|error| PageError::BadJson { message: error.to_string() })
}

fn row(json: &str, raw: Range<usize>) -> Row {
    let unusable = |reason: &str| Row::Unusable(Unusable { reason: reason.to_owned(), raw: raw.clone() });
    if !json.starts_with('{') {
        return unusable("it is no object");
    }
    let Ok(head) = serde_json::from_str::<Head>(json) else { return unusable("it cannot be read") };
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

/// The answer's outermost object. Keys may repeat; the last one counts, as it does for jsonb.
#[derive(Default)]
struct Envelope<'a> {
    fault: Option<&'a RawValue>,
    response: Option<&'a RawValue>,
}

/// The value of QueryResponse.
#[derive(Default)]
struct Response<'a> {
    fault: Option<&'a RawValue>,
    total: Option<u64>,
    values: Vec<(String, &'a RawValue)>,
}

impl<'a> Response<'a> {
    /// The list of the entity. None: the answer is empty, as QuickBooks says it: `{}`.
    fn list(&self, entity: &Entity) -> Result<Option<&'a RawValue>, PageError> {
        let named = |key: &str| key == entity.key || Some(key) == entity.also;
        if let Some((key, list)) = self.values.iter().rev().find(|(key, _)| named(key)) {
            if !list.get().starts_with('[') {
                return Err(PageError::UnexpectedShape { what: format!("{key} is no list") });
            }
            return Ok(Some(list));
        }
        let other = |value: &RawValue| match value.get().bytes().next() {
            Some(b'[') => Some("a list"),
            Some(b'{') => Some("an object"),
            _ => None,
        };
        match self.values.iter().find_map(|(key, value)| Some((key, other(value)?))) {
            Some((key, kind)) => Err(PageError::UnexpectedShape {
                what: format!(
                    "there is {kind} \"{}\" instead of \"{}\"",
                    key.chars().take(40).collect::<String>(),
                    entity.key
                ),
            }),
            None => Ok(None),
        }
    }
}

/// What is read of a record.
#[derive(Default)]
struct Head<'a> {
    id: Option<&'a RawValue>,
    meta: Option<&'a RawValue>,
}

impl Head<'_> {
    fn updated(&self) -> Option<DateTime<Utc>> {
        let meta: Meta = serde_json::from_str(self.meta?.get()).ok()?;
        let text: String = serde_json::from_str(meta.updated?.get()).ok()?;
        DateTime::parse_from_rfc3339(&text).ok().map(|time| time.with_timezone(&Utc))
    }
}

#[derive(Default)]
struct Meta<'a> {
    updated: Option<&'a RawValue>,
}

/// Deserializes a struct of raw slices from an object: a struct of serde's own making would refuse a key that repeats.
macro_rules! from_object {
    ($type:ident, $what:literal, $out:ident, $key:ident, $map:ident => $body:block) => {
        impl<'de: 'a, 'a> Deserialize<'de> for $type<'a> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Object<'a>(std::marker::PhantomData<$type<'a>>);
                impl<'de: 'a, 'a> Visitor<'de> for Object<'a> {
                    type Value = $type<'a>;
                    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                        f.write_str($what)
                    }
                    fn visit_map<M: MapAccess<'de>>(self, mut $map: M) -> Result<Self::Value, M::Error> {
                        let mut $out = $type::default();
                        while let Some(Key($key)) = $map.next_key()? $body
                        Ok($out)
                    }
                }
                deserializer.deserialize_map(Object(std::marker::PhantomData))
            }
        }
    };
}

/// A key. JSON can write what is no Unicode, half of a surrogate pair: that is a key too, only none of those looked for.
struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Key;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a key")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Key, E> {
                Ok(Key(String::from_utf8_lossy(bytes).into_owned()))
            }
        }
        deserializer.deserialize_bytes(Text)
    }
}

/// A raw value that is not null.
fn not_null(value: &RawValue) -> Option<&RawValue> {
    (value.get() != "null").then_some(value)
}

from_object!(Envelope, "an answer of QuickBooks", out, key, map => {
    match key.as_str() {
        "Fault" | "fault" => out.fault = not_null(map.next_value()?).or(out.fault),
        "QueryResponse" => out.response = Some(map.next_value()?),
        _ => { map.next_value::<IgnoredAny>()?; }
    }
});

from_object!(Response, "a QueryResponse", out, key, map => {
    match key.as_str() {
        "Fault" | "fault" => out.fault = not_null(map.next_value()?).or(out.fault),
        "totalCount" => out.total = map.next_value::<&RawValue>()?.get().parse().ok(),
        "Warnings" | "startPosition" | "maxResults" => { map.next_value::<IgnoredAny>()?; }
        _ => { let value = map.next_value()?; out.values.push((key, value)); }
    }
});

from_object!(Head, "a record", out, key, map => {
    match key.as_str() {
        "Id" => out.id = not_null(map.next_value()?),
        "MetaData" => out.meta = Some(map.next_value()?),
        _ => { map.next_value::<IgnoredAny>()?; }
    }
});

from_object!(Meta, "a MetaData", out, key, map => {
    match key.as_str() {
        "LastUpdatedTime" => out.updated = Some(map.next_value()?),
        _ => { map.next_value::<IgnoredAny>()?; }
    }
});

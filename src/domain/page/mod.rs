//! Reading a page: the answer is cut into its records without touching them. Their bytes stay where they are; only Id and
//! LastUpdatedTime are read. An answer that is not a list of what was asked for is never taken for an empty one.

mod answer;
mod object;
mod record;

use super::entity::Entity;
use super::fault::Fault;
use answer::Answer;
use chrono::{DateTime, Utc};
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
    let Answer { rows, total } = answer::read(Some(entity), &body)?;
    let rows = rows
        .into_iter()
        .map(|element| {
            let start = element.get().as_ptr() as usize - base;
            record::row(element.get(), start..start + element.get().len())
        })
        .collect();
    Ok(Page { rows, total, body })
}

/// Reads the answer to a COUNT(*).
pub fn read_count(body: Vec<u8>) -> Result<u64, PageError> {
    let body = text(body)?;
    answer::read(None, &body)?
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

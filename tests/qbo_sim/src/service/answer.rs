//! Answers of the API: found under the lock, rendered outside of it, in the layout of recorded ones.

use super::xml;
use crate::company::{Found, Row};
use crate::http::{JSON, Response};
use crate::query::{Select, Statement};
use crate::record::quote;
use crate::time;
use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use std::collections::HashMap;

/// What an API request is answered with.
pub enum Answer {
    /// As it is.
    Ready(Response),
    /// Rows of a query.
    Page(Found, Statement),
    /// One record by its id.
    One(Row),
    /// What changed: for each entity its records and the ids that were deleted, with the second of it.
    Changes(Vec<Changed>),
}

/// What changed of an entity.
pub struct Changed {
    pub key: &'static str,
    pub rows: Vec<Row>,
    pub deleted: Vec<(i64, String)>,
}

impl Answer {
    /// The records in it.
    pub fn rows(&self) -> &[Row] {
        match self {
            Answer::Page(found, _) => &found.rows,
            Answer::One(row) => std::slice::from_ref(row),
            _ => &[],
        }
    }

    /// The answer, rendered. Who does not ask for JSON gets XML; but the gateway answers as it likes.
    pub fn response(self, now: DateTime<Utc>, wants_json: bool) -> Response {
        let answer = self.in_json(now);
        match String::from_utf8(answer.body) {
            Ok(body) if !wants_json && answer.headers.iter().any(|(_, value)| value == JSON) => {
                Response::new(answer.status, "application/xml;charset=UTF-8", xml::from_json(&body))
            }
            Ok(body) => Response { body: body.into_bytes(), ..answer },
            Err(error) => Response { body: error.into_bytes(), ..answer },
        }
    }

    fn in_json(self, now: DateTime<Utc>) -> Response {
        let time = time::envelope(now);
        match self {
            Answer::Ready(response) => response,
            Answer::Page(found, statement) => Response::json(200, page(&found, &statement, &time)),
            Answer::One(row) => {
                Response::json(200, format!("{{\"{}\":{},\"time\":\"{time}\"}}", row.entity.key, row.json()))
            }
            Answer::Changes(changes) => Response::json(200, cdc(&changes, &time)),
        }
    }
}

fn page(found: &Found, statement: &Statement, time: &str) -> String {
    if statement.select == Select::Count {
        return format!("{{\"QueryResponse\":{{\"totalCount\":{}}},\"time\":\"{time}\"}}", found.total);
    }
    if found.rows.is_empty() {
        return format!("{{\"QueryResponse\":{{}},\"time\":\"{time}\"}}");
    }
    let mut body = String::with_capacity(found.rows.len() * 4_096 + 256);
    body.push_str(&format!("{{\"QueryResponse\":{{\"{}\":[", found.entity.key));
    for (place, row) in found.rows.iter().enumerate() {
        if place > 0 {
            body.push(',');
        }
        match &statement.select {
            Select::Properties(properties) => body.push_str(&stub(row, properties)),
            _ => body.push_str(&row.json()),
        }
    }
    let count = found.rows.len();
    body.push_str(&format!("],\"startPosition\":{},\"maxResults\":{count}", statement.start));
    if found.entity.total {
        body.push_str(&format!(",\"totalCount\":{count}"));
    }
    body.push_str(&format!("}},\"time\":\"{time}\"}}"));
    body
}

/// A sparse record with some properties only.
fn stub(row: &Row, properties: &[String]) -> String {
    let json = row.json();
    let all: HashMap<String, &RawValue> = serde_json::from_str(&json).unwrap_or_default();
    let mut out = "{\"domain\":\"QBO\",\"sparse\":true".to_owned();
    for property in properties {
        let name = property.split('.').next().unwrap_or_default();
        if let Some((key, value)) = all.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)) {
            out.push(',');
            quote(&mut out, key);
            out.push(':');
            out.push_str(value.get());
        }
    }
    out.push('}');
    out
}

/// Changed records first, deleted ones after them; one QueryResponse for each entity.
fn cdc(changes: &[Changed], time: &str) -> String {
    let parts: Vec<String> = changes
        .iter()
        .map(|changed| {
            let stub = |(at, id): &(i64, String)| {
                let at = time::pacific(*at);
                format!(
                    "{{\"domain\":\"QBO\",\"status\":\"Deleted\",\"Id\":\"{id}\",\
                    \"MetaData\":{{\"LastUpdatedTime\":\"{at}\"}}}}"
                )
            };
            let rows: Vec<String> =
                changed.rows.iter().map(Row::json).chain(changed.deleted.iter().map(stub)).collect();
            let count = rows.len();
            match (rows.is_empty(), changed.deleted.is_empty()) {
                (true, _) => "{}".to_owned(),
                (_, true) => {
                    format!(
                        "{{\"{}\":[{}],\"startPosition\":1,\"maxResults\":{count}}}",
                        changed.key,
                        rows.join(",")
                    )
                }
                (_, false) => {
                    format!(
                        "{{\"{}\":[{}],\"maxResults\":{count},\"totalCount\":{count}}}",
                        changed.key,
                        rows.join(",")
                    )
                }
            }
        })
        .collect();
    format!("{{\"CDCResponse\":[{{\"QueryResponse\":[{}]}}],\"time\":\"{time}\"}}", parts.join(","))
}

//! What must hold, whatever comes in: of reading a page, of the text of a query, of the address of a consent, and of taking
//! secrets out of foreign text; in files of their own, of windows and of the spool.

mod numbers;
pub mod spool;
pub mod window;

use chrono::DateTime;
use qbo_raw::domain::entity::{Entity, catalogue};
use qbo_raw::domain::fault::Fault;
use qbo_raw::domain::page::{self, Page, Row};
use qbo_raw::domain::query::{Query, Slice, literal};
use qbo_raw::domain::secret::{Redactor, Secret};
use qbo_raw::domain::window::{Window, WindowOn};
use qbo_raw::http::callback;
use serde_json::Value;

/// A text that must not get out.
const CANARY: &str = "CANARY-7f3a9c51e2b84d60-swordfish";

/// A page has the rows of the answer, in bytes of the answer, under the Ids they have; and where there is a list with rows in it,
/// or nothing that is a list, it is not empty.
pub fn page(input: &[u8]) {
    let _ = page::read_count(input.to_vec());
    let fault = Fault::read(u16::from(*input.first().unwrap_or(&0)) * 2, input);
    let failure = fault.failure();
    assert!(failure.code.len() < 60 && failure.message.chars().count() < 1_100, "{failure:?}");
    let Some(entity) = Entity::find("invoices").ok() else { return };
    let Ok(page) = page::read(entity, input.to_vec()) else { return };
    let whole = std::str::from_utf8(input).expect("a page is text");
    let mut from = 0;
    for row in page.rows() {
        let raw = page.raw(row);
        let at = whole[from..].find(raw).expect("a row is a piece of the answer, behind the one before");
        from += at + raw.len();
        if let Row::Record(record) = row {
            id(&record.id, raw);
        }
    }
    rows(&page, whole);
}

fn id(id: &str, raw: &str) {
    assert!(!id.is_empty() && !id.contains('\0') && id.chars().count() <= 255, "{id:?}");
    // What serde's own reader cannot hold (depth, numbers, half a pair) cannot be compared.
    let Ok(record) = serde_json::from_str::<Value>(raw) else { return };
    match &record["Id"] {
        Value::String(text) => assert_eq!(text, id),
        Value::Number(_) => assert!(raw.contains(id)),
        other => panic!("an Id out of {other}"),
    }
}

fn rows(page: &Page, whole: &str) {
    let Ok(answer) = serde_json::from_str::<Value>(whole.trim_start_matches('\u{feff}')) else { return };
    let response = answer["QueryResponse"].as_object().expect("a page has a QueryResponse");
    match response.get("Invoice") {
        Some(list) => assert_eq!(list.as_array().expect("rows are a list").len(), page.len()),
        None => {
            let other = response.iter().find(|(key, value)| {
                key.as_str() != "Warnings"
                    && !["startPosition", "maxResults", "totalCount"].contains(&key.as_str())
                    && (value.is_array() || value.is_object())
            });
            assert!(page.is_empty() && other.is_none(), "{other:?} was taken for nothing");
        }
    }
}

/// Every statement is one of QuickBooks' language, and a value stays within its quotes.
pub fn query(input: &[u8]) {
    let (numbers, text) = input.split_at(input.len().min(26));
    let mut numbers = numbers::Numbers(numbers);
    let mut number = |bytes| numbers.next(bytes);
    let entity = &catalogue()[number(2) as usize % catalogue().len()];
    let on = if number(1) % 2 == 0 { WindowOn::Updated } else { WindowOn::Created };
    // The years 0 to 9999: no day of PostgreSQL that a range may have lies outside.
    let seconds = |n: u64| -62_000_000_000 + (n % 315_000_000_000) as i64;
    let (start, end) = (seconds(number(5)), seconds(number(5)));
    let (Some(start), Some(end)) = (DateTime::from_timestamp(start, 0), DateTime::from_timestamp(end, 0))
    else {
        return;
    };
    let query = Query { entity, on, window: Window { start, end } };
    let slice = Slice { start_position: number(4) as u32, max_results: number(4) as u32 };
    for statement in [query.page(slice), query.count()] {
        assert_eq!(qbo_sim::check_statement(&statement), Ok(()), "{statement}");
    }
    let value = String::from_utf8_lossy(text);
    let quoted = literal(&value);
    let mut inner = quoted[1..quoted.len() - 1].chars();
    let mut read = String::new();
    while let Some(c) = inner.next() {
        assert_ne!(c, '\'', "the value ends early: {quoted}");
        read.push(if c == '\\' { inner.next().expect("the last quote is escaped") } else { c });
    }
    assert_eq!(read, value);
}

/// What is taken from an address has the form it must have, and no error repeats a part of it.
pub fn callback(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    for address in [
        text.to_string(),
        format!("{text}&code={CANARY}"),
        format!("https://x.example/?code={CANARY}&{text}"),
    ] {
        match callback::read(&address) {
            Ok(read) => {
                let sane = |value: &str| {
                    !value.is_empty() && value.len() <= 4_096 && value.bytes().all(|b| b.is_ascii_graphic())
                };
                assert!(sane(&read.code) && sane(&read.state), "{address}");
                assert!(
                    (1..=20).contains(&read.realm.len()) && read.realm.bytes().all(|b| b.is_ascii_digit()),
                    "{address}"
                );
            }
            Err(error) => {
                let said = format!("{error} {:?} {:?}", error.hint(), error.detail());
                assert!(!said.contains(CANARY), "{said}");
            }
        }
    }
}

/// A secret that is known does not get through, wherever it stands; nor does one that is announced; nor a NUL.
pub fn redact(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let middle = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(at, _)| at);
    let (before, after) = text.split_at(middle);
    let redactor = Redactor::new(&[&Secret::new(CANARY), &Secret::new("swordfish")]);
    for foreign in [
        format!("{before}{CANARY}{after}"),
        format!("{before}{CANARY}{CANARY}{after}{CANARY}"),
        format!("{before} Bearer {CANARY}{after}"),
    ] {
        let clean = redactor.scrub(&foreign);
        assert!(!clean.contains(CANARY) && !clean.contains("swordfish") && !clean.contains('\0'), "{clean}");
    }
    let unknown = Redactor::default().scrub(&format!("{before} Bearer {CANARY} {after}"));
    assert!(!unknown.contains(CANARY) || text.contains(CANARY), "{unknown}");
}

//! A network that fails, and a QuickBooks that answers oddly.

use crate::company::{Company, Record, json};
use fastrand::Rng;
use qbo_raw::domain::fetch::{Event, Lost, LostKind, Reply};
use qbo_raw::domain::query::{Query, Slice};

/// Everything that can happen to a request.
pub const KINDS: &[&str] = &[
    "401",
    "403",
    "429",
    "429 with Retry-After",
    "429 for an hour",
    "500",
    "503 html",
    "504",
    "html with 200",
    "empty body",
    "bad json",
    "fault with 200",
    "dns",
    "connect",
    "tls",
    "timeout",
    "reset",
    "too large",
    "bad encoding",
    "bad protocol",
    "unexpected shape",
    "poisoned page",
    "10000",
    "totalCount that lies",
    "a row too many",
];

fn reply(status: u16, body: impl Into<Vec<u8>>) -> Event {
    Event::Answer(Reply {
        status,
        retry_after: None,
        intuit_tid: Some("1-sim".to_owned()),
        date: None,
        body: body.into(),
    })
}

fn asked(status: u16, after: &str) -> Event {
    let body = b"<html><title>busy</title></html>".to_vec();
    Event::Answer(Reply { status, retry_after: Some(after.to_owned()), intuit_tid: None, date: None, body })
}

fn lost(kind: LostKind) -> Event {
    Event::Lost(Lost { kind, message: format!("{kind:?}") })
}

fn fault(code: &str) -> String {
    format!(
        "{{\"Fault\":{{\"Error\":[{{\"Message\":\"m\",\"Detail\":\"d\",\"code\":\"{code}\"}}],\"type\":\"T\"}}}}"
    )
}

/// Sends a request: what comes back, and what happened on the way. `trouble` in 0..1 is how likely a fault is; `permanent`
/// whether one may strike that no waiting mends.
pub fn send(
    company: &Company,
    query: &Query,
    slice: Slice,
    rng: &mut Rng,
    trouble: f64,
    permanent: bool,
) -> (Event, &'static str) {
    if rng.f64() < trouble {
        let kind = KINDS[rng.usize(0..KINDS.len())];
        let event = match kind {
            "401" => reply(401, fault("3200")),
            "429" => reply(429, "<x/>"),
            "429 with Retry-After" => asked(429, "7"),
            "429 for an hour" if permanent => asked(429, "3600"),
            "500" => reply(500, ""),
            "503 html" => reply(503, "<html><title>503</title></html>"),
            "504" => reply(504, "<x/>"),
            "html with 200" => reply(200, "<html><title>We'll be back soon</title></html>"),
            "empty body" => reply(200, ""),
            "bad json" => reply(200, "{\"QueryResponse\":{\"Invoice\":[{\"Id\":"),
            "dns" => lost(LostKind::Dns),
            "connect" => lost(LostKind::Connect),
            "timeout" => lost(LostKind::Timeout),
            "reset" => lost(LostKind::Reset),
            "too large" if slice.max_results > 1 => lost(LostKind::TooLarge),
            "bad encoding" => lost(LostKind::Encoding),
            "bad protocol" => lost(LostKind::Protocol),
            "10000" if slice.max_results > 1 => reply(400, fault("10000")),
            "403" if permanent => reply(403, fault("3100")),
            "tls" if permanent => lost(LostKind::Tls),
            "fault with 200" if permanent => reply(200, fault("610")),
            "unexpected shape" if permanent => reply(200, "{\"QueryResponse\":{\"invoice\":[]}}"),
            _ => return truth(company, query, slice, rng),
        };
        return (event, kind);
    }
    truth(company, query, slice, rng)
}

/// The true answer, with the liberties that QuickBooks takes.
fn truth(company: &Company, query: &Query, slice: Slice, rng: &mut Rng) -> (Event, &'static str) {
    let mut wide = slice;
    wide.max_results += u32::from(rng.u32(0..20) == 0);
    let rows = company.slice(query, wide);
    let asked: Vec<&Record> = rows.iter().take(slice.max_results as usize).collect();
    if asked.iter().any(|record| record.poisoned) {
        return (reply(400, fault("4002")), "poisoned page");
    }
    let more = rows.len() > slice.max_results as usize && !rows.iter().any(|record| record.poisoned);
    let shown = if more { rows.len() } else { asked.len() };
    if shown == 0 {
        return (reply(200, "{\"QueryResponse\":{}}"), "an empty page");
    }
    let list: Vec<String> = rows.iter().take(shown).map(json).collect();
    let lies = rng.u32(0..10) == 0;
    let total = if lies { format!(",\"totalCount\":{}", rng.u32(0..200)) } else { String::new() };
    let body =
        format!("{{\"QueryResponse\":{{\"Invoice\":[{}],\"startPosition\":1{total}}}}}", list.join(","));
    let what = if more {
        "a row too many"
    } else if lies {
        "totalCount that lies"
    } else {
        "a page"
    };
    (reply(200, body), what)
}

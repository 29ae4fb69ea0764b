//! The same answers in XML, which is what QuickBooks sends to a client that does not ask for JSON. Pure.

use crate::fault::body;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// A JSON answer of the service as XML.
pub fn from_json(json: &str) -> String {
    let members = object(json);
    let time = members.get("time").map(|time| string(time.get())).unwrap_or_default();
    if let Some(fault) = members.get("Fault") {
        return from_fault(fault.get());
    }
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?><IntuitResponse \
         xmlns=\"http://schema.intuit.com/finance/v3\" time=\"{time}\">"
    );
    for (name, value) in members.iter().filter(|(name, _)| *name != "time") {
        element(&mut out, name, value.get());
    }
    out.push_str("</IntuitResponse>");
    out
}

fn from_fault(fault: &str) -> String {
    let fault = object(fault);
    let error =
        fault.get("Error").and_then(|errors| array(errors.get()).into_iter().next()).map(RawValue::get);
    let error = object(error.unwrap_or("{}"));
    let text = |from: &BTreeMap<String, &RawValue>, key: &str| from.get(key).map(|value| string(value.get()));
    body::xml(
        &text(&fault, "type").unwrap_or_default(),
        &text(&error, "code").unwrap_or_default(),
        &text(&error, "Message").unwrap_or_default(),
        &text(&error, "Detail").unwrap_or_default(),
    )
}

/// Counters of a page are attributes, everything else is an element.
fn element(out: &mut String, name: &str, json: &str) {
    match json.as_bytes().first() {
        Some(b'{') => {
            let members = object(json);
            let is_counter = |key: &str| matches!(key, "startPosition" | "maxResults" | "totalCount");
            out.push_str(&format!("<{name}"));
            for (key, value) in members.iter().filter(|(key, _)| is_counter(key)) {
                out.push_str(&format!(" {key}=\"{}\"", value.get()));
            }
            out.push('>');
            for (key, value) in members.iter().filter(|(key, _)| !is_counter(key)) {
                element(out, key, value.get());
            }
            out.push_str(&format!("</{name}>"));
        }
        Some(b'[') => {
            for value in array(json) {
                element(out, name, value.get());
            }
        }
        Some(b'"') => out.push_str(&format!("<{name}>{}</{name}>", body::escaped(&string(json)))),
        _ => out.push_str(&format!("<{name}>{json}</{name}>")),
    }
}

fn object(json: &str) -> BTreeMap<String, &RawValue> {
    serde_json::from_str(json).unwrap_or_default()
}

fn array(json: &str) -> Vec<&RawValue> {
    serde_json::from_str(json).unwrap_or_default()
}

fn string(json: &str) -> String {
    serde_json::from_str(json).unwrap_or_default()
}

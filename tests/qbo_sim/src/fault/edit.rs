//! Changes to the body of a true answer: what the service could send and never should. Pure.

use std::fmt;
use std::sync::Arc;

type Change = dyn Fn(String) -> Vec<u8> + Send + Sync;

/// A change to a body.
#[derive(Clone)]
pub struct Edit {
    name: &'static str,
    change: Arc<Change>,
}

impl fmt::Debug for Edit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Edit({})", self.name)
    }
}

impl Edit {
    /// Any change.
    pub fn new(change: impl Fn(String) -> Vec<u8> + Send + Sync + 'static) -> Edit {
        Edit { name: "own", change: Arc::new(change) }
    }

    /// One text for another, everywhere.
    pub fn replace(from: &str, to: &str) -> Edit {
        let (from, to) = (from.to_owned(), to.to_owned());
        Edit::new(move |body| body.replace(&from, &to).into_bytes())
    }

    /// The changed body.
    pub fn apply(&self, body: String) -> Vec<u8> {
        (self.change)(body)
    }

    /// A change by its name; `argument` is what some of them need.
    pub fn named(name: &str, argument: &str) -> Option<Edit> {
        let argument = argument.to_owned();
        let (name, change): (&'static str, Arc<Change>) = match name {
            "bom" => ("bom", Arc::new(|body| [b"\xef\xbb\xbf", body.as_bytes()].concat())),
            "trailing-garbage" => {
                ("trailing-garbage", Arc::new(|body| [body.as_bytes(), b"}<!-- -->"].concat()))
            }
            "two-documents" => ("two-documents", Arc::new(|body| format!("{body}\n{body}").into_bytes())),
            "invalid-utf8" => ("invalid-utf8", Arc::new(|body| with_bad_byte(&body))),
            "utf-16" => ("utf-16", Arc::new(|body| body.encode_utf16().flat_map(u16::to_le_bytes).collect())),
            "null-fault" => {
                ("null-fault", Arc::new(|body| body.replacen('{', "{\"Fault\":null,", 1).into_bytes()))
            }
            "nested-fault" => (
                "nested-fault",
                Arc::new(|_| {
                    let fault = super::body::service(
                        "ValidationFault",
                        "4001",
                        "Invalid query",
                        "QueryValidationError",
                    );
                    format!("{{\"QueryResponse\":{fault}}}").into_bytes()
                }),
            ),
            "no-response" => {
                ("no-response", Arc::new(|_| b"{\"time\":\"2025-07-01T00:00:00.000-07:00\"}".to_vec()))
            }
            "response-null" => ("response-null", Arc::new(|_| b"{\"QueryResponse\":null}".to_vec())),
            "response-array" => ("response-array", Arc::new(|_| b"{\"QueryResponse\":[]}".to_vec())),
            "lower-case-key" => {
                ("lower-case-key", Arc::new(|body| with_key(&body, |key| key.to_lowercase())))
            }
            "other-key" => ("other-key", Arc::new(|body| with_key(&body, |_| "Gadget".to_owned()))),
            "twice-the-first" => ("twice-the-first", Arc::new(|body| with_first_again(&body))),
            "total-count" => {
                ("total-count", Arc::new(move |body| with_number(&body, "totalCount", &argument)))
            }
            "max-results" => {
                ("max-results", Arc::new(move |body| with_number(&body, "maxResults", &argument)))
            }
            "start-position" => {
                ("start-position", Arc::new(move |body| with_number(&body, "startPosition", &argument)))
            }
            _ => return None,
        };
        Some(Edit { name, change })
    }
}

/// A byte that is no UTF-8 in the first value of a text.
fn with_bad_byte(body: &str) -> Vec<u8> {
    let at = body.find("\":\"").map_or(body.len(), |at| at + 3);
    let (before, after) = body.split_at(at);
    [before.as_bytes(), b"\xff", after.as_bytes()].concat()
}

/// Another key for the rows.
fn with_key(body: &str, change: impl Fn(&str) -> String) -> Vec<u8> {
    let start = "{\"QueryResponse\":{\"";
    match body.strip_prefix(start).and_then(|rest| rest.split_once('"')) {
        Some((key, rest)) => format!("{start}{}\"{rest}", change(key)).into_bytes(),
        None => body.as_bytes().to_vec(),
    }
}

/// The first row a second time, at the end of the page.
fn with_first_again(body: &str) -> Vec<u8> {
    let first = body
        .split_once(":[")
        .and_then(|(_, rows)| serde_json::Deserializer::from_str(rows).into_iter().next());
    match first {
        Some(Ok::<Box<serde_json::value::RawValue>, _>(row)) => match body.rfind("],\"startPosition\"") {
            Some(at) => {
                let (before, after) = body.split_at(at);
                format!("{before},{}{after}", row.get()).into_bytes()
            }
            None => body.as_bytes().to_vec(),
        },
        _ => body.as_bytes().to_vec(),
    }
}

/// Another number for a counter of the page; it is added when it is not there.
fn with_number(body: &str, key: &str, number: &str) -> Vec<u8> {
    let marked = format!(",\"{key}\":");
    match body.rfind(&marked) {
        Some(at) => {
            let (before, after) = body.split_at(at + marked.len());
            let rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
            format!("{before}{number}{rest}").into_bytes()
        }
        None => match body.rfind("},\"time\"") {
            Some(at) => {
                let (before, after) = body.split_at(at);
                format!("{before}{marked}{number}{after}").into_bytes()
            }
            None => body.as_bytes().to_vec(),
        },
    }
}

//! Faults of QuickBooks, in the three shapes they come in (JSON of the service, lower-case JSON of the gateway, XML), and
//! what to do about each. The codes and what they mean are from Intuit's list of error codes and from recorded answers.

use serde::Deserialize;
use std::time::Duration;

/// What an answer says went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// HTTP status; a fault can come with 200.
    pub status: u16,
    pub code: Option<String>,
    pub kind: Option<String>,
    pub message: String,
    pub detail: Option<String>,
}

/// What to do about a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Wait and ask again.
    Retry,
    /// The limits are reached: the whole connection waits.
    Throttle,
    /// Ask for fewer records at once.
    Shrink,
    /// One record spoils its page: find it.
    Bisect,
    /// Get a new access token.
    Renew,
    /// This window cannot be had; others may.
    FailWindow,
    /// No window of this run can be had.
    StopRun,
}

/// How far a failure reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Other windows go on.
    Window,
    /// The run ends as failed.
    Run,
    /// The run ends as blocked: the credentials need a person.
    Blocked,
    /// The run ends for now: the month's requests are spent.
    Budget,
    /// The run is put aside for so long.
    Park(Duration),
}

/// What one window cost, and brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    pub pages: u32,
    pub requests: u32,
    pub records: u64,
    pub rejected: u64,
    pub retries: u32,
    pub rereads: u32,
}

/// Why a window was not fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// A word: "unauthorized", "http_503", "timeout" …
    pub code: String,
    pub sqlstate: &'static str,
    pub message: String,
    pub hint: Option<String>,
    pub scope: Scope,
    /// Whether the other side or the way to it failed, so that other windows would fail as well.
    pub outage: bool,
    pub intuit_tid: Option<String>,
    pub counters: Counters,
}

impl Failure {
    /// A failure of one window that is nobody's outage.
    pub fn new(code: impl Into<String>, sqlstate: &'static str, message: impl Into<String>) -> Self {
        Failure {
            code: code.into(),
            sqlstate,
            message: message.into(),
            hint: None,
            scope: Scope::Window,
            outage: false,
            intuit_tid: None,
            counters: Counters::default(),
        }
    }

    /// With what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With how far it reaches.
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    /// As an outage.
    pub fn outage(mut self) -> Self {
        self.outage = true;
        self
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

/// The fault object, in both spellings.
#[derive(Deserialize)]
struct Body {
    #[serde(alias = "Error", alias = "error", default)]
    errors: Option<Vec<Item>>,
    #[serde(alias = "type", default)]
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(alias = "Message", default)]
    message: Option<String>,
    #[serde(alias = "Detail", default)]
    detail: Option<String>,
    #[serde(default)]
    code: Option<Code>,
}

/// A string in all recordings; a number would not surprise.
#[derive(Deserialize)]
#[serde(untagged)]
enum Code {
    Text(String),
    Number(i64),
}

/// The whole answer around it.
#[derive(Deserialize)]
struct Envelope {
    #[serde(alias = "Fault", default)]
    fault: Option<Body>,
}

/// Longest message that is kept, in characters.
const LONGEST: usize = 500;

/// Longest code; Intuit's have up to six digits.
const LONGEST_CODE: usize = 40;

/// A fault in XML has about ten tags. The XML reader recurses, so deep nesting would overflow the stack.
const MOST_TAGS: usize = 100;

impl Fault {
    /// Reads an answer that is no page, whatever its shape: what was asked for says nothing about what comes.
    pub fn read(status: u16, body: &[u8]) -> Fault {
        let text = String::from_utf8_lossy(body);
        let text = text.trim_start_matches('\u{feff}').trim();
        if let Ok(Envelope { fault: Some(fault) }) = serde_json::from_str(text) {
            return Fault::from_body(status, fault);
        }
        Fault::from_xml(status, text).unwrap_or_else(|| Fault::from_text(status, text))
    }

    /// Reads the value of a `Fault` key.
    pub fn from_json(status: u16, json: &str) -> Fault {
        match serde_json::from_str(json) {
            Ok(body) => Fault::from_body(status, body),
            Err(_) => Fault::from_text(status, json),
        }
    }

    fn from_body(status: u16, body: Body) -> Fault {
        let item = body.errors.unwrap_or_default().into_iter().next();
        let (message, detail, code) =
            item.map(|item| (item.message, item.detail, item.code)).unwrap_or_default();
        Fault {
            status,
            code: code.map(|code| match code {
                Code::Text(text) => word(&text),
                Code::Number(number) => number.to_string(),
            }),
            kind: body.kind,
            message: short(&message.unwrap_or_default()),
            detail: detail.filter(|detail| !detail.is_empty()).map(|detail| short(&detail)),
        }
    }

    fn from_xml(status: u16, text: &str) -> Option<Fault> {
        if !text.starts_with('<') || text.bytes().filter(|b| *b == b'<').count() > MOST_TAGS {
            return None;
        }
        let document = roxmltree::Document::parse(text).ok()?;
        let fault = document
            .descendants()
            .find(|node| node.has_tag_name("Fault") || node.tag_name().name() == "Fault")?;
        let error = fault.descendants().find(|node| node.tag_name().name() == "Error");
        let child = |name: &str| {
            error?
                .children()
                .find(|node| node.tag_name().name() == name)?
                .text()
                .map(|text| short(text.trim()))
        };
        Some(Fault {
            status,
            code: error.and_then(|error| error.attribute("code")).map(word),
            kind: fault.attribute("type").map(str::to_owned),
            message: child("Message").unwrap_or_default(),
            detail: child("Detail"),
        })
    }

    /// An HTML page, plain text, or nothing.
    fn from_text(status: u16, text: &str) -> Fault {
        let title = text
            .find("<title>")
            .and_then(|at| text.get(at + "<title>".len()..))
            .and_then(|rest| rest.split('<').next())
            .map(str::trim);
        let said = match title {
            Some(title) => format!("a page titled \"{}\"", short(title)),
            None if text.is_empty() => "an empty answer".to_owned(),
            None => format!("\"{}\"", text.chars().take(120).collect::<String>()),
        };
        Fault {
            status,
            code: None,
            kind: None,
            message: format!("HTTP status {status} with {said}"),
            detail: None,
        }
    }

    fn is(&self, codes: &[&str]) -> bool {
        self.code.as_deref().is_some_and(|code| codes.contains(&code.trim_start_matches('0')))
    }

    /// What to do. The status decides first, then the code; a fault with 200 counts as the error it is.
    pub fn remedy(&self) -> Remedy {
        if self.status == 429 || self.is(&["3001"]) || self.message.contains("ThrottleExceeded") {
            return Remedy::Throttle;
        }
        if self.status == 504 || self.is(&["6002", "10100"]) {
            return Remedy::Shrink;
        }
        match self.status {
            401 if self.is(&["120", "130"]) => return Remedy::StopRun,
            401 => return Remedy::Renew,
            403 | 404 => return Remedy::StopRun,
            408 | 425 | 500..=599 => return Remedy::Retry,
            _ => {}
        }
        if self.is(&["4002", "10000"]) {
            Remedy::Bisect
        } else if self.is(&["100", "3200", "3202"]) {
            Remedy::Renew
        } else if self.is(&["110", "120", "130", "140", "3100", "5020", "5030", "6000", "6190", "10200"]) {
            Remedy::StopRun
        } else if self.is(&["150", "500", "7001"])
            || (self.code.is_none() && !(300..400).contains(&self.status))
        {
            // Under maintenance; said in outages too; an answer of some machine on the way.
            Remedy::Retry
        } else {
            Remedy::FailWindow
        }
    }

    /// The failure it becomes when nothing helped.
    pub fn failure(&self) -> Failure {
        let message = match &self.detail {
            Some(detail) if !self.message.is_empty() => {
                format!("QuickBooks says: {} ({detail})", self.message)
            }
            Some(detail) => format!("QuickBooks says: {detail}"),
            None => format!("QuickBooks says: {}", self.message),
        };
        match self.remedy() {
            Remedy::Throttle => Failure::new("throttled", "53400", message)
                .hint("Another program may use up the company's 500 requests a minute, or the month's requests of the app \
                       are spent. Lower qbo_raw.requests_per_minute, or run it later.")
                .outage(),
            Remedy::Renew => Failure::new("unauthorized", "28000", message)
                .hint("QuickBooks refuses a fresh access token: is realm_id the company that was authorized, and \
                       environment the right one? Connect it again with raw.qb_connect.")
                .scope(Scope::Run),
            Remedy::StopRun => self.refused(message),
            Remedy::Shrink | Remedy::Retry if self.status >= 500 => {
                Failure::new(format!("http_{}", self.status), "08006", message)
                    .hint("QuickBooks has an outage or is overloaded; run the range again later.")
                    .outage()
            }
            Remedy::Retry if self.code.is_none() => Failure::new("not_json", "08006", message)
                .hint("QuickBooks, or something on the way to it, answered with a page for people; run it again later.")
                .outage(),
            Remedy::FailWindow if (300..400).contains(&self.status) => {
                Failure::new("unexpected_redirect", "08006", message)
                    .hint("Redirects are never followed: the token would go along.")
                    .outage()
            }
            // The query of every window differs in its dates only.
            Remedy::FailWindow if self.is(&["4000", "4001"]) => Failure::new(self.word(), "38000", message)
                .hint("QuickBooks refuses the query itself, for this entity of this company; other ranges would be refused \
                       as well. Report it with the intuit_tid of the report row.")
                .outage(),
            _ => Failure::new(self.word(), "38000", message),
        }
    }

    fn refused(&self, message: String) -> Failure {
        if self.is(&["5020", "5030"]) {
            return Failure::new("not_available", "38000", message)
                .hint("The company's plan, country or the user who connected it does not have this entity.")
                .scope(Scope::Run);
        }
        let word = match self.status {
            404 => "not_found".to_owned(),
            401 | 403 => "forbidden".to_owned(),
            _ => self.word(),
        };
        let hint = if self.is(&["130"]) || self.is(&["3100"]) || matches!(self.status, 403 | 404) {
            "Are realm_id and environment those of the authorized company, and may the app use the accounting scope? \
             Development keys work with sandbox companies only."
        } else {
            "QuickBooks does not serve this company now: look at its subscription and at the user who connected it."
        };
        Failure::new(word, "28000", message).hint(hint).scope(Scope::Run)
    }

    fn word(&self) -> String {
        match &self.code {
            Some(code) => format!("qbo_{code}"),
            None => format!("http_{}", self.status),
        }
    }
}

/// A code becomes a word of the report row: so it has the letters of one, and not many.
fn word(code: &str) -> String {
    code.chars().filter(|c| c.is_ascii_alphanumeric() || "_-.".contains(*c)).take(LONGEST_CODE).collect()
}

fn short(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

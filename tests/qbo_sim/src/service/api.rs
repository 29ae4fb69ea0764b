//! The accounting API: who may ask, and what it answers.

use super::answer::{Answer, Changed};
use super::state::State;
use super::tokens::Access;
use crate::entity::Entity;
use crate::fault::{Bend, body};
use crate::http::{Incoming, Response};
use crate::query::{self, Refusal, Select};
use crate::time;
use std::time::Instant;

/// Longest statement that the front takes.
const LONGEST_STATEMENT: usize = 500_000;

/// CDC looks back so far, and gives so many objects.
const CDC_DAYS: i64 = 30;
const CDC_MOST: usize = 1_000;

/// Whether a request is for the API, and so counted.
pub fn is_api(request: &Incoming) -> bool {
    request.path.starts_with("/v3/")
}

/// The statement of a query, from its URL or its body.
pub fn statement(request: &Incoming) -> String {
    match request.query.get("query") {
        Some(statement) => statement.clone(),
        None => String::from_utf8_lossy(&request.body).into_owned(),
    }
}

/// The true answer to API request `n`.
pub fn answer(state: &mut State, request: &Incoming, n: u64, bend: Option<Bend>) -> Answer {
    if let Some(refused) = refused(state, request) {
        return Answer::Ready(refused);
    }
    let mut parts = request.path.trim_start_matches("/v3/company/").split('/').skip(1);
    let (first, second, third) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    match (request.method.as_str(), first, second, third) {
        ("GET" | "POST", "query", None, _) => run(state, request, n, bend),
        ("GET", "cdc", None, _) => changes(state, request),
        ("GET", "companyinfo", Some(id), None) if id == state.realm => singleton(state, "CompanyInfo", false),
        ("GET", "preferences", None, _) => singleton(state, "Preferences", false),
        ("GET", name, Some(id), None) => read(state, &request.path, name, id),
        _ => Answer::Ready(Response::new(400, "application/json", body::unsupported(&request.path))),
    }
}

/// Token, limits, realm, size: in this order.
fn refused(state: &mut State, request: &Incoming) -> Option<Response> {
    let given = request.header("authorization");
    let token = given.strip_prefix("Bearer ").or_else(|| given.strip_prefix("bearer ")).unwrap_or_default();
    let refusal = match state.tokens.access(token) {
        Access::Good => None,
        Access::Expired => Some(body::token_expired(token)),
        Access::Malformed => Some(body::token_malformed()),
    };
    if let Some(refusal) = refusal {
        return Some(unauthorized(refusal));
    }
    let open = state.open.saturating_sub(1);
    if state.limits.as_mut().is_some_and(|limits| !limits.admit(Instant::now(), open)) {
        return Some(Response::new(429, "application/xml", body::throttled(429)));
    }
    let realm =
        request.path.strip_prefix("/v3/company/").and_then(|rest| rest.split('/').next()).unwrap_or_default();
    if state.elsewhere.iter().any(|other| other == realm) {
        return Some(Response::new(401, "application/xml", body::wrong_cluster()));
    }
    if realm != state.realm {
        return Some(Response::new(403, "application/json", body::not_authorized()));
    }
    (statement(request).len() > LONGEST_STATEMENT).then(|| Response::new(413, "text/html", body::TOO_LARGE))
}

/// A 401 of the gateway.
pub fn unauthorized(refusal: String) -> Response {
    let mut answer = Response::new(401, "application/json", refusal);
    let challenge = "Bearer realm=\"Intuit\", error=\"invalid_token\"";
    answer.headers.push(("WWW-Authenticate".to_owned(), challenge.to_owned()));
    answer
}

fn run(state: &State, request: &Incoming, n: u64, bend: Option<Bend>) -> Answer {
    let text = statement(request);
    if text.trim().is_empty() {
        // Seen so: no statement, and a fault with status 200.
        let message = "An application error has occurred while processing your request";
        let fault = body::service("SystemFault", "10000", message, "System Failure Error: query is missing");
        return Answer::Ready(Response::json(200, fault));
    }
    if request.method == "POST" && !request.header("content-type").starts_with("application/text") {
        let fault = body::service("ValidationFault", "4000", "Error parsing query", "QueryParserError: null");
        return Answer::Ready(Response::json(400, fault));
    }
    let mut parsed = match query::parse(&text, &time::pacific(state.now().timestamp())[..10]) {
        Ok(parsed) => parsed,
        Err(refusal) => return refuse(&refusal),
    };
    if let Some(name) =
        ["CompanyInfo", "Preferences"].iter().find(|name| parsed.entity.eq_ignore_ascii_case(name))
    {
        return singleton(state, name, true);
    }
    match bend {
        Some(Bend::FirstPage) => parsed.start = 1,
        Some(Bend::OneMore) => parsed.max += 1,
        Some(Bend::AtMost(most)) => parsed.max = parsed.max.min(most),
        None => {}
    }
    match state.company.query(&parsed, n) {
        Ok(found) => Answer::Page(found, parsed),
        Err(refusal) => refuse(&refusal),
    }
}

/// How many rows a query asks for at most; None when it is no query for rows.
pub fn asked(request: &Incoming) -> Option<usize> {
    query::parse(&statement(request), "")
        .ok()
        .filter(|parsed| parsed.select != Select::Count)
        .map(|parsed| parsed.max)
}

fn refuse(refusal: &Refusal) -> Answer {
    let fault = body::service("ValidationFault", refusal.code, refusal.message, &refusal.detail);
    Answer::Ready(Response::json(400, fault))
}

fn read(state: &State, path: &str, name: &str, id: &str) -> Answer {
    let Some(entity) = Entity::find(name).filter(|entity| entity.name.to_ascii_lowercase() == name) else {
        return Answer::Ready(Response::new(400, "application/json", body::unsupported(path)));
    };
    match state.company.row(entity.name, id) {
        Some(row) => Answer::One(row),
        None if id.contains(|c: char| !c.is_ascii_alphanumeric()) => {
            let detail = format!("Id should be a valid number. Supplied value:{id}");
            let fault = body::element("ValidationFault", "2030", "Invalid ID", &detail, "Id");
            Answer::Ready(Response::new(400, "application/json", fault))
        }
        None => Answer::Ready(Response::json(400, body::not_found())),
    }
}

/// CompanyInfo and Preferences: one record with the id 1, by its path or by a query.
fn singleton(state: &State, name: &str, queried: bool) -> Answer {
    let time = time::envelope(state.now());
    let created = time::pacific(state.founded);
    let head = format!(
        "\"domain\":\"QBO\",\"sparse\":false,\"Id\":\"1\",\"SyncToken\":\"1\",\"MetaData\":{{\"CreateTime\":\"{created}\",\
         \"LastUpdatedTime\":\"{created}\"}}"
    );
    let record = match name {
        "CompanyInfo" => format!(
            "{{\"CompanyName\":\"Simulated Company {}\",\"LegalName\":\"Simulated \
             Company {}\",\"CompanyAddr\":{{\"Id\":\"1\",\"Line1\":\"123 Sierra \
             Way\",\"City\":\"San Pablo\",\"CountrySubDivisionCode\":\"CA\",\"PostalCode\":\"87999\"}},\
             \"Country\":\"US\",\"DefaultTimeZone\":\"America/Los_Angeles\",\"FiscalYearStartMonth\":\"January\",\
             {head}}}",
            state.company.seed(),
            state.company.seed()
        ),
        _ => format!(
            "{{\"CurrencyPrefs\":{{\"MultiCurrencyEnabled\":false,\"HomeCurrency\":{{\"value\":\"USD\"}}}},{head}}}"
        ),
    };
    let body = if queried {
        format!("{{\"QueryResponse\":{{\"{name}\":[{record}],\"maxResults\":1}},\"time\":\"{time}\"}}")
    } else {
        format!("{{\"{name}\":{record},\"time\":\"{time}\"}}")
    };
    Answer::Ready(Response::json(200, body))
}

/// Change data capture: thirty days, a thousand objects, no pages.
fn changes(state: &State, request: &Incoming) -> Answer {
    let field = |name: &str| request.query.get(name).map(String::as_str).unwrap_or_default();
    let refuse = |code: &str, message: &str, detail: String| {
        Answer::Ready(Response::json(400, body::service("ValidationFault", code, message, &detail)))
    };
    let Some(since) = time::read(field("changedSince")).map(|since| since.div_euclid(1000)) else {
        return refuse("2090", "Invalid date", format!("changedSince: {}", field("changedSince")));
    };
    if since < state.now().timestamp() - CDC_DAYS * 86_400 {
        let detail = format!(
            "Operation cdc with changedSince date {} which is older than fixed days is not supported.",
            field("changedSince")
        );
        return refuse("500", "Unsupported Operation", detail);
    }
    let (mut left, mut parts) = (CDC_MOST, Vec::new());
    for name in field("entities").split(',').map(str::trim) {
        let outside = ["JournalCode", "TaxAgency", "TimeActivity", "TaxCode", "TaxRate"];
        let Some((entity, table)) =
            state.company.table(name).filter(|(entity, _)| !outside.contains(&entity.name))
        else {
            return refuse("2000", "Invalid Enumeration", format!("entities: {name}"));
        };
        let changed = table.updated.range(since, i64::MAX);
        let rows: Vec<_> =
            changed.iter().rev().take(left).filter_map(|(_, number)| table.row(*number)).collect();
        left -= rows.len();
        let gone = table.deleted.iter().filter(|(at, _)| *at >= since).take(left);
        let deleted: Vec<(i64, String)> = gone.map(|(at, number)| (*at, entity.id(*number))).collect();
        left -= deleted.len();
        parts.push(Changed { key: entity.key, rows, deleted });
    }
    Answer::Changes(parts)
}

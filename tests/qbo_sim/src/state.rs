//! What the simulator knows and remembers, behind one lock, and what it answers to a request.

use crate::company::Company;
use crate::entity;
use crate::fault::{self, Fault, When};
use crate::limits::Limits;
use crate::oauth::{Pair, Tokens};
use crate::query::{self, Refusal};
use crate::time;
use crate::wire::{Request, Response};
use base64::Engine;
use chrono::Utc;
use std::time::{Duration, SystemTime};

/// One API request that was made.
#[derive(Debug, Clone)]
pub struct Logged {
    /// Its number, from 1.
    pub n: u64,
    pub at: SystemTime,
    pub path: String,
    pub statement: String,
    pub status: u16,
    pub rows: usize,
    /// Whether the answer was sent to its end.
    pub whole: bool,
    pub faulted: bool,
    /// The bearer token as it came.
    pub token: String,
}

/// A change that is made right before a request is answered.
#[derive(Debug, Clone)]
pub enum Action {
    Update(String, u64),
    Delete(String, u64),
    Deactivate(String, u64),
    Insert(String),
}

/// A fault that waits for its request; `left` is how often it still strikes.
pub struct Rule {
    pub when: When,
    pub fault: Fault,
    pub left: u32,
}

/// The state.
pub struct State {
    pub realm: String,
    pub client_id: String,
    pub client_secret: String,
    pub company: Company,
    pub tokens: Tokens,
    pub limits: Option<Limits>,
    pub rules: Vec<Rule>,
    pub actions: Vec<(u64, Action)>,
    pub log: Vec<Logged>,
    pub requests: u64,
    pub token_requests: u64,
    pub latency: Duration,
}

impl State {
    /// Whether a request is for the API, and so counted.
    pub fn is_api(request: &Request) -> bool {
        request.path.starts_with("/v3/")
    }

    /// The statement of a query, from its URL or its body.
    pub fn statement(request: &Request) -> String {
        match request.query.get("query") {
            Some(statement) => statement.clone(),
            None => String::from_utf8_lossy(&request.body).into_owned(),
        }
    }

    /// The fault that strikes this request, if one does.
    pub fn strike(&mut self, request: &Request, n: u64) -> Option<Fault> {
        let api = State::is_api(request);
        let statement = State::statement(request);
        let token = request.path.ends_with("/tokens/bearer");
        let rule = self.rules.iter_mut().find(|rule| {
            rule.left > 0
                && match &rule.when {
                    When::Nth(wanted) => api && n == *wanted,
                    When::From(first) => api && n >= *first,
                    When::Always => api,
                    When::Statement(part) => api && statement.contains(part),
                    When::Token => token,
                }
        })?;
        rule.left -= 1;
        Some(rule.fault.clone())
    }

    /// Makes the changes that are due before request `n`.
    pub fn act(&mut self, n: u64) {
        let now = Utc::now().timestamp();
        let due: Vec<Action> =
            self.actions.iter().filter(|(at, _)| *at == n).map(|(_, action)| action.clone()).collect();
        for action in due {
            match action {
                Action::Update(entity, id) => self.company.update(&entity, id, now, n),
                Action::Delete(entity, id) => self.company.delete(&entity, id, n),
                Action::Deactivate(entity, id) => self.company.deactivate(&entity, id, now, n),
                Action::Insert(entity) => self.company.insert(&entity, now).is_some(),
            };
        }
    }

    /// The true answer, and how many rows are in it.
    pub fn answer(&mut self, request: &Request) -> (Response, usize) {
        match (request.method.as_str(), request.path.as_str()) {
            (_, path) if path.starts_with("/v3/company/") => self.api(request, path),
            ("GET", "/connect/oauth2") => (self.consent(request), 0),
            ("POST", "/oauth2/v1/tokens/bearer") => (self.token(request), 0),
            ("POST", "/v2/oauth2/tokens/revoke") => (self.revoke(request), 0),
            _ => {
                (Response::new(404, "text/html", "<html><head><title>404 Not Found</title></head></html>"), 0)
            }
        }
    }

    fn api(&mut self, request: &Request, path: &str) -> (Response, usize) {
        let token = request.header("authorization").strip_prefix("Bearer ").unwrap_or_default();
        if !self.tokens.is_good(token) {
            let detail = if token.is_empty() {
                "Malformed bearer token: too short or too long".to_owned()
            } else {
                format!("Token expired: {token}")
            };
            let mut answer = Response::new(
                401,
                "application/json",
                fault::gateway("AuthenticationFailed", "003200", 401, &detail, "3200"),
            );
            answer.headers.push((
                "WWW-Authenticate".to_owned(),
                "Bearer realm=\"Intuit\", error=\"invalid_token\"".to_owned(),
            ));
            return (answer, 0);
        }
        if self.limits.as_mut().is_some_and(|limits| !limits.admit()) {
            let message = "message=ThrottleExceeded; errorCode=003001; statusCode=429";
            let body = fault::xml("3001", message, "The request limit was reached.  Try again later");
            return (Response::new(429, "application/xml", body), 0);
        }
        let mut parts = path.trim_start_matches("/v3/company/").split('/');
        if parts.next() != Some(self.realm.as_str()) {
            let body = fault::gateway("ApplicationAuthorizationFailed", "003100", 403, "", "3100");
            return (Response::new(403, "application/json", body), 0);
        }
        match (parts.next().unwrap_or_default(), parts.next()) {
            ("query", None) => self.query(&State::statement(request)),
            ("companyinfo", Some(_)) => {
                let body = format!(
                    "{{\"CompanyInfo\":{{\"CompanyName\":\"Simulated Company\",\"Country\":\"US\",\"domain\":\"QBO\",\"sparse\":false,\"Id\":\"1\",\"SyncToken\":\"1\"}},\"time\":\"{}\"}}",
                    time::envelope()
                );
                (Response::json(200, body), 1)
            }
            (name, Some(id)) => self.read(name, id),
            _ => (unsupported(path), 0),
        }
    }

    fn query(&self, text: &str) -> (Response, usize) {
        if text.trim().is_empty() {
            let body = fault::service(
                "SystemFault",
                "10000",
                "An application error has occurred while processing your request",
                "System Failure Error",
            );
            return (Response::json(200, body), 0);
        }
        let found = query::parse(text)
            .and_then(|statement| self.company.query(&statement).map(|found| (statement, found)));
        let (statement, found) = match found {
            Ok(found) => found,
            Err(refusal) => return (refused(&refusal), 0),
        };
        let response = if statement.count {
            format!("{{\"totalCount\":{}}}", found.total)
        } else if found.rows.is_empty() {
            "{}".to_owned()
        } else {
            let total = if entity::has_total(found.entity) {
                format!(",\"totalCount\":{}", found.rows.len())
            } else {
                String::new()
            };
            format!(
                "{{\"{}\":[{}],\"startPosition\":{},\"maxResults\":{}{total}}}",
                entity::key(found.entity),
                found.rows.join(","),
                statement.start,
                found.rows.len()
            )
        };
        let body = format!("{{\"QueryResponse\":{response},\"time\":\"{}\"}}", time::envelope());
        (Response::json(200, body), found.rows.len())
    }

    fn read(&self, name: &str, id: &str) -> (Response, usize) {
        let Some(entity) = entity::find(name) else { return (unsupported(name), 0) };
        match id.parse().ok().and_then(|id| self.company.json(entity, id)) {
            Some(json) => {
                (Response::json(200, format!("{{\"{entity}\":{json},\"time\":\"{}\"}}", time::envelope())), 1)
            }
            None => {
                let detail = "Object Not Found : Another user has deleted this transaction.";
                (Response::json(400, fault::service("ValidationFault", "610", "Object Not Found", detail)), 0)
            }
        }
    }

    /// The consent page: it consents, and sends the browser back with a code, the state and the realm.
    fn consent(&mut self, request: &Request) -> Response {
        let field = |name: &str| request.query.get(name).cloned().unwrap_or_default();
        let redirect = field("redirect_uri");
        if field("client_id") != self.client_id || field("response_type") != "code" || redirect.is_empty() {
            return Response::new(
                400,
                "text/html",
                "<html><head><title>invalid_request</title></head></html>",
            );
        }
        let code = self.tokens.code(&redirect);
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("code", &code)
            .append_pair("state", &field("state"))
            .append_pair("realmId", &self.realm)
            .finish();
        let mut answer = Response::new(302, "text/html", "");
        answer.headers.push(("Location".to_owned(), format!("{redirect}?{query}")));
        answer
    }

    fn is_client(&self, request: &Request) -> bool {
        let given = request.header("authorization").strip_prefix("Basic ").unwrap_or_default();
        let decoded = base64::engine::general_purpose::STANDARD.decode(given).unwrap_or_default();
        let unescape = |text: &str| {
            form_urlencoded::parse(text.as_bytes())
                .next()
                .map(|(name, _)| name.into_owned())
                .unwrap_or_default()
        };
        match String::from_utf8_lossy(&decoded).split_once(':') {
            Some((id, secret)) => unescape(id) == self.client_id && unescape(secret) == self.client_secret,
            None => false,
        }
    }

    fn token(&mut self, request: &Request) -> Response {
        self.token_requests += 1;
        if !self.is_client(request) {
            return Response::json(401, "{\"error\":\"invalid_client\"}");
        }
        let form = request.form();
        let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
        let pair = match field("grant_type") {
            "refresh_token" => self.tokens.redeem(field("refresh_token")),
            "authorization_code" => self.tokens.exchange(field("code"), field("redirect_uri")),
            _ => return Response::json(400, "{\"error\":\"unsupported_grant_type\"}"),
        };
        let Some(Pair { access, refresh }) = pair else {
            return Response::json(
                400,
                "{\"error_description\":\"Incorrect or invalid refresh token\",\"error\":\"invalid_grant\"}",
            );
        };
        let hard = if request.header("x-include-refresh-token-hard-expires-in") == "true" {
            ",\"x_refresh_token_hard_expires_in\":157680000"
        } else {
            ""
        };
        Response::json(
            200,
            format!(
                "{{\"token_type\":\"bearer\",\"expires_in\":{},\"refresh_token\":\"{refresh}\",\"x_refresh_token_expires_in\":8726400{hard},\"access_token\":\"{access}\"}}",
                self.tokens.ttl.as_secs()
            ),
        )
    }

    fn revoke(&mut self, request: &Request) -> Response {
        if !self.is_client(request) {
            return Response::json(401, "{\"error\":\"invalid_client\"}");
        }
        self.tokens.revoke();
        Response::json(200, "")
    }
}

fn refused(refusal: &Refusal) -> Response {
    Response::json(400, fault::service("ValidationFault", refusal.code, refusal.message, &refusal.detail))
}

fn unsupported(path: &str) -> Response {
    let detail = format!("Operation Could not find resource for relative : {path} is not supported.");
    Response::json(400, fault::service("ValidationFault", "500", "Unsupported Operation", &detail))
}

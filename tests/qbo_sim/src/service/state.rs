//! What the simulator knows and remembers, behind one lock. A request is numbered, changes that are due are made,
//! and its answer is found in one step; so every answer shows exactly the versions that were current at its number.

use super::answer::Answer;
use super::log::{Action, Request};
use super::tokens::{Tokens, fingerprint};
use super::{api, oauth};
use crate::company::Company;
use crate::fault::{Fault, When};
use crate::http::Incoming;
use crate::limits::Limits;
use chrono::{DateTime, TimeDelta, Utc};
use std::time::{Duration, SystemTime};

/// A fault that waits for its request; `left` is how often it still strikes.
pub struct Rule {
    pub when: When,
    pub fault: Fault,
    pub left: u32,
}

/// The state.
pub struct State {
    pub realm: String,
    /// Realms that live on other servers.
    pub elsewhere: Vec<String>,
    pub client_id: String,
    pub client_secret: String,
    pub company: Company,
    /// When the company began, in seconds.
    pub founded: i64,
    pub tokens: Tokens,
    pub limits: Option<Limits>,
    pub rules: Vec<Rule>,
    pub actions: Vec<(u64, Action)>,
    pub log: Vec<Request>,
    /// API requests so far.
    pub requests: u64,
    /// Requests that the token endpoint answered itself.
    pub token_requests: u64,
    /// Requests that arrived at the token endpoint, faults included.
    pub token_calls: u64,
    /// API requests that are being answered.
    pub open: usize,
    pub latency: Duration,
    pub skew: TimeDelta,
    /// Connections are reset as soon as they come.
    pub down: bool,
}

/// What becomes of a request.
pub struct Arrival {
    /// Its number, if it is an API request.
    pub number: Option<u64>,
    pub fault: Option<Fault>,
    /// None: the fault comes in its place.
    pub answer: Option<Answer>,
    pub latency: Duration,
    /// The time that the service believes it is.
    pub now: DateTime<Utc>,
}

impl State {
    /// The time that the service believes it is.
    pub fn now(&self) -> DateTime<Utc> {
        Utc::now() + self.skew
    }

    /// Whether a request names this company, by its realm or by one of its tokens.
    pub fn is_for(&self, request: &Incoming) -> bool {
        match request.path.strip_prefix("/v3/company/") {
            Some(rest) => rest.split('/').next() == Some(self.realm.as_str()),
            None => request.form().get("refresh_token").is_some_and(|token| self.tokens.is_known(token)),
        }
    }

    /// Takes a request in.
    pub fn arrive(&mut self, request: &Incoming) -> Arrival {
        let arrival =
            if api::is_api(request) { self.arrive_at_api(request) } else { self.arrive_elsewhere(request) };
        Arrival { latency: self.latency, now: self.now(), ..arrival }
    }

    fn arrive_at_api(&mut self, request: &Incoming) -> Arrival {
        self.requests += 1;
        self.open += 1;
        let n = self.requests;
        self.act(n);
        let answer = api::answer(self, request, n, None);
        let fault = self.strike(request, Some((n, &answer)));
        let answer = match &fault {
            Some(Fault::Bend(bend)) => Some(api::answer(self, request, n, Some(*bend))),
            Some(fault) if !fault.has_true_answer() => None,
            _ => Some(answer),
        };
        let bearer = request.header("authorization");
        self.log.push(Request {
            n,
            at: SystemTime::now(),
            took: Duration::ZERO,
            method: request.method.clone(),
            path: request.path.clone(),
            statement: api::statement(request),
            status: 0,
            rows: answer.as_ref().map_or(0, |answer| answer.rows().len()),
            whole: false,
            faulted: fault.is_some(),
            abandoned: false,
            token_fingerprint: fingerprint(bearer.trim_start_matches("Bearer ")),
        });
        Arrival { number: Some(n), fault, answer, latency: Duration::ZERO, now: DateTime::UNIX_EPOCH }
    }

    fn arrive_elsewhere(&mut self, request: &Incoming) -> Arrival {
        self.token_calls += u64::from(oauth::is_token(request));
        let fault = self.strike(request, None);
        let truly = fault.as_ref().is_none_or(Fault::has_true_answer);
        let answer = truly.then(|| Answer::Ready(oauth::answer(self, request)));
        Arrival { number: None, fault, answer, latency: Duration::ZERO, now: DateTime::UNIX_EPOCH }
    }

    /// An API request is answered: with this status (0: none), wholly or not.
    pub fn leave(&mut self, number: u64, status: u16, whole: bool) {
        self.open = self.open.saturating_sub(1);
        if let Some(request) = self.logged(number) {
            request.status = status;
            request.whole = whole;
            request.took = request.at.elapsed().unwrap_or_default();
        }
    }

    /// The client did not take the answer.
    pub fn lost(&mut self, number: u64) {
        if let Some(request) = self.logged(number) {
            request.whole = false;
        }
    }

    /// The client was gone before the request was taken in.
    pub fn abandoned(&mut self, number: u64) {
        if let Some(request) = self.logged(number) {
            request.abandoned = true;
        }
    }

    fn logged(&mut self, number: u64) -> Option<&mut Request> {
        self.log.iter_mut().rev().find(|request| request.n == number)
    }

    /// Adds a fault.
    pub fn plan(&mut self, when: When, fault: Fault, times: u32) {
        let when = if let When::Next(n) = when { When::Nth(self.requests + n) } else { when };
        self.rules.push(Rule { when, fault, left: times });
    }

    /// The fault that strikes this request, if one does: the first one planned.
    fn strike(&mut self, request: &Incoming, api: Option<(u64, &Answer)>) -> Option<Fault> {
        let token = oauth::is_token(request);
        let calls = self.token_calls;
        let rule = self.rules.iter_mut().find(|rule| {
            rule.left > 0
                && match (&rule.when, api) {
                    (When::Nth(wanted), Some((n, _))) => n == *wanted,
                    (When::From(first), Some((n, _))) => n >= *first,
                    (When::Always, Some(_)) => true,
                    (When::Statement(part), Some(_)) => api::statement(request).contains(part),
                    (When::RowsOver(most), Some(_)) => api::asked(request).is_some_and(|rows| rows > *most),
                    (When::Record(entity, id), Some((_, answer))) => {
                        answer.rows().iter().any(|row| row.entity.name == entity && row.id() == *id)
                    }
                    (When::Token, None) => token,
                    (When::TokenFrom(first), None) => token && calls >= *first,
                    _ => false,
                }
        })?;
        rule.left -= 1;
        Some(rule.fault.clone())
    }

    /// Makes the changes that are due before request `n`.
    fn act(&mut self, n: u64) {
        let due: Vec<Action> =
            self.actions.extract_if(.., |(at, _)| *at == n).map(|(_, action)| action).collect();
        for action in due {
            self.perform(&action, n);
        }
    }

    /// Makes a change that API request `n` is the first to see; the id it was about. None: there was nothing to change.
    pub fn perform(&mut self, action: &Action, n: u64) -> Option<String> {
        let now = self.now().timestamp();
        let touch = |version: &mut crate::record::Version| {
            version.number += 1;
            version.updated = now;
        };
        let (done, id) = match action {
            Action::Update(entity, id) => (self.company.alter(entity, id, n, touch), id),
            Action::Deactivate(entity, id) => {
                let (entity, table) =
                    self.company.table_mut(entity).filter(|(entity, _)| entity.has_active())?;
                let done = table.alter(entity.number(id)?, n, |version| {
                    touch(version);
                    version.active = false;
                });
                (done, id)
            }
            Action::Delete(entity, id) => {
                let (entity, table) = self.company.table_mut(entity)?;
                (table.delete(entity.number(id)?, now, n), id)
            }
            Action::Insert(entity) => {
                let (entity, table) = self.company.table_mut(entity)?;
                return Some(entity.id(table.insert(now, n)));
            }
            Action::Patch(entity, id, text) => {
                let (entity, table) = self.company.table_mut(entity)?;
                (table.patch(entity.number(id)?, text, n), id)
            }
            Action::MoveTo(entity, id, at) => {
                (self.company.alter(entity, id, n, |version| version.updated = at.timestamp()), id)
            }
        };
        done.then(|| id.clone())
    }

    /// Changes a fraction of the records of an entity, evenly spread; their ids.
    pub fn change(&mut self, name: &str, fraction: f64) -> Vec<String> {
        let numbers = self.company.numbers(name);
        let (now, request) = (self.now().timestamp(), self.requests + 1);
        let wanted = (numbers.len() as f64 * fraction.clamp(0.0, 1.0)).round() as usize;
        let wanted = wanted.max(usize::from(fraction > 0.0)).min(numbers.len());
        let Some((entity, table)) = self.company.table_mut(name) else { return Vec::new() };
        let place = |nth: usize| numbers.get(nth * numbers.len() / wanted.max(1)).copied();
        let chosen: Vec<u64> = (0..wanted).filter_map(place).collect();
        table.alter_all(&chosen, request, |version| {
            version.number += 1;
            version.updated = now;
        });
        chosen.into_iter().map(|number| entity.id(number)).collect()
    }
}

//! Control over HTTP, for shells and other languages: paths under `/sim/`, fields in the query string, answers in JSON.

use crate::fault::{Fault, NAMES, When};
use crate::http::{Incoming, Response};
use crate::record::quote;
use crate::service::{Action, Request, State};
use std::time::Duration;

/// Answers a control request.
pub fn answer(state: &mut State, request: &Incoming) -> Response {
    let field = |name: &str| request.query.get(name).map(String::as_str).unwrap_or_default();
    let looks = request.path.trim_start_matches("/sim/");
    let answer = match looks {
        "status" => Some(status(state)),
        "requests" => Some(list(state.log.iter().map(shown))),
        "tokens" => Some(list(state.tokens.log.iter().map(|event| quoted(&format!("{event:?}"))))),
        "ids" => Some(ids(state, field("entity"))),
        "record" => state.company.row(field("entity"), field("id")).map(|row| row.json()),
        "faults" => {
            Some(list(NAMES.iter().map(|(name, what)| format!("{{{}:{}}}", quoted(name), quoted(what)))))
        }
        _ if request.method != "POST" => {
            return Response::json(
                405,
                "{\"error\":\"GET status, requests, tokens, ids, record, faults; POST the others\"}",
            );
        }
        "fault" => match (Fault::named(field("name")), when(field("when"))) {
            (Some(fault), Some(when)) => {
                state.plan(when, fault, field("times").parse().unwrap_or(u32::MAX));
                Some(status(state))
            }
            _ => None,
        },
        "clear" => {
            state.rules.clear();
            state.down = false;
            Some(status(state))
        }
        "change" => Some(list(
            state
                .change(field("entity"), field("fraction").parse().unwrap_or(0.01))
                .iter()
                .map(|id| quoted(id)),
        )),
        "update" | "delete" | "deactivate" | "insert" | "patch" => act(state, looks, request),
        "expire" => {
            state.tokens.expire_access();
            Some(status(state))
        }
        "rotate" => {
            state.tokens.rotate_next();
            Some(status(state))
        }
        "revoke" => {
            state.tokens.revoke();
            Some(status(state))
        }
        "down" => {
            state.down = field("down") != "false";
            Some(status(state))
        }
        "latency" => {
            state.latency = Duration::from_millis(field("ms").parse().unwrap_or(0));
            Some(status(state))
        }
        _ => None,
    };
    match answer {
        Some(body) => Response::json(200, body),
        None => {
            Response::json(404, "{\"error\":\"no such control, or a field is missing or wrong; see --help\"}")
        }
    }
}

/// A change now, or with `before=N` right before API request N.
fn act(state: &mut State, what: &str, request: &Incoming) -> Option<String> {
    let field = |name: &str| request.query.get(name).cloned().unwrap_or_default();
    let (entity, id) = (field("entity"), field("id"));
    let action = match what {
        "update" => Action::Update(entity, id),
        "delete" => Action::Delete(entity, id),
        "deactivate" => Action::Deactivate(entity, id),
        "patch" => Action::Patch(entity, id, String::from_utf8_lossy(&request.body).into_owned()),
        _ => Action::Insert(entity),
    };
    if let Ok(n) = field("before").parse() {
        state.actions.push((n, action));
        return Some("{}".to_owned());
    }
    let next = state.requests + 1;
    state.perform(&action, next).map(|id| format!("{{\"id\":{}}}", quoted(&id)))
}

fn when(text: &str) -> Option<When> {
    match text.split_once(':') {
        Some(("nth", n)) => n.parse().ok().map(When::Nth),
        Some(("from", n)) => n.parse().ok().map(When::From),
        Some(("next", n)) => n.parse().ok().map(When::Next),
        Some(("rows-over", n)) => n.parse().ok().map(When::RowsOver),
        Some(("statement", part)) => Some(When::Statement(part.to_owned())),
        Some(("record", name)) => {
            name.split_once(':').map(|(entity, id)| When::Record(entity.to_owned(), id.to_owned()))
        }
        None if text == "token" => Some(When::Token),
        None if text == "always" || text.is_empty() => Some(When::Always),
        None if text == "next" => Some(When::Next(1)),
        _ => None,
    }
}

fn status(state: &State) -> String {
    format!(
        "{{\"requests\":{},\"token_requests\":{},\"faults\":{},\"refresh_token\":{}}}",
        state.requests,
        state.token_requests,
        state.rules.iter().filter(|rule| rule.left > 0).count(),
        quoted(state.tokens.current()),
    )
}

fn ids(state: &State, name: &str) -> String {
    match state.company.table(name) {
        Some((entity, _)) => {
            list(state.company.numbers(name).into_iter().map(|number| quoted(&entity.id(number))))
        }
        None => "[]".to_owned(),
    }
}

fn shown(request: &Request) -> String {
    format!(
        "{{\"n\":{},\"status\":{},\"rows\":{},\"whole\":{},\"faulted\":{},\"ms\":{},\"statement\":{}}}",
        request.n,
        request.status,
        request.rows,
        request.whole,
        request.faulted,
        request.took.as_millis(),
        quoted(&request.statement)
    )
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(",\n"))
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    quote(&mut out, text);
    out
}

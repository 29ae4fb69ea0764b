//! Control over HTTP, for shells: `GET /sim/status`, `/sim/requests`, `POST /sim/fault?name=429&when=nth:3&times=1`,
//! `/sim/clear`, `/sim/change?entity=Invoice&fraction=0.01`, `/sim/expire`, `/sim/rotate`.

use crate::fault::{Fault, When};
use crate::state::{Rule, State};
use crate::wire::{Request, Response};
use chrono::Utc;

/// Answers a control request.
pub fn answer(state: &mut State, request: &Request) -> Response {
    let field = |name: &str| request.query.get(name).map(String::as_str).unwrap_or_default();
    match request.path.as_str() {
        "/sim/status" => ok(format!(
            "{{\"requests\":{},\"token_requests\":{},\"faults\":{}}}",
            state.requests,
            state.token_requests,
            state.rules.iter().filter(|rule| rule.left > 0).count()
        )),
        "/sim/requests" => {
            let lines: Vec<String> = state
                .log
                .iter()
                .map(|logged| {
                    format!(
                        "{{\"n\":{},\"status\":{},\"rows\":{},\"whole\":{},\"statement\":{}}}",
                        logged.n,
                        logged.status,
                        logged.rows,
                        logged.whole,
                        serde_json::Value::from(logged.statement.as_str())
                    )
                })
                .collect();
            ok(format!("[{}]", lines.join(",\n")))
        }
        "/sim/fault" => match (Fault::named(field("name")), when(field("when"))) {
            (Some(fault), Some(when)) => {
                state.rules.push(Rule { when, fault, left: field("times").parse().unwrap_or(u32::MAX) });
                ok("{}".to_owned())
            }
            _ => Response::json(400, "{\"error\":\"name and when are not known; see --help\"}"),
        },
        "/sim/clear" => {
            state.rules.clear();
            ok("{}".to_owned())
        }
        "/sim/change" => {
            let changed = change(state, field("entity"), field("fraction").parse().unwrap_or(0.01));
            ok(format!("{{\"changed\":{}}}", changed.len()))
        }
        "/sim/expire" => {
            state.tokens.expire_access();
            ok("{}".to_owned())
        }
        "/sim/rotate" => {
            state.tokens.rotate_next();
            ok("{}".to_owned())
        }
        _ => Response::json(404, "{\"error\":\"no such control; see --help\"}"),
    }
}

/// Changes a fraction of the records of an entity, evenly spread; their ids.
pub fn change(state: &mut State, entity: &str, fraction: f64) -> Vec<u64> {
    let ids = state.company.ids(entity);
    let wanted =
        ((ids.len() as f64 * fraction.clamp(0.0, 1.0)).round() as usize).max(usize::from(fraction > 0.0));
    let step = (ids.len() / wanted.max(1)).max(1);
    let chosen: Vec<u64> = ids.into_iter().step_by(step).take(wanted).collect();
    let (now, request) = (Utc::now().timestamp(), state.requests);
    chosen.into_iter().filter(|id| state.company.update(entity, *id, now, request)).collect()
}

fn when(text: &str) -> Option<When> {
    match text.split_once(':') {
        Some(("nth", n)) => n.parse().ok().map(When::Nth),
        Some(("from", n)) => n.parse().ok().map(When::From),
        Some(("statement", part)) => Some(When::Statement(part.to_owned())),
        None if text == "token" => Some(When::Token),
        None if text == "always" || text.is_empty() => Some(When::Always),
        _ => None,
    }
}

fn ok(body: String) -> Response {
    Response::json(200, body)
}

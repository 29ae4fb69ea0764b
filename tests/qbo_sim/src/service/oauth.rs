//! The OAuth2 endpoints: consent page, token, revocation, discovery.

use super::state::State;
use super::tokens::Pair;
use crate::http::{Incoming, Response};
use base64::Engine;
use form_urlencoded::Serializer;

const SCOPE: &str = "com.intuit.quickbooks.accounting";

/// Whether a path is one of these.
pub fn is_token(request: &Incoming) -> bool {
    request.path == "/oauth2/v1/tokens/bearer"
}

/// Answers a request that is not for the API.
pub fn answer(state: &mut State, request: &Incoming) -> Response {
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/connect/oauth2") => authorize(state, request),
        ("POST", "/oauth2/v1/tokens/bearer") => token(state, request),
        ("POST", "/v2/oauth2/tokens/revoke") => revoke(state, request),
        ("GET", "/.well-known/openid_configuration" | "/.well-known/openid_sandbox_configuration") => {
            discovery(request)
        }
        (_, "/connect/oauth2" | "/oauth2/v1/tokens/bearer" | "/v2/oauth2/tokens/revoke") => {
            Response::new(405, "text/html", "<html><head><title>405 Method Not Allowed</title></head></html>")
        }
        _ => Response::new(404, "text/html", "<html><head><title>404 Not Found</title></head></html>"),
    }
}

/// The consent page. A browser gets a page to click on; every other client is sent on as if its user had clicked Connect.
/// `decision=deny` is a click on Cancel.
fn authorize(state: &mut State, request: &Incoming) -> Response {
    let field = |name: &str| request.query.get(name).map(String::as_str).unwrap_or_default();
    let redirect = field("redirect_uri");
    let wrong = if field("client_id") != state.client_id {
        "client_id"
    } else if field("response_type") != "code" {
        "response_type"
    } else if !field("scope").split(' ').any(|scope| scope == SCOPE) {
        "scope"
    } else if field("state").is_empty() {
        "state"
    } else if !(redirect.starts_with("https://") || redirect.starts_with("http://")) {
        "redirect_uri"
    } else {
        ""
    };
    if !wrong.is_empty() {
        let page = format!("<html><head><title>Sorry, but {wrong} is missing or wrong</title></head></html>");
        return Response::new(400, "text/html", page);
    }
    let back = |pairs: &[(&str, &str)]| {
        let mut query = Serializer::new(String::new());
        query.extend_pairs(pairs);
        let mark = if redirect.contains('?') { '&' } else { '?' };
        format!("{redirect}{mark}{}", query.finish())
    };
    if field("decision").is_empty() && request.header("accept").contains("text/html") {
        return Response::new(200, "text/html;charset=utf-8", page(request, &state.realm));
    }
    let to = if field("decision") == "deny" {
        back(&[("error", "access_denied"), ("state", field("state"))])
    } else {
        let code = state.tokens.code(redirect);
        back(&[("code", &code), ("state", field("state")), ("realmId", &state.realm)])
    };
    let mut answer = Response::new(302, "text/html", "");
    answer.headers.push(("Location".to_owned(), to));
    answer
}

fn page(request: &Incoming, realm: &str) -> String {
    let again = |decision: &str| {
        let mut query = Serializer::new(String::new());
        query.extend_pairs(request.query.iter()).append_pair("decision", decision);
        query.finish().replace('&', "&amp;")
    };
    format!(
        "<!doctype html><html><head><title>Connect to QuickBooks (simulated)</title>\
         </head><body>\n<h1>Connect company {realm}?</h1>\n<p><a href=\"?{}\">Connect</a> \
         <a href=\"?{}\">Cancel</a></p></body></html>\n",
        again("allow"),
        again("deny")
    )
}

/// Whether the client says who it is: by Basic, or by its fields in the form.
fn is_client(state: &State, request: &Incoming) -> bool {
    let given = request.header("authorization");
    let Some(basic) = given.strip_prefix("Basic ").or_else(|| given.strip_prefix("basic ")) else {
        let form = request.form();
        return form.get("client_id") == Some(&state.client_id)
            && form.get("client_secret") == Some(&state.client_secret);
    };
    let decoded = base64::engine::general_purpose::STANDARD.decode(basic.trim()).unwrap_or_default();
    let unescape = |text: &str| {
        form_urlencoded::parse(text.as_bytes()).next().map(|(name, _)| name.into_owned()).unwrap_or_default()
    };
    match String::from_utf8_lossy(&decoded).split_once(':') {
        Some((id, secret)) => unescape(id) == state.client_id && unescape(secret) == state.client_secret,
        None => false,
    }
}

fn token(state: &mut State, request: &Incoming) -> Response {
    state.token_requests += 1;
    if !is_client(state, request) {
        return Response::json(401, "{\"error\":\"invalid_client\"}");
    }
    if !request.header("content-type").starts_with("application/x-www-form-urlencoded") {
        return Response::json(400, "{\"error\":\"invalid_request\"}");
    }
    let form = request.form();
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let pair = match field("grant_type") {
        "refresh_token" if field("refresh_token").is_empty() => {
            return Response::json(400, "{\"error\":\"invalid_request\"}");
        }
        "refresh_token" => state.tokens.redeem(field("refresh_token")),
        "authorization_code" => state.tokens.exchange(field("code"), field("redirect_uri")),
        _ => return Response::json(400, "{\"error\":\"unsupported_grant_type\"}"),
    };
    let Some(Pair { access, refresh }) = pair else {
        let description = match field("grant_type") {
            "refresh_token" => "Incorrect or invalid refresh token",
            _ => "Invalid authorization code",
        };
        return Response::json(
            400,
            format!("{{\"error_description\":\"{description}\",\"error\":\"invalid_grant\"}}"),
        );
    };
    let mut hard = "";
    if request.header("x-include-refresh-token-hard-expires-in") == "true" {
        hard = ",\"x_refresh_token_hard_expires_in\":157680000";
    }
    let life = state.tokens.ttl.as_secs();
    let mut answer = Response::json(
        200,
        format!(
            "{{\"token_type\":\"bearer\",\"expires_in\":{life},\"refresh_token\":\"{refresh}\",\
             \"x_refresh_token_expires_in\":8726400{hard},\"access_token\":\"{access}\"}}"
        ),
    );
    answer.headers.push(("Pragma".to_owned(), "no-cache".to_owned()));
    answer
}

fn revoke(state: &mut State, request: &Incoming) -> Response {
    if !is_client(state, request) {
        return Response::json(401, "{\"error\":\"invalid_client\"}");
    }
    let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap_or_default();
    match body.get("token").and_then(serde_json::Value::as_str) {
        Some(token) if state.tokens.is_known(token) => {
            state.tokens.revoke();
            Response::json(200, "")
        }
        _ => Response::json(400, "{\"error\":\"invalid_grant\"}"),
    }
}

fn discovery(request: &Incoming) -> Response {
    let host = format!("{}://{}", if request.tls { "https" } else { "http" }, request.header("host"));
    Response::json(
        200,
        format!(
            "{{\"issuer\":\"{host}/op/v1\",\"authorization_endpoint\":\"{host}/connect/oauth2\",\
             \"token_endpoint\":\"{host}/oauth2/v1/tokens/bearer\",\"revocation_endpoint\":\"{host}/v2/oauth2/tokens/revoke\",\
             \"response_types_supported\":[\"code\"],\"scopes_supported\":[\"{SCOPE}\"],\
             \"token_endpoint_auth_methods_supported\":[\"client_secret_post\",\"client_secret_basic\"]}}"
        ),
    )
}

//! The OAuth2 consent in SQL: `raw.qb_authorize_url`, `raw.qb_authorize`, `raw.qb_disconnect`.

use super::need;
use crate::error::{Error, Result};
use crate::http::oauth;
use crate::pg::errand::{self, Reply, Request};
use crate::pg::raise::Raised;
use crate::pg::{config, launch, line};
use oauth2::url::Url;
use pgrx::prelude::*;

#[pg_extern(sql = false)]
fn qb_authorize_url(redirect_uri: Option<&str>, connection: Option<&str>) -> Raised<String> {
    let redirect_uri = checked_redirect(need(redirect_uri, "redirect_uri")?)?;
    let name = need(connection, "connection")?;
    launch::need_writable()?;
    let connection = config::client(name)?;
    let hosts = line::hosts(&connection)?;
    let (url, state) =
        oauth::consent_url(&hosts.consent, &connection.client_id, redirect_uri).map_err(|problem| {
            Error::Argument {
                argument: "redirect_uri",
                value: problem,
                expected: "one of the redirect URIs of the app in Intuit's developer portal".to_owned(),
            }
        })?;
    config::ask_consent(name, &state, redirect_uri)?;
    Ok(url)
}

/// Intuit compares it, character by character, with those of the app.
fn checked_redirect(text: &str) -> Result<&str> {
    let wrong = || {
        Error::Argument {
        argument: "redirect_uri",
        value: format!("\"{}\"", text.chars().take(200).collect::<String>()),
        expected: "an https address, or http://localhost for a development app; one of the redirect URIs of the app in \
                   Intuit's developer portal"
            .to_owned(),
    }
    };
    let url = Url::parse(text).map_err(|_| wrong())?;
    let local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    let safe = url.scheme() == "https" || (url.scheme() == "http" && local);
    let bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    if safe && bare && text.trim() == text { Ok(text) } else { Err(wrong()) }
}

#[pg_extern(sql = false)]
fn qb_authorize(callback_url: Option<&str>) -> Raised<String> {
    let callback = read(need(callback_url, "callback_url")?)?;
    launch::need_writable()?;
    let request = Request::Exchange { code: callback.code, state: callback.state, realm: callback.realm };
    Ok(done(&request)?)
}

#[pg_extern(sql = false)]
fn qb_disconnect(connection: Option<&str>) -> Raised<String> {
    let connection = need(connection, "connection")?;
    launch::need_writable()?;
    Ok(done(&Request::Revoke { connection: connection.to_owned() })?)
}

fn done(request: &Request) -> Result<String> {
    match errand::ask(errand::here(), request, None)? {
        Reply::Done(line) => Ok(line),
        _ => Err(Error::NoAnswer),
    }
}

/// What the address says that a browser was sent back to.
struct Callback {
    code: String,
    state: String,
    realm: String,
}

/// Longest value that is taken for one; Intuit's are far shorter.
const LONGEST: usize = 4_096;

/// Reads the address, or only what stands behind its question mark. No part of it is ever repeated: it holds the code.
fn read(text: &str) -> Result<Callback> {
    let wrong = |problem: &str| Error::Consent {
        problem: problem.to_owned(),
        hint: Some("Paste the whole address that the browser was sent back to, from https:// on.".to_owned()),
    };
    let text = text.trim();
    let query = match Url::parse(text) {
        Ok(url) => url.query().unwrap_or_default().to_owned(),
        Err(_) => text.rsplit('?').next().unwrap_or_default().to_owned(),
    };
    let mut callback = Callback { code: String::new(), state: String::new(), realm: String::new() };
    let mut refused = None;
    for (name, value) in oauth2::url::form_urlencoded::parse(query.as_bytes()) {
        let slot = match name.as_ref() {
            "code" => &mut callback.code,
            "state" => &mut callback.state,
            "realmId" => &mut callback.realm,
            "error" => {
                refused = Some(value.into_owned());
                continue;
            }
            _ => continue,
        };
        if !slot.is_empty() {
            return Err(wrong("a part of the address stands in it twice"));
        }
        *slot = value.into_owned();
    }
    if refused.as_deref() == Some("access_denied") {
        return Err(Error::Consent {
            problem: "whoever was asked clicked on Cancel".to_owned(),
            hint: Some("Open a new URL from raw.qb_authorize_url and click on Connect.".to_owned()),
        });
    }
    if refused.is_some() {
        return Err(Error::Consent {
            problem: "Intuit says that there was an error".to_owned(),
            hint: Some("Is the app's scope accounting? Open a new URL from raw.qb_authorize_url.".to_owned()),
        });
    }
    let sane = |value: &str| {
        !value.is_empty() && value.len() <= LONGEST && value.bytes().all(|b| b.is_ascii_graphic())
    };
    for (name, value) in [("code", &callback.code), ("state", &callback.state)] {
        if !sane(value) {
            return Err(wrong(&format!("the address has no {name}")));
        }
    }
    let digits = callback.realm.bytes().all(|b| b.is_ascii_digit());
    if callback.realm.is_empty() || callback.realm.len() > 20 || !digits {
        return Err(wrong("the address has no realmId"));
    }
    Ok(callback)
}

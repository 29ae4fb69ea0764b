//! The OAuth2 consent in SQL: `raw.qb_authorize_url`, `raw.qb_authorize`, `raw.qb_disconnect`.

use super::need;
use crate::error::{Error, Result};
use crate::http::{callback, oauth};
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
        oauth::consent_url(&hosts.consent, &connection.client.id, redirect_uri).map_err(|problem| {
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
    let callback = callback::read(need(callback_url, "callback_url")?)?;
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

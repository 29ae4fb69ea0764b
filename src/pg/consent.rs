//! The consent of a company: redeeming the code it came back with, and giving the authorization back. Both are errands.

use super::config::{self, Connection};
use super::guc;
use super::latch::{self, Hold};
use super::line;
use super::lock::{self, Lock};
use super::spi;
use super::time;
use crate::domain::secret::{Redactor, Secret};
use crate::domain::token::{Grant, TokenAnswer};
use crate::error::{Error, Result};
use crate::http::agent;
use crate::http::oauth;
use std::time::{Duration, Instant};

/// How long the token lock is waited for: as long as a renewal may take.
const LOCK_WAIT: Duration = Duration::from_secs(60);

/// How long a granted token is tried to be stored.
const SAVE_WAIT: Duration = Duration::from_secs(60);
const SAVE_PAUSE: Duration = Duration::from_millis(250);

/// Redeems the code of a consent and stores realm and tokens. A line that says so. Errors: `Consent`, with why it cannot be.
pub fn exchange(code: &str, state: &str, realm: &str) -> Result<String> {
    let asked = spi::transaction(|| config::consent(state))?.ok_or_else(|| Error::Consent {
        problem: "its state was not given out by raw.qb_authorize_url, or is older than an hour, or was used already".to_owned(),
        hint: Some("Open a new URL from raw.qb_authorize_url; it works once.".to_owned()),
    })?;
    let connection = spi::transaction(|| config::client(&asked.connection))?;
    let own = connection.realm.as_str();
    if !own.is_empty() && own != realm {
        return Err(Error::Consent {
            problem: format!("it is for company {realm}, but connection \"{}\" is company {own}", connection.name),
            hint: Some(
                "Choose that company on Intuit's page, or make a connection with another name for the other one; before \
                 anything is loaded, raw.qb_connect(realm_id => '...') puts it right."
                    .to_owned(),
            ),
        });
    }
    if let Some(other) = spi::transaction(|| config::of_realm(realm, &connection))? {
        return Err(Error::Consent {
            problem: format!("company {realm} is connected already, as \"{other}\""),
            hint: Some(format!(
                "Renew that one: SELECT raw.qb_authorize_url(redirect_uri => '...', connection => '{other}');"
            )),
        });
    }
    with_token_lock(&connection, || {
        if !spi::interruptible(|| config::use_up(connection.id, state))? {
            return Err(Error::Consent {
                problem: "it was used by another session just now".to_owned(),
                hint: None,
            });
        }
        // From here on the code is spent: what it brings must be stored before anything may interrupt.
        let hold = Hold::begin();
        let answer = redeem(&connection, code, &asked.redirect_uri);
        match answer {
            TokenAnswer::Granted(grant) => {
                save(&connection, realm, &grant, hold)?;
                Ok(format!("connection {} is authorized for company {realm}", connection.name))
            }
            refused => {
                drop(hold);
                Err(not_granted(&connection, refused))
            }
        }
    })
}

/// Gives the authorization back to Intuit and forgets the tokens.
pub fn revoke(name: &str) -> Result<String> {
    let connection = spi::transaction(|| config::client(name))?;
    with_token_lock(&connection, || {
        let stored = spi::transaction(|| config::tokens(connection.id))?;
        let Some(refresh) = stored.and_then(|(stored, _)| stored.refresh) else {
            return Ok(format!("connection {name} has no authorization to give back"));
        };
        let hosts = line::hosts(&connection)?;
        let agent = agent::agent(&guc::http(), &hosts)?;
        let (id, secret, token) =
            (connection.client.id.clone(), connection.client.secret.clone(), refresh.clone());
        let base = hosts.revoke.clone();
        let outcome = latch::call(move || oauth::revoke(&agent, &base, &id, &secret, &token))
            .unwrap_or_else(|| Err("the call did not return".to_owned()));
        if let Err(message) = outcome {
            let message = Redactor::new(&[&connection.client.secret, &refresh]).scrub(&message);
            return Err(Error::NotRevoked { connection: name.to_owned(), message });
        }
        spi::transaction(|| config::forget(connection.id))?;
        Ok(format!("connection {name} is disconnected: Intuit revoked its tokens, and they are deleted here"))
    })
}

fn with_token_lock<T>(connection: &Connection, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let until = Instant::now() + LOCK_WAIT;
    while !spi::transaction(|| lock::try_take(Lock::Token, connection.id))? {
        if Instant::now() > until {
            return Err(Error::Database {
                sqlstate: "55P03".to_owned(),
                message: "another session has been renewing the token for a minute".to_owned(),
                detail: None,
                hint: Some("Try it again.".to_owned()),
            });
        }
        latch::wait(Duration::from_millis(150));
    }
    let outcome = work();
    spi::transaction(|| lock::release(Lock::Token, connection.id))?;
    outcome
}

fn redeem(connection: &Connection, code: &str, redirect_uri: &str) -> TokenAnswer {
    let prepared = line::hosts(connection).and_then(|hosts| Ok((agent::agent(&guc::http(), &hosts)?, hosts)));
    let (agent, hosts) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return TokenAnswer::Unknown { message: error.to_string() },
    };
    let (id, secret) = (connection.client.id.clone(), connection.client.secret.clone());
    let (code, redirect) = (Secret::new(code), redirect_uri.to_owned());
    let redactor = Redactor::new(&[&connection.client.secret, &code]);
    let exchanged = code.clone();
    let answer =
        latch::call(move || oauth::exchange(&agent, &hosts.oauth, &id, &secret, &exchanged, &redirect));
    answer
        .unwrap_or(TokenAnswer::Unknown { message: "the call did not return".to_owned() })
        .scrubbed(&redactor)
}

/// Stores a grant; a lock or a full disk may pass. Who is told to end meanwhile is held back for some seconds only.
fn save(connection: &Connection, realm: &str, grant: &Grant, mut hold: Hold) -> Result<()> {
    hold.limit();
    let mut hold = Some(hold);
    let until = Instant::now() + SAVE_WAIT;
    loop {
        match spi::transaction(|| config::adopt(connection.id, realm, grant, time::now())) {
            Ok(true) => return Ok(()),
            Ok(false) => return Err(Error::unknown_connection(&connection.name)),
            Err(error) if Instant::now() > until => return Err(error),
            Err(_) => {
                hold = hold.filter(|hold| !hold.is_over_after(SAVE_PAUSE));
                latch::wait(SAVE_PAUSE);
            }
        }
    }
}

fn not_granted(connection: &Connection, answer: TokenAnswer) -> Error {
    let (problem, hint) = match answer {
        TokenAnswer::InvalidClient { description } => (
            format!(
                "Intuit refuses the client id or secret of connection \"{}\" ({description})",
                connection.name
            ),
            "Set them again with raw.qb_connect(client_id => '...', client_secret => '...'), then open a new URL.",
        ),
        TokenAnswer::InvalidGrant { description } => (
            format!("Intuit refuses the code ({description})"),
            "A code works once and only for some minutes. Open a new URL from raw.qb_authorize_url.",
        ),
        TokenAnswer::Unknown { message } => (
            format!("Intuit did not answer as it should ({message})"),
            "The code may be spent. Open a new URL from raw.qb_authorize_url.",
        ),
        TokenAnswer::Granted(_) => ("Intuit granted nothing".to_owned(), ""),
    };
    Error::Consent { problem, hint: Some(hint.to_owned()) }
}

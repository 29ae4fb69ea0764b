//! Connections: what `raw.qb_config` holds, and the only statements that write a token.

use super::spi::{self, Row};
use super::statement::Statement;
use super::time;
use crate::domain::secret::Secret;
use crate::domain::token::{Grant, Saved, Stored};
use crate::error::{Error, Result};
use crate::http::agent::Environment;
use chrono::{DateTime, Utc};
use pgrx::prelude::*;

/// One company with its credentials and the schema of its tables.
pub struct Connection {
    pub name: String,
    pub id: i32,
    pub realm: String,
    pub environment: Environment,
    pub client: Client,
    pub schema: String,
}

/// How the app shows itself to the OAuth service.
#[derive(Clone)]
pub struct Client {
    pub id: String,
    pub secret: Secret,
}

/// What a caller of `qb_backfill` needs to know of a connection; nothing secret.
pub struct Summary {
    pub id: i32,
    pub page_size: i32,
    /// The first credential that is not set.
    pub missing: Option<String>,
    /// `ok`, or what keeps QuickBooks from answering.
    pub auth_state: String,
}

/// Looks a connection up by name. Error: `UnknownConnection`.
pub fn summary(name: &str) -> Result<Summary> {
    let statement = Statement::fixed(
        "SELECT c.connection_id, c.page_size,
                CASE WHEN c.realm_id IS NULL THEN 'realm_id' WHEN c.client_id IS NULL THEN 'client_id'
                     WHEN c.client_secret IS NULL THEN 'client_secret'
                     WHEN c.refresh_token IS NULL THEN 'refresh_token' END, c.auth_state
           FROM raw.qb_config c WHERE c.connection OPERATOR(pg_catalog.=) $1",
    );
    spi::read_one(&statement, &[name.into()], |row| {
        Ok(Summary {
            id: row.need(1)?,
            page_size: row.need(2)?,
            missing: row.get(3)?,
            auth_state: row.need(4)?,
        })
    })?
    .ok_or_else(|| Error::unknown_connection(name))
}

/// Loads a connection to work on it. Errors: `UnknownConnection`, `NotConfigured`.
pub fn load(name: &str) -> Result<Connection> {
    if let Some(missing) = summary(name)?.missing {
        return Err(Error::NotConfigured { connection: name.to_owned(), missing });
    }
    let statement = Statement::fixed(
        "SELECT c.connection_id, c.realm_id, c.environment, c.client_id, c.client_secret, c.target_schema::text
           FROM raw.qb_config c WHERE c.connection OPERATOR(pg_catalog.=) $1",
    );
    spi::read_one(&statement, &[name.into()], |row| {
        Ok(Connection {
            name: name.to_owned(),
            id: row.need(1)?,
            realm: row.need(2)?,
            environment: environment(&row.need::<String>(3)?),
            client: Client { id: row.need(4)?, secret: Secret::new(row.need::<String>(5)?) },
            schema: row.need(6)?,
        })
    })?
    .ok_or_else(|| Error::unknown_connection(name))
}

/// Loads what the OAuth service wants to know of a connection; one that was never authorized has an empty realm. Errors:
/// `UnknownConnection`, `NotConfigured`.
pub fn client(name: &str) -> Result<Connection> {
    let statement = Statement::fixed(
        "SELECT c.connection_id, coalesce(c.realm_id, ''), c.environment, c.client_id, c.client_secret, c.target_schema::text
           FROM raw.qb_config c WHERE c.connection OPERATOR(pg_catalog.=) $1",
    );
    let found = spi::read_one(&statement, &[name.into()], |row| {
        let missing =
            |what: &str| Error::NotConfigured { connection: name.to_owned(), missing: what.to_owned() };
        Ok(Connection {
            name: name.to_owned(),
            id: row.need(1)?,
            realm: row.need(2)?,
            environment: environment(&row.need::<String>(3)?),
            client: Client {
                id: row.get(4)?.ok_or_else(|| missing("client_id"))?,
                secret: row.get::<String>(5)?.map(Secret::new).ok_or_else(|| missing("client_secret"))?,
            },
            schema: row.need(6)?,
        })
    })?;
    found.ok_or_else(|| Error::unknown_connection(name))
}

fn environment(text: &str) -> Environment {
    if text == "sandbox" { Environment::Sandbox } else { Environment::Production }
}

/// A consent that was asked for.
pub struct Consent {
    pub connection: String,
    pub redirect_uri: String,
}

/// The consent that carries this state; None: there is none, or its hour is over.
pub fn consent(state: &str) -> Result<Option<Consent>> {
    let statement = Statement::fixed(
        "SELECT c.connection, c.consent_redirect_uri FROM raw.qb_config c
          WHERE c.consent_state OPERATOR(pg_catalog.=) pg_catalog.sha256(pg_catalog.convert_to($1, 'UTF8'))
            AND c.consent_expires_at OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp()",
    );
    spi::read_one(&statement, &[state.into()], |row| {
        Ok(Consent { connection: row.need(1)?, redirect_uri: row.need(2)? })
    })
}

/// Remembers that consent is asked for: of the state only what proves it.
pub fn ask_consent(name: &str, state: &str, redirect_uri: &str) -> Result<()> {
    let statement = Statement::fixed(
        "UPDATE raw.qb_config AS c
            SET consent_state = pg_catalog.sha256(pg_catalog.convert_to($2, 'UTF8')), consent_redirect_uri = $3,
                consent_expires_at = pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) '1 hour'::interval
          WHERE c.connection OPERATOR(pg_catalog.=) $1",
    );
    spi::run(&statement, &[name.into(), state.into(), redirect_uri.into()]).map(|_| ())
}

/// Uses a state up, durably; false: somebody else did.
pub fn use_up(connection: i32, state: &str) -> Result<bool> {
    durable()?;
    let statement = Statement::fixed(
        "UPDATE raw.qb_config AS c SET consent_state = NULL, consent_redirect_uri = NULL, consent_expires_at = NULL
          WHERE c.connection_id OPERATOR(pg_catalog.=) $1
            AND c.consent_state OPERATOR(pg_catalog.=) pg_catalog.sha256(pg_catalog.convert_to($2, 'UTF8'))
         RETURNING c.connection_id",
    );
    Ok(!spi::write(&statement, &[connection.into(), state.into()], |row| row.need::<i32>(1))?.is_empty())
}

/// Another connection that has this company.
pub fn of_realm(realm: &str, but: &Connection) -> Result<Option<String>> {
    let statement = Statement::fixed(
        "SELECT c.connection FROM raw.qb_config c
          WHERE c.realm_id OPERATOR(pg_catalog.=) $1 AND c.connection_id OPERATOR(pg_catalog.<>) $2
            AND c.environment OPERATOR(pg_catalog.=) (SELECT o.environment FROM raw.qb_config o WHERE o.connection_id OPERATOR(pg_catalog.=) $2)",
    );
    spi::read_one(&statement, &[realm.into(), but.id.into()], |row| row.need(1))
}

/// Stores what a consent brought; false: the connection is gone. Waits for no lock, as `save`.
pub fn adopt(connection: i32, realm: &str, grant: &Grant, now: DateTime<Utc>) -> Result<bool> {
    durable()?;
    spi::run(&Statement::fixed("LOCK TABLE raw.qb_config IN ROW EXCLUSIVE MODE NOWAIT"), &[])?;
    let lock = Statement::fixed(
        "SELECT 1 FROM raw.qb_config c WHERE c.connection_id OPERATOR(pg_catalog.=) $1 FOR UPDATE NOWAIT",
    );
    spi::write(&lock, &[connection.into()], |_| Ok(()))?;
    let statement = Statement::fixed(
        "UPDATE raw.qb_config AS c
            SET realm_id = $2, access_token = $3, access_expires_at = $4, refresh_token = coalesce($5, c.refresh_token),
                refresh_expires_at = $6, refresh_hard_expires_at = $7,
                token_generation = c.token_generation OPERATOR(pg_catalog.+) 1, auth_state = 'ok', refresh_started_at = NULL,
                refreshed_at = pg_catalog.clock_timestamp(), last_error = NULL, last_intuit_tid = NULL
          WHERE c.connection_id OPERATOR(pg_catalog.=) $1",
    );
    let args = [
        connection.into(),
        realm.into(),
        grant.access.expose().into(),
        after(now, grant.expires_in).into(),
        grant.refresh.as_ref().map(|token| token.expose()).into(),
        grant.refresh_expires_in.and_then(|life| after(now, life)).into(),
        grant.refresh_hard_expires_in.and_then(|life| after(now, life)).into(),
    ];
    Ok(spi::run(&statement, &args)? > 0)
}

/// Forgets the tokens after they were given back.
pub fn forget(connection: i32) -> Result<()> {
    durable()?;
    let statement = Statement::fixed(
        "UPDATE raw.qb_config AS c
            SET refresh_token = NULL, access_token = NULL, access_expires_at = NULL, refresh_expires_at = NULL,
                refresh_hard_expires_at = NULL, token_generation = c.token_generation OPERATOR(pg_catalog.+) 1,
                auth_state = 'needs_reauth', last_error = 'disconnected with raw.qb_disconnect'
          WHERE c.connection_id OPERATOR(pg_catalog.=) $1",
    );
    spi::run(&statement, &[connection.into()]).map(|_| ())
}

fn after(now: DateTime<Utc>, lifetime: std::time::Duration) -> Option<TimestampWithTimeZone> {
    chrono::Duration::from_std(lifetime)
        .ok()
        .and_then(|lifetime| now.checked_add_signed(lifetime))
        .and_then(time::to_pg)
}

/// Whether the connection's refresh token wants to be renewed because nobody uses it.
pub fn is_idle(name: &str) -> Result<bool> {
    let statement = Statement::fixed(
        "SELECT raw._qb_token_is_idle(c) FROM raw.qb_config c WHERE c.connection OPERATOR(pg_catalog.=) $1",
    );
    Ok(spi::read_one(&statement, &[name.into()], |row| row.get(1))?.flatten().unwrap_or(false))
}

/// The tokens as they are stored now, with how long the access token is still good, and the client that belongs to them, where
/// it is set. None: the row is gone.
pub fn tokens(connection: i32) -> Result<Option<(Stored, Option<Client>)>> {
    let statement = Statement::fixed(
        "SELECT c.token_generation, c.refresh_token, c.access_token, c.access_expires_at, c.auth_state, c.client_id, c.client_secret
           FROM raw.qb_config c WHERE c.connection_id OPERATOR(pg_catalog.=) $1",
    );
    spi::read_one(&statement, &[connection.into()], |row| {
        let (id, secret) = (row.get::<String>(6)?, row.get::<String>(7)?.map(Secret::new));
        Ok((stored(&row)?, id.zip(secret).map(|(id, secret)| Client { id, secret })))
    })
}

fn stored(row: &Row) -> Result<Stored> {
    let expires = row.get::<TimestampWithTimeZone>(4)?.and_then(time::from_pg);
    let left = expires.map(|at| at - time::now()).and_then(|left| left.to_std().ok());
    Ok(Stored {
        generation: u64::try_from(row.need::<i64>(1)?).unwrap_or(0),
        refresh: row.get::<String>(2)?.map(Secret::new),
        access: row.get::<String>(3)?.map(Secret::new),
        access_left: left,
        auth_state: row.need(5)?,
    })
}

/// Writes the intent before a token is spent: it proves that disk, rights and a synchronous standby take a write now.
pub fn announce(connection: i32) -> Result<()> {
    durable()?;
    let statement = Statement::fixed(
        "UPDATE raw.qb_config AS c SET auth_state = 'refreshing', refresh_started_at = pg_catalog.clock_timestamp()
          WHERE c.connection_id OPERATOR(pg_catalog.=) $1",
    );
    spi::run(&statement, &[connection.into()]).map(|_| ())
}

/// Stores what Intuit granted, if the token it was asked with is still the stored one: whoever changed something else meanwhile
/// did not get another. Waits for no lock, neither of the row nor of the table: while signals are held `lock_timeout` has no
/// effect, for PostgreSQL tells of it by a SIGINT.
pub fn save(connection: i32, used: &Secret, grant: &Grant, now: DateTime<Utc>) -> Result<Saved> {
    durable()?;
    spi::run(&Statement::fixed("LOCK TABLE raw.qb_config IN ROW EXCLUSIVE MODE NOWAIT"), &[])?;
    let lock = Statement::fixed(
        "SELECT c.refresh_token OPERATOR(pg_catalog.=) $2
           FROM raw.qb_config c WHERE c.connection_id OPERATOR(pg_catalog.=) $1 FOR UPDATE SKIP LOCKED",
    );
    let same = spi::write(&lock, &[connection.into(), used.expose().into()], |row| row.get::<bool>(1))?;
    match same.first() {
        None => {
            let there = Statement::fixed(
                "SELECT 1 FROM raw.qb_config c WHERE c.connection_id OPERATOR(pg_catalog.=) $1",
            );
            let exists = spi::read_one(&there, &[connection.into()], |_| Ok(()))?.is_some();
            return Ok(if exists { Saved::NotNow } else { Saved::Superseded });
        }
        Some(Some(true)) => {}
        Some(_) => return Ok(Saved::Superseded),
    }
    let statement = Statement::fixed(
        "UPDATE raw.qb_config AS c
            SET access_token = $2, access_expires_at = $3,
                refresh_token = coalesce($4, c.refresh_token),
                refresh_expires_at = coalesce($5, c.refresh_expires_at),
                refresh_hard_expires_at = coalesce($6, c.refresh_hard_expires_at),
                token_generation = c.token_generation OPERATOR(pg_catalog.+) 1,
                auth_state = 'ok', refresh_started_at = NULL, refreshed_at = pg_catalog.clock_timestamp(),
                last_error = NULL, last_intuit_tid = NULL
          WHERE c.connection_id OPERATOR(pg_catalog.=) $1",
    );
    let args = [
        connection.into(),
        grant.access.expose().into(),
        after(now, grant.expires_in).into(),
        grant.refresh.as_ref().map(|token| token.expose()).into(),
        grant.refresh_expires_in.and_then(|life| after(now, life)).into(),
        grant.refresh_hard_expires_in.and_then(|life| after(now, life)).into(),
    ];
    spi::run(&statement, &args)?;
    Ok(Saved::Stored)
}

/// Writes down that Intuit refused the credentials of this generation. The token itself stays: an outage can look the same.
pub fn mark(connection: i32, seen: u64, state: &str, message: &str) -> Result<()> {
    durable()?;
    let statement = Statement::fixed(
        "UPDATE raw.qb_config AS c SET auth_state = $3, last_error = $4, refresh_started_at = NULL
          WHERE c.connection_id OPERATOR(pg_catalog.=) $1 AND c.token_generation OPERATOR(pg_catalog.=) $2",
    );
    let generation = i64::try_from(seen).unwrap_or(i64::MAX);
    spi::run(&statement, &[connection.into(), generation.into(), state.into(), message.into()]).map(|_| ())
}

/// A token must survive a crash of the server once it was spent: this transaction waits for its commit to be on disk,
/// whatever the database is set to; a stricter setting is kept.
fn durable() -> Result<()> {
    let statement = Statement::fixed(
        "SELECT pg_catalog.set_config('synchronous_commit', 'on', true)
          WHERE pg_catalog.current_setting('synchronous_commit') OPERATOR(pg_catalog.=) ANY ('{off,local,remote_write}'::text[])",
    );
    spi::read(&statement, &[], |_| Ok(())).map(|_| ())
}

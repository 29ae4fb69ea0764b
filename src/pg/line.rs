//! The line to QuickBooks: what a run, a count and a check share. A connection's threads, its token, its pace and its budget.

use super::config::Connection;
use super::guc;
use super::latch;
use super::spi;
use super::token::Keeper;
use super::usage;
use crate::domain::fetch::Limits;
use crate::domain::pace::Pacer;
use crate::error::{Error, Result};
use crate::http::agent::{self, Hosts};
use crate::http::pool::{Context, Pool};
use pgrx::prelude::*;
use std::cell::RefCell;
use std::path::PathBuf;

/// Pages of a window, at most, and how often a window is read again because records moved.
const PAGE_CAP: u32 = 10_000;
const REREADS: u32 = 3;

/// Intuit's limits for a company, whatever is set: 500 requests a minute, 10 a second.
const INTUIT: (u32, u32) = (500, 10);

thread_local! {
    /// What stops the threads of the line that is open.
    static STOPPER: RefCell<Option<Box<dyn Fn()>>> = const { RefCell::new(None) };
}

/// Sees to it that no request leaves any more when this process ends, however that comes: PostgreSQL then gives back the
/// lock of the connection, and whoever takes it is alone with QuickBooks.
pub fn hang_up_at_exit() {
    // SAFETY: the function lives as long as the library, which is never unloaded. What is registered last runs first, and the
    // connection to the database has been registered before.
    unsafe { pg_sys::before_shmem_exit(Some(hang_up), pg_sys::Datum::from(0_usize)) };
}

#[pg_guard]
extern "C-unwind" fn hang_up(_code: i32, _argument: pg_sys::Datum) {
    STOPPER.with(|stopper| {
        if let Some(stop) = stopper.try_borrow().ok().as_deref().and_then(Option::as_ref) {
            stop();
        }
    });
    point!("worker@ending");
}

/// An open line; one at a time. Dropped, its threads end.
pub struct Line {
    pub pool: Pool,
    pub keeper: Keeper,
}

impl Line {
    /// Opens the line of a connection whose lock the caller holds: so many requests at once, pages of so many
    /// records.
    pub fn open(connection: &Connection, at_once: usize, page_size: u32) -> Result<Line> {
        let settings = guc::http();
        let hosts = hosts(connection)?;
        let agent = agent::agent(&settings, &hosts)?;
        let keeper = Keeper::new(connection, &agent, &hosts);
        let recent = spi::transaction(|| usage::last_pace(&connection.name))?;
        let allowance = spi::transaction(|| usage::allowance(&connection.name))?;
        let context = Context {
            agent,
            api_base: hosts.api.clone(),
            realm: connection.realm.clone(),
            limits: Limits { page_size, backoff: guc::backoff(), page_cap: PAGE_CAP, rereads: REREADS },
            max_body_size: settings.max_body_size,
            spool_dir: spool_dir(),
            secrets: vec![connection.client.secret.clone()],
            allowance,
            wake: latch::waker(),
        };
        let pool = Pool::start(at_once, context, pacer(&hosts), &recent).map_err(Error::NoThread)?;
        STOPPER.set(Some(Box::new(pool.stopper())));
        Ok(Line { pool, keeper })
    }

    /// Gets the threads another token, or tells them why there is none. Whether there is one.
    pub fn renew(&self, refused: Option<u64>, given_up: impl FnMut() -> Result<bool>) -> bool {
        match self.keeper.renew(refused, given_up) {
            Ok(token) => self.pool.give_token(token),
            Err(failure) => {
                self.pool.no_token(*failure);
                return false;
            }
        }
        true
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        STOPPER.set(None);
    }
}

/// Where the services of a connection are.
pub fn hosts(connection: &Connection) -> Result<Hosts> {
    Hosts::new(connection.environment, guc::api_base_url().as_deref(), guc::oauth_base_url().as_deref())
}

fn pacer(hosts: &Hosts) -> Pacer {
    let (minute, second) = guc::pace();
    if hosts.is_intuit() {
        Pacer::new(minute.min(INTUIT.0), second.min(INTUIT.1))
    } else {
        Pacer::new(minute, second)
    }
}

/// The server's own directory for temporary files; a worker's current directory is the data directory.
fn spool_dir() -> PathBuf {
    let dir = PathBuf::from("base/pgsql_tmp");
    if dir.is_dir() || std::fs::create_dir(&dir).is_ok() { dir } else { std::env::temp_dir() }
}

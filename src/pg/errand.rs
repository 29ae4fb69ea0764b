//! Errands: what a session wants done at Intuit's. A session has a transaction open all the time, and what it writes counts
//! only when it commits; a token that is spent must be stored before that, whatever becomes of the session. So a worker goes,
//! and the session waits for its answer.

use super::consent;
use super::count;
use super::launch;
use super::line;
use super::mailbox::Mailbox;
use super::probe;
use super::raise;
use super::session;
use super::worker;
use crate::error::{Error, Result};
use pgrx::bgworkers::BackgroundWorker;
use pgrx::prelude::*;
use serde::{Deserialize, Serialize};
use std::ffi::CStr;
use std::time::{Duration, Instant};

/// What is asked.
#[derive(Serialize, Deserialize)]
pub enum Request {
    /// Whether the extension is in the database; what is left to do there is done.
    Visit,
    /// How many records windows have, in QuickBooks and in the table.
    Count(count::Question),
    /// Whether token and query work.
    Probe { connection: String },
    /// To redeem the code of a consent.
    Exchange { code: String, state: String, realm: String },
    /// To give the authorization of a connection back.
    Revoke { connection: String },
}

/// What is answered.
#[derive(Serialize, Deserialize)]
pub enum Reply {
    Visited { extension: bool },
    Counts(Vec<count::Counts>),
    Probed(probe::Findings),
    Done(String),
    Failed { sqlstate: String, message: String, detail: Option<String>, hint: Option<String> },
}

impl Reply {
    fn failed(error: &Error) -> Self {
        Reply::Failed {
            sqlstate: error.sqlstate().to_owned(),
            message: error.to_string(),
            detail: error.detail(),
            hint: error.hint(),
        }
    }
}

/// Room for an answer without windows, and for each window, in bytes.
const ROOM: usize = 64 * 1024;
const ROOM_FOR_WINDOW: usize = 80;

/// How long a visit waits for a lock.
const VISIT_WAIT: &CStr = c"3s";

/// How often a session looks for its answer.
const LOOK: i64 = 20;

/// Sends a worker to `database` and waits for what it brings back; interruptible. Errors: those of the errand,
/// `NoWorkerSlot`.
pub fn ask(database: pg_sys::Oid, request: &Request, within: Option<Duration>) -> Result<Reply> {
    let windows = if let Request::Count(question) = request { question.windows.len() } else { 0 };
    let question = serde_json::to_string(request).map_err(broken)?;
    let mailbox = Mailbox::new(&question, ROOM + windows * ROOM_FOR_WINDOW)?;
    let worker = launch::errand(database, mailbox.number())?;
    let began = Instant::now();
    loop {
        if let Some(answer) = mailbox.answered() {
            return match serde_json::from_str(&answer).map_err(broken)? {
                Reply::Failed { sqlstate, message, detail, hint } => {
                    Err(Error::Database { sqlstate, message, detail, hint })
                }
                reply => Ok(reply),
            };
        }
        if launch::has_ended(&worker) && mailbox.answered().is_none() {
            return Err(Error::NoAnswer);
        }
        if session::is_stopping() || within.is_some_and(|within| began.elapsed() > within) {
            return Err(Error::NoAnswer);
        }
        // SAFETY: main thread of a backend; an interrupt raises, and the mailbox tells the worker.
        unsafe {
            let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
            pg_sys::WaitLatch(pg_sys::MyLatch, events as i32, LOOK, pg_sys::PG_WAIT_EXTENSION);
            pg_sys::ResetLatch(pg_sys::MyLatch);
        }
        pg_sys::check_for_interrupts!();
    }
}

/// The database of this session.
pub fn here() -> pg_sys::Oid {
    // SAFETY: reads a variable of the session.
    unsafe { pg_sys::MyDatabaseId }
}

fn broken(error: serde_json::Error) -> Error {
    Error::Database {
        sqlstate: "XX000".to_owned(),
        message: ["an errand cannot be read: ", &error.to_string()].concat(),
        detail: None,
        hint: None,
    }
}

/// Entry point; named in `launch`. The argument is the database, the extra text the number of the mailbox.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn qbo_raw_errand_main(database: pg_sys::Datum) {
    session::open(pg_sys::Oid::from(database.value() as u32));
    line::hang_up_at_exit();
    session::show("qbo_raw: on an errand");
    point!("errand@opened");
    let number = BackgroundWorker::get_extra().parse().unwrap_or(0);
    let Some(mailbox) = Mailbox::open(number) else { return };
    let reply = match serde_json::from_str(&mailbox.question()) {
        Ok(request) => {
            if matches!(request, Request::Visit) {
                // The next visit comes soon: those that wait for a lock must not fill the worker slots.
                session::wait_at_most(VISIT_WAIT);
            }
            go(request, &mailbox).unwrap_or_else(|error| Reply::failed(&error))
        }
        Err(error) => Reply::failed(&broken(error)),
    };
    point!("errand@done");
    let text = |reply: &Reply| serde_json::to_string(reply).unwrap_or_default();
    mailbox.answer(&text(&reply), &text(&Reply::failed(&Error::NoAnswer)));
    drop(mailbox);
    point!("errand@answered");
    // While the errand held the connection's lock a run may have been queued whose worker found it taken; and a visit finds
    // what was left behind.
    if let Err(error) = worker::send_another() {
        raise::warning(["qbo_raw worker: ", &error.to_string()].concat(), error.hint().as_deref());
    }
}

fn go(request: Request, mailbox: &Mailbox) -> Result<Reply> {
    let given_up = || Ok(mailbox.is_abandoned());
    Ok(match request {
        Request::Visit => Reply::Visited { extension: worker::extension()?.is_some() },
        Request::Count(question) => Reply::Counts(count::answer(&question, given_up)?),
        Request::Probe { connection } => Reply::Probed(probe::answer(&connection, given_up)?),
        Request::Exchange { code, state, realm } => Reply::Done(consent::exchange(&code, &state, &realm)?),
        Request::Revoke { connection } => Reply::Done(consent::revoke(&connection)?),
    })
}

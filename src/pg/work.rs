//! One run: hands windows to the fetch threads, stores what comes back, answers their wish for a token, and ends when there
//! is nothing left to do or somebody says so. What to do next is decided by `domain::run`; here it is done.

mod begin;
mod verify;

use super::config::Connection;
use super::guc;
use super::latch::{self, Wake};
use super::line::Line;
use super::raise;
use super::report::{self, Attempt};
use super::run::{self, Run, Tally};
use super::session;
use super::spi;
use super::store::{Fetched, Store};
use super::tables;
use super::usage::{self, Outcome};
use crate::domain::fault::{Counters, Failure};
use crate::domain::query::Query;
use crate::domain::run::{Run as Machine, Status};
use crate::domain::window::Window;
use crate::error::{Error, Result, Retry};
use crate::http::pool::{Job, Message, Task};
use chrono::{DateTime, Utc};
use pgrx::prelude::*;
use std::time::{Duration, Instant};
use verify::Count;

/// How often a run looks whether it was cancelled, beside being told.
const LOOK: Duration = Duration::from_secs(1);

/// Takes a claimed run to its end. An error means that it could not even begin, or that its rows could not be written.
pub fn run(id: i64, name: &str) -> Result<()> {
    let mut work = loop {
        match Work::begin(id, name) {
            Err(error) if error.retry() == Retry::Cancelled => {
                if spi::transaction(|| run::is_cancelled(id))? {
                    return spi::transaction(|| run::finish(id, Status::Cancelled.as_str(), None))
                        .map(|_| ());
                }
                explain_cancel(id);
            }
            begun => break begun?,
        }
    };
    let mut status = work.go_on_to_the_end()?;
    if matches!(status, Status::Success | Status::Partial) && work.machine.is_handed_out() {
        work.verify()?;
        if work.is_cancelled()? && status != Status::Success {
            status = Status::Cancelled;
        }
    }
    work.finish(status)
}

struct Work {
    run: Run,
    connection: Connection,
    store: Store,
    line: Line,
    machine: Machine,
    count: Count,
    /// Requests that a window, or a count, has been charged with.
    charged: u64,
    /// The failure that ended the run, where one did.
    last: Option<Error>,
    looked: Instant,
}

impl Work {
    fn go_on_to_the_end(&mut self) -> Result<Status> {
        loop {
            while let Some((index, window)) = self.machine.next_window() {
                let query = Query { entity: self.run.entity, on: self.run.on, window };
                self.line.pool.submit(Job { index, query, task: Task::Fetch });
                point!("window@handed_out");
            }
            if let Some(failure) = self.machine.broken() {
                return Err(failure.into());
            }
            if let Some(status) = self.machine.end() {
                return Ok(status);
            }
            self.ask_early();
            // One message at a time: between two windows stored there is a look at the flag and at the signals.
            match self.line.pool.try_recv() {
                Some(message) => self.hear(message)?,
                None => {
                    self.show();
                    let woken = latch::wait(LOOK);
                    self.look(woken)?;
                }
            }
            self.look_now_and_then()?;
        }
    }

    /// What a fetch thread has to say.
    fn hear(&mut self, message: Message) -> Result<()> {
        match message {
            Message::TokenWanted { generation } => {
                point!("token@wanted");
                let id = self.run.id;
                let cancelled = || spi::transaction(|| run::is_cancelled(id));
                if self.line.renew(generation, cancelled) {
                    point!("token@given");
                } else if self.is_cancelled()? {
                    self.machine.cancel();
                }
                Ok(())
            }
            Message::Answered => {
                self.machine.answered();
                Ok(())
            }
            Message::Counted { count, counters, .. } => self.counted(count, counters),
            Message::Failed { job: Job { task: Task::Count, .. }, failure, .. } => self.uncounted(&failure),
            Message::Failed { job, failure, started_at } => {
                let attempt = self.attempt(job.query.window, started_at, failure.intuit_tid.clone());
                let counts = self.machine.failed(job.index, &failure);
                self.give_up(&attempt, counts, failure.counters, failure.into())
            }
            Message::Fetched { job, mut spool, counters, intuit_tid, started_at } => {
                point!("window@heard");
                let attempt = self.attempt(job.query.window, started_at, intuit_tid);
                self.machine.fetched(job.index);
                let mut fetched = Fetched {
                    attempt: &attempt,
                    spool: &mut spool,
                    counters,
                    execution_date: self.run.execution_date,
                    page_size: self.run.page_size,
                    pace: self.line.pool.recent(),
                };
                let began = Instant::now();
                match self.keep(&mut fetched)? {
                    Ok(tally) => {
                        self.machine.stored(job.index);
                        point!("window@stored");
                        self.charged += u64::from(counters.requests);
                        self.log_window(&attempt, &tally, began.elapsed());
                        Ok(())
                    }
                    Err(error) if error.retry() == Retry::Cancelled => {
                        self.machine.cancel();
                        Ok(())
                    }
                    Err(error) => {
                        let error = error.at_table();
                        self.machine
                            .failed(job.index, &Failure::new(error.code(), "XX000", error.to_string()));
                        self.give_up(&attempt, true, counters, error)
                    }
                }
            }
        }
    }

    fn attempt(&self, window: Window, started_at: DateTime<Utc>, intuit_tid: Option<String>) -> Attempt {
        Attempt { run: self.run.id, number: self.run.attempt, window, started_at, intuit_tid }
    }

    /// Stores a window, with a few more tries for what passes by itself: locks, deadlocks, a full disk, a table that has
    /// to be made again.
    fn keep(&mut self, fetched: &mut Fetched) -> Result<std::result::Result<Tally, Error>> {
        let backoff = guc::backoff();
        let mut tries = 0;
        loop {
            let error = match self.store.window(fetched) {
                Ok(tally) => return Ok(Ok(tally)),
                Err(error) => error,
            };
            let retry = error.retry();
            if retry == Retry::Never || self.is_cancelled()? {
                return Ok(Err(if retry == Retry::Never { error } else { Error::cancelled() }));
            }
            let Some(pause) = backoff.wait(tries, fastrand::f64()) else {
                return Ok(Err(not_cancelled(error)));
            };
            tries += 1;
            let text = format!("qbo_raw: run {} stores a window again: {error}", self.run.id);
            raise::log(guc::log_level(), text);
            match retry {
                Retry::Cancelled => explain_cancel(self.run.id),
                Retry::Tables => {
                    let target = self.store.tables().target.clone();
                    let tables = match spi::interruptible(|| tables::ensure(&target)) {
                        Err(error) if error.retry() == Retry::Cancelled => continue,
                        Err(error) => return Ok(Err(error)),
                        Ok(tables) => tables,
                    };
                    let lost = tables.voided.first().map(|(table, _)| table.clone());
                    let lost = lost.or_else(|| tables.made.then(|| target.data()));
                    self.store = Store::new(tables, &self.connection.name);
                    if let Some(table) = lost {
                        self.lose(Error::TableMade { table })?;
                    } else if self.pause(pause)? {
                        return Ok(Err(Error::cancelled()));
                    }
                }
                _ if self.pause(pause)? => return Ok(Err(Error::cancelled())),
                _ => {}
            }
        }
    }

    /// The table was made again in the middle of the run: what it stored before is to be fetched once more.
    fn lose(&mut self, error: Error) -> Result<()> {
        raise::warning(format!("qbo_raw: run {}: {error}", self.run.id), error.hint().as_deref());
        self.machine.lost();
        self.last = self.last.take().or(Some(error));
        spi::transaction(|| run::lost(self.run.id))
    }

    /// Writes down that a window failed, or was left for later.
    fn give_up(&mut self, attempt: &Attempt, counts: bool, counters: Counters, error: Error) -> Result<()> {
        let tally = Tally::requests(&counters);
        if counts {
            point!("failure@heard");
            let (tables, run) = (self.store.tables(), self.run.id);
            let (name, entity) = (self.connection.name.as_str(), self.run.entity.name);
            self.charged += u64::from(counters.requests);
            let charge = || usage::add(name, entity, Outcome::Error, tally.requests.into());
            let write = || {
                report::write(tables, attempt, &tally, Some(&error))?;
                point!("failure@reported");
                charge()?;
                run::add_failed(run, &tally, &error)?;
                point!("failure@committing");
                Ok(())
            };
            let mut written = spi::transaction(|| {
                report::lock_at_once(tables)?;
                write()
            });
            // Only who has to wait can be cancelled.
            if written.as_ref().is_err_and(|error| error.sqlstate() == "55P03") {
                written = spi::patiently(|| self.is_cancelled(), write);
                if written.as_ref().is_err_and(|error| error.retry() == Retry::Cancelled) {
                    self.machine.cancel();
                }
            }
            point!("failure@written");
            if written.is_err() {
                // The report table cannot be written, or not in time: at least the run says what happened.
                spi::transaction(|| {
                    charge()?;
                    run::add_failed(run, &tally, &error)
                })?;
            }
            let text = format!(
                "qbo_raw: run {} window {} to {} failed after {} requests: {} ({error})",
                self.run.id,
                attempt.window.start.date_naive(),
                attempt.window.end.date_naive(),
                counters.requests,
                error.code()
            );
            raise::log(guc::log_level(), text);
        }
        self.last = self.last.take().or(Some(error));
        Ok(())
    }

    /// Looks at the flag when a signal says so, or when it is time.
    fn look(&mut self, woken: Wake) -> Result<()> {
        if woken == Wake::Cancel {
            if self.is_cancelled()? {
                self.machine.cancel();
            } else {
                explain_cancel(self.run.id);
            }
        }
        Ok(())
    }

    fn look_now_and_then(&mut self) -> Result<()> {
        if latch::take_cancel() {
            self.look(Wake::Cancel)?;
        }
        if self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            if self.is_cancelled()? {
                self.machine.cancel();
            }
        }
        Ok(())
    }

    fn is_cancelled(&self) -> Result<bool> {
        let id = self.run.id;
        spi::transaction(|| run::is_cancelled(id))
    }

    /// Waits between two tries. True: the run was cancelled meanwhile.
    fn pause(&self, pause: Duration) -> Result<bool> {
        let until = Instant::now() + pause;
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            latch::wait(left.min(LOOK));
            if self.is_cancelled()? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn show(&self) {
        session::show(&format!(
            "qbo_raw: run {}, {} of {}",
            self.run.id, self.run.entity.name, self.connection.name
        ));
    }

    fn log_window(&self, attempt: &Attempt, tally: &Tally, took: Duration) {
        let text = format!(
            "qbo_raw: run {} window {} to {}, attempt {}: {} pages, {} rows ({} new, {} updated, {} unchanged, {} rejected), stored in {} ms",
            attempt.run,
            attempt.window.start.date_naive(),
            attempt.window.end.date_naive(),
            attempt.number,
            tally.pages,
            tally.rows,
            tally.inserted,
            tally.updated,
            tally.skipped,
            tally.rejected,
            took.as_millis()
        );
        raise::log(guc::log_level(), text);
    }

    fn finish(self, status: Status) -> Result<()> {
        let (id, name) = (self.run.id, &self.connection.name);
        // A run that has ended asks for nothing any more.
        self.line.pool.stop();
        point!("run@ending");
        let pace = self.line.pool.recent();
        let rest = i64::try_from(self.line.pool.sent().saturating_sub(self.charged)).unwrap_or(0);
        let entity = self.run.entity.name;
        let error = self.last.as_ref().filter(|_| !matches!(status, Status::Success | Status::Cancelled));
        spi::transaction(|| {
            let ours = match status {
                Status::Parked(pause) => run::park(id, pause)?,
                _ => run::finish(id, status.as_str(), error)?,
            };
            if !ours {
                return Ok(());
            }
            usage::add(name, entity, Outcome::Abandoned, rest)?;
            usage::keep_pace(name, &pace)?;
            point!("run@finishing");
            Ok(())
        })?;
        point!("run@finished");
        let totals = spi::transaction(|| run::totals(id))?.unwrap_or_default();
        let text = match status {
            Status::Parked(pause) => {
                format!("qbo_raw: run {id} waits for {} s, as QuickBooks asked", pause.as_secs())
            }
            _ => format!("qbo_raw: run {id} ends as {}: {totals}", status.as_str()),
        };
        raise::log(PgLogLevel::LOG, text);
        if let Some(error) = error {
            let text = format!("qbo_raw: run {id} of {}: {error}", self.run.entity.name);
            raise::warning(text, error.hint().as_deref());
        }
        Ok(())
    }
}

/// `pg_cancel_backend` interrupts a statement, no more: who wants the run to end says which one.
fn explain_cancel(run: i64) {
    let hint = ["To end it: SELECT raw.qb_cancel(", &run.to_string(), ");"].concat();
    raise::warning(format!("qbo_raw: run {run} was interrupted and goes on"), Some(&hint));
}

/// A statement that was interrupted again and again is an error of its window, not the end of the run.
fn not_cancelled(error: Error) -> Error {
    match error {
        Error::Database { sqlstate, message, detail, hint } if sqlstate == "57014" => {
            Error::Database { sqlstate: "57000".to_owned(), message, detail, hint }
        }
        other => other,
    }
}

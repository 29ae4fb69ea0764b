//! One run: hands windows to the fetch threads, stores what comes back, answers their wish for a token, and ends when there
//! is nothing left to do or somebody says so. What to do next is decided by `domain::run`; here it is done.

use super::config::{self, Connection};
use super::guc;
use super::latch::{self, Wake};
use super::raise;
use super::report::{self, Attempt};
use super::run::{self, Run, Tally};
use super::session;
use super::spi;
use super::statement::Target;
use super::store::{Fetched, Store};
use super::tables;
use super::time;
use super::token::Keeper;
use crate::domain::fault::Failure;
use crate::domain::query::Query;
use crate::domain::run::{End, Run as Machine, Stop};
use crate::domain::window::Window;
use crate::error::{Error, Result};
use crate::http::pool::{Job, Message, Pool};
use pgrx::prelude::*;
use std::time::Duration;

/// How often a run looks whether it was cancelled, beside being told.
const LOOK: Duration = Duration::from_secs(1);

/// Takes a claimed run to its end. An error means that it could not even begin.
pub fn run(id: i64, name: &str) -> Result<()> {
    let mut work = Work::begin(id, name)?;
    let end = work.to_its_end()?;
    work.pool.stop();
    work.finish(&end)
}

struct Work {
    run: Run,
    connection: Connection,
    store: Store,
    keeper: Keeper,
    pool: Pool,
    machine: Machine,
    lanes: usize,
    rows: i64,
}

impl Work {
    fn begin(id: i64, name: &str) -> Result<Work> {
        let connection = spi::transaction(|| config::load(name))?;
        let run = spi::transaction(|| run::load(id))?;
        let target = Target::new(&connection.schema, run.entity);
        let tables = spi::transaction(|| tables::ensure(&target))?;
        let stored = spi::transaction(|| report::stored(&tables, id))?;
        let recent = spi::transaction(|| run::last_pace(name))?;
        let todo: Vec<Window> = run.range.windows().filter(|window| !stored.contains(&window.start)).collect();

        raise::log(
            PgLogLevel::LOG,
            format!(
                "qbo_raw: run {id} starts: {} of {name}, {} of {} windows to do, attempt {}",
                run.entity.name,
                todo.len(),
                run.range.len(),
                run.attempt
            ),
        );
        let lanes = guc::fetch_threads();
        let keeper = Keeper::new(&connection)?;
        let pool = keeper.pool(&connection, run.page_size, lanes, &recent)?;
        let machine = Machine::new(todo, lanes);
        Ok(Work { run, store: Store::new(tables, name), connection, keeper, pool, machine, lanes, rows: 0 })
    }

    fn to_its_end(&mut self) -> Result<End> {
        loop {
            while let Some(message) = self.pool.try_recv() {
                self.hear(message)?;
            }
            while let Some((index, window)) = self.machine.next() {
                let query = Query { entity: self.run.entity, on: self.run.on, window };
                self.pool.submit(Job { index, query });
            }
            if let Some(end) = self.machine.end() {
                return Ok(end);
            }
            self.show();
            let woken = latch::wait(LOOK);
            self.look(woken)?;
        }
    }

    /// What a fetch thread has to say.
    fn hear(&mut self, message: Message) -> Result<()> {
        match message {
            Message::Page { .. } => Ok(()),
            Message::TokenWanted { generation } => match self.keeper.renew(generation) {
                Ok(token) => {
                    self.pool.give_token(token);
                    Ok(())
                }
                Err(failure) => {
                    self.pool.no_token(failure);
                    Ok(())
                }
            },
            Message::Failed { index, failure, started_at, window } => {
                let attempt = self.attempt(window, started_at, failure.intuit_tid.clone());
                self.machine.failed(index, &failure);
                self.write_failed(&attempt, &failure)
            }
            Message::Fetched { index, mut spool, counters, last_tid, started_at, window } => {
                let attempt = self.attempt(window, started_at, last_tid);
                self.machine.fetched(index);
                let mut fetched = Fetched {
                    attempt: &attempt,
                    spool: &mut spool,
                    counters,
                    execution_date: self.run.execution_date,
                    pace: self.pool.recent(),
                };
                match self.keep(&mut fetched)? {
                    Ok(tally) => {
                        self.machine.stored(index);
                        self.rows += tally.rows;
                        self.log_window(&attempt, &tally);
                        Ok(())
                    }
                    Err(failure) => {
                        self.machine.failed(index, &failure);
                        self.write_failed(&attempt, &failure)
                    }
                }
            }
        }
    }
}

impl Work {
    fn attempt(&self, window: Window, started_at: DateTime<Utc>, intuit_tid: Option<String>) -> Attempt {
        Attempt { run: self.run.id, number: self.run.attempt, window, started_at, intuit_tid }
    }

    /// Stores a window, with a few more tries for what passes by itself: locks, deadlocks, a full disk.
    fn keep(&mut self, fetched: &mut Fetched) -> Result<std::result::Result<Tally, Error>> {
        let backoff = guc::backoff();
        let mut tries = 0;
        loop {
            let error = match self.store.window(fetched) {
                Ok(tally) => return Ok(Ok(tally)),
                Err(error) => error,
            };
            match error.retry() {
                Retry::Never => return Ok(Err(error)),
                // Somebody cancelled the statement. If it was not qb_cancel, the window is stored again.
                Retry::Cancelled => {
                    if self.cancelled()? {
                        return Ok(Err(error));
                    }
                    self.explain_cancel();
                }
                // A table went away under us: it is made again, and the window stored into it.
                Retry::Tables => {
                    self.store = Store::new(spi::transaction(|| tables::ensure(&self.store.tables().target))?, &self.connection.name);
                }
                Retry::Later => {}
            }
            let Some(pause) = backoff.wait(tries, fastrand::f64()) else { return Ok(Err(error)) };
            tries += 1;
            raise::log(guc::log_level(), format!("qbo_raw: run {} tries to store a window again: {error}", self.run.id));
            if self.pause(pause)? {
                return Ok(Err(error));
            }
        }
    }
}

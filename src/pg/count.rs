//! Counting windows, in QuickBooks and in the table: the errand behind `qb_verify` and `qb_plan`.

use super::config::{self, Connection};
use super::guc;
use super::held;
use super::latch;
use super::line::Line;
use super::lock::{self, Lock};
use super::run;
use super::spi;
use super::statement::Target;
use super::tables;
use super::usage::{self, Outcome};
use crate::domain::entity::Entity;
use crate::domain::query::Query;
use crate::domain::window::{Window, WindowOn};
use crate::error::{Error, Result};
use crate::http::pool::{Job, Message, Task};
use chrono::DateTime;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// Which windows to count. Times are seconds of the Unix epoch.
#[derive(Serialize, Deserialize, Clone)]
pub struct Question {
    pub connection: String,
    pub entity: String,
    pub window_on: String,
    pub windows: Vec<(i64, i64)>,
    /// Whether the table is to be counted too.
    pub stored: bool,
}

/// What a window has.
#[derive(Serialize, Deserialize, Clone, Copy)]
pub struct Counts {
    pub source: i64,
    pub stored: i64,
}

/// Counts. Errors: `Busy`, when somebody works on the connection; what QuickBooks says.
pub fn answer(question: &Question, given_up: impl Fn() -> Result<bool>) -> Result<Vec<Counts>> {
    let connection = spi::transaction(|| config::load(&question.connection))?;
    let entity = Entity::find(&question.entity)?;
    let on = WindowOn::parse(&question.window_on)?;
    let windows: Vec<Window> = question.windows.iter().filter_map(|window| read(*window)).collect();
    let source = alone(&connection, || {
        let line = Line::open(&connection, guc::fetch_threads(), 1)?;
        ask(&line, &connection, entity, on, &windows, &given_up)
    })?;
    let stored =
        if question.stored { stored(&connection, entity, &windows, on)? } else { vec![0; source.len()] };
    Ok(source.into_iter().zip(stored).map(|(source, stored)| Counts { source, stored }).collect())
}

fn read((start, end): (i64, i64)) -> Option<Window> {
    Some(Window { start: DateTime::from_timestamp(start, 0)?, end: DateTime::from_timestamp(end, 0)? })
}

/// How long a connection is waited for that no run works on: whose run has just ended keeps it for another moment.
const MOMENT: Duration = Duration::from_secs(2);

/// Does something while nobody else works on the connection. Error: `Busy`.
pub fn alone<T>(connection: &Connection, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let began = Instant::now();
    while !spi::transaction(|| lock::try_take(Lock::Connection, connection.id))? {
        let run_id = spi::transaction(|| run::at_work(&connection.name))?;
        if run_id.is_some() || began.elapsed() > MOMENT {
            return Err(Error::Busy { connection: connection.name.clone(), run_id });
        }
        latch::wait(Duration::from_millis(20));
    }
    let outcome = work();
    spi::transaction(|| lock::release(Lock::Connection, connection.id))?;
    outcome
}

/// Counts in QuickBooks. The first window goes alone: wrong credentials shall cost one request.
fn ask(
    line: &Line,
    connection: &Connection,
    entity: &'static Entity,
    on: WindowOn,
    windows: &[Window],
    given_up: &impl Fn() -> Result<bool>,
) -> Result<Vec<i64>> {
    let submit = |index: usize, window: &Window| {
        line.pool.submit(Job { index, query: Query { entity, on, window: *window }, task: Task::Count });
    };
    let mut counts = vec![0; windows.len()];
    let mut left = windows.len();
    if let Some(first) = windows.first() {
        submit(0, first);
    }
    let outcome = loop {
        if left == 0 {
            break Ok(());
        }
        match line.pool.try_recv() {
            Some(Message::Counted { job, count, .. }) => {
                if left == windows.len() {
                    windows.iter().enumerate().skip(1).for_each(|(index, window)| submit(index, window));
                }
                left -= 1;
                if let Some(slot) = counts.get_mut(job.index) {
                    *slot = i64::try_from(count).unwrap_or(i64::MAX);
                }
            }
            Some(Message::Failed { failure, .. }) => break Err(failure.into()),
            Some(Message::TokenWanted { generation }) => {
                line.renew(generation, given_up);
            }
            Some(Message::Fetched { .. } | Message::Answered) => {}
            None => {
                latch::wait(Duration::from_secs(1));
                if given_up()? {
                    break Err(Error::cancelled());
                }
            }
        }
    };
    let (sent, pace) = (i64::try_from(line.pool.sent()).unwrap_or(i64::MAX), line.pool.recent());
    spi::transaction(|| {
        usage::add(&connection.name, entity.name, Outcome::Count, sent)?;
        usage::keep_pace(&connection.name, &pace)
    })?;
    outcome.map(|()| counts)
}

/// Counts in the table; a table that was never made holds nothing.
fn stored(
    connection: &Connection,
    entity: &'static Entity,
    windows: &[Window],
    on: WindowOn,
) -> Result<Vec<i64>> {
    let target = Target::new(&connection.schema, entity);
    spi::interruptible(|| match tables::find(&target)? {
        Some(tables) => held::count(&tables, &connection.name, windows, on),
        None => Ok(vec![0; windows.len()]),
    })
}

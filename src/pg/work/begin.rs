//! The beginning of a run: its connection, its tables, and which of its windows are left.

use super::{Count, Work};
use crate::domain::run::Run as Machine;
use crate::domain::window::Window;
use crate::error::{Error, Result};
use crate::pg::line::Line;
use crate::pg::statement::Target;
use crate::pg::store::Store;
use crate::pg::{config, guc, raise, report, run, spi, tables};
use pgrx::prelude::*;
use std::time::Instant;

impl Work {
    /// Prepares a claimed run. Error: what keeps it from beginning, or 57014 when it was interrupted.
    pub(super) fn begin(id: i64, name: &str) -> Result<Work> {
        // One that was left behind may have been cancelled long ago.
        if spi::transaction(|| run::is_cancelled(id))? {
            return Err(Error::cancelled());
        }
        let connection = spi::transaction(|| config::load(name))?;
        let run = spi::transaction(|| run::load(id))?;
        let target = Target::new(&connection.schema, run.entity);
        point!("run@loaded");
        let tables = spi::interruptible(|| {
            let tables = tables::ensure(&target)?;
            point!("tables@making");
            Ok(tables)
        })?;
        point!("tables@made");
        let stored = spi::interruptible(|| {
            report::disown(&tables, id, run.attempt, run.has_stored)?;
            report::stored(&tables, id)
        })?;
        let todo: Vec<Window> =
            run.windows.iter().copied().filter(|window| !stored.contains(window)).collect();
        let done = run.windows.len() - todo.len();
        for (table, windows) in &tables.voided {
            let lost = Error::TableMade { table: table.clone() };
            let text = format!("qbo_raw: run {id}: {lost}, {windows} windows");
            raise::warning(text, lost.hint().as_deref());
        }
        spi::transaction(|| run::has_stored(id, done))?;
        let at_once = guc::fetch_threads();
        let text = format!(
            "qbo_raw: run {id} starts: {} of connection {name}, {} of {} windows to do, attempt {}",
            run.entity.name,
            todo.len(),
            run.windows.len(),
            run.attempt
        );
        raise::log(PgLogLevel::LOG, text);

        let line = Line::open(&connection, at_once, run.page_size)?;
        let machine = Machine::new(todo, done, at_once);
        let store = Store::new(tables, name);
        point!("run@begun");
        let (count, looked) = (Count::Open, Instant::now());
        Ok(Work { run, connection, store, line, machine, count, charged: 0, last: None, looked })
    }
}

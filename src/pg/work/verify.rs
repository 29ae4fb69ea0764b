//! The count at the end of a run: what QuickBooks has in the range, beside what the table holds.

use super::{LOOK, Work};
use crate::domain::fault::Counters;
use crate::domain::query::Query;
use crate::domain::run::Status;
use crate::domain::window::Window;
use crate::error::Result;
use crate::http::pool::{Job, Message, Task};
use crate::pg::usage::{self, Outcome};
use crate::pg::{guc, held, latch, raise, run, spi};

impl Work {
    /// Counts the whole range in QuickBooks and in the table, and puts the two side by side. What goes wrong here is no
    /// failure of the run: the numbers stay empty.
    pub(super) fn verify(&mut self) -> Result<()> {
        let (Some(first), Some(last)) = (self.run.windows.first(), self.run.windows.last()) else {
            return Ok(());
        };
        // One COUNT(*) cannot leave out what lies between windows that are apart; that is nothing this run was to fetch.
        if self.run.windows.windows(2).any(|pair| matches!(pair, [a, b] if a.end != b.start)) {
            return Ok(());
        }
        let whole = Window { start: first.start, end: last.end };
        let query = Query { entity: self.run.entity, on: self.run.on, window: whole };
        self.line.pool.submit(Job { index: 0, query, task: Task::Count });
        let source = loop {
            match self.line.pool.try_recv() {
                Some(Message::Counted { count, counters, .. }) => {
                    self.charge_count(counters)?;
                    break count;
                }
                Some(Message::Failed { failure, .. }) => {
                    self.charge_count(failure.counters)?;
                    let text = format!("qbo_raw: run {} could not be verified: {failure}", self.run.id);
                    raise::log(guc::log_level(), text);
                    return Ok(());
                }
                Some(Message::TokenWanted { generation }) => {
                    let id = self.run.id;
                    self.line.renew(generation, || spi::transaction(|| run::is_cancelled(id)));
                }
                Some(Message::Fetched { .. } | Message::Answered) => {}
                None => {
                    latch::wait(LOOK);
                    if self.is_cancelled()? {
                        return Ok(());
                    }
                }
            }
        };
        let (tables, run, on) = (self.store.tables(), self.run.id, self.run.on);
        let name = self.connection.name.as_str();
        let stored = match spi::transaction(|| held::count(tables, name, &[whole], on)) {
            Ok(counts) => counts.first().copied().unwrap_or(0),
            Err(error) => {
                let text = format!("qbo_raw: run {run} could not count what it stored: {error}");
                raise::log(guc::log_level(), text);
                return Ok(());
            }
        };
        let source = i64::try_from(source).unwrap_or(i64::MAX);
        spi::transaction(|| run::verified(run, source, stored))?;
        if source > stored && self.machine.end() == Some(Status::Success) {
            let text = format!(
                "qbo_raw: run {run} of {}: QuickBooks counts {source} records in the range, the table holds {stored}",
                self.run.entity.name
            );
            let hint = format!(
                "SELECT * FROM raw.qb_verify('{}', '{}', '{}') names the windows that differ.",
                self.run.entity.name,
                whole.start.date_naive(),
                (whole.end - chrono::TimeDelta::seconds(1)).date_naive()
            );
            raise::warning(text, Some(&hint));
        }
        Ok(())
    }

    fn charge_count(&mut self, counters: Counters) -> Result<()> {
        self.charged += u64::from(counters.requests);
        let (name, entity) = (self.connection.name.as_str(), self.run.entity.name);
        spi::transaction(|| usage::add(name, entity, Outcome::Count, counters.requests.into()))
    }
}

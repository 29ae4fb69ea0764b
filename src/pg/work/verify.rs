//! The count at the end of a run: what QuickBooks has in the range, beside what the table holds.

use super::{LOOK, Work};
use crate::domain::fault::{Counters, Failure};
use crate::domain::query::Query;
use crate::domain::run::Status;
use crate::domain::window::Window;
use crate::error::Result;
use crate::http::pool::{Job, Task};
use crate::pg::usage::{self, Outcome};
use crate::pg::{guc, held, latch, raise, report, run, spi};

/// What is known of the count at the end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Count {
    /// It was not asked for.
    Open,
    /// A thread asks.
    Asked,
    /// QuickBooks' answer; none when it could not be had.
    Told(Option<u64>),
}

impl Work {
    /// Asks for the count behind the last windows: a thread that would have nothing to do asks, and no time is lost.
    pub(super) fn ask_early(&mut self) {
        if self.count == Count::Open && self.machine.has_room() {
            self.ask();
        }
    }

    fn ask(&mut self) {
        if let Some(window) = self.whole() {
            let query = Query { entity: self.run.entity, on: self.run.on, window };
            self.line.pool.submit(Job { index: 0, query, task: Task::Count });
            self.count = Count::Asked;
            point!("count@asked");
        }
    }

    /// The range of the run, as far as its days were over when it began: what is saved while it reads is not missing. None where
    /// there is no such day, or its windows are apart: one COUNT(*) cannot leave out what lies between them, and that is
    /// nothing this run was to fetch.
    fn whole(&self) -> Option<Window> {
        let windows = &self.run.windows;
        let touch = windows.windows(2).all(|pair| matches!(pair, [a, b] if a.end == b.start));
        let (first, last) = (windows.first()?, windows.last()?);
        let end = last.end.min(self.run.open_from);
        (touch && first.start < end).then_some(Window { start: first.start, end })
    }

    /// Hears the answer.
    pub(super) fn counted(&mut self, count: u64, counters: Counters) -> Result<()> {
        self.count = Count::Told(Some(count));
        point!("count@told");
        self.charge_count(counters)
    }

    /// Hears that there is none.
    pub(super) fn uncounted(&mut self, failure: &Failure) -> Result<()> {
        let text = format!("qbo_raw: run {} could not be verified: {failure}", self.run.id);
        raise::log(guc::log_level(), text);
        self.count = Count::Told(None);
        self.charge_count(failure.counters)
    }

    /// Puts what QuickBooks has in the whole range beside what the table holds. What goes wrong here is no failure of the
    /// run: the numbers stay empty.
    pub(super) fn verify(&mut self) -> Result<()> {
        if self.count == Count::Open {
            self.ask();
        }
        let (Some(whole), Some(source)) = (self.whole(), self.answer()?) else { return Ok(()) };
        let Some(stored) = self.held(whole)? else { return Ok(()) };
        point!("count@held");
        if source <= stored || self.machine.end() != Some(Status::Success) {
            return self.verified(source, stored);
        }
        // Records may have left the range since it was counted: then another count does not find them.
        self.count = Count::Open;
        self.ask();
        match self.answer()? {
            None => self.verified(source, stored),
            Some(source) => {
                self.verified(source, stored)?;
                self.warn(whole, source, stored);
                Ok(())
            }
        }
    }

    /// Waits for the answer. None: there is none, or the run was cancelled.
    fn answer(&mut self) -> Result<Option<i64>> {
        loop {
            match self.count {
                Count::Open => return Ok(None),
                Count::Told(count) => {
                    return Ok(count.map(|count| i64::try_from(count).unwrap_or(i64::MAX)));
                }
                Count::Asked => {}
            }
            match self.line.pool.try_recv() {
                Some(message) => self.hear(message)?,
                None => {
                    latch::wait(LOOK);
                    if self.is_cancelled()? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Records of the range in the table, or what the run has read of it if that is less: the table keeps what QuickBooks has
    /// deleted, which would make up for as many that did not come.
    fn held(&self, whole: Window) -> Result<Option<i64>> {
        let (tables, name) = (self.store.tables(), self.connection.name.as_str());
        let count = || {
            let held = held::count(tables, name, &[whole], self.run.on)?;
            let read = report::rows_before(tables, self.run.id, whole.end)?;
            Ok(held.first().copied().unwrap_or(0).min(read))
        };
        match spi::interruptible(count) {
            Ok(count) => Ok(Some(count)),
            Err(error) => {
                let text = format!("qbo_raw: run {} could not count what it stored: {error}", self.run.id);
                raise::log(guc::log_level(), text);
                Ok(None)
            }
        }
    }

    fn verified(&self, source: i64, stored: i64) -> Result<()> {
        spi::transaction(|| run::verified(self.run.id, source, stored))?;
        point!("count@written");
        Ok(())
    }

    fn warn(&self, whole: Window, source: i64, stored: i64) {
        if source <= stored {
            return;
        }
        let (run, entity) = (self.run.id, self.run.entity.name);
        let text = format!(
            "qbo_raw: run {run} of {entity}: QuickBooks counts {source} records in the range, {stored} of them are stored"
        );
        let hint = format!(
            "SELECT raw.qb_backfill('{entity}', '{}', '{}', window_on => '{}', connection => '{}'); fetches it again, raw.qb_verify counts window by window.",
            whole.start.date_naive(),
            (whole.end - chrono::TimeDelta::seconds(1)).date_naive(),
            self.run.on.as_str(),
            self.connection.name
        );
        raise::warning(text, Some(&hint));
    }

    fn charge_count(&mut self, counters: Counters) -> Result<()> {
        self.charged += u64::from(counters.requests);
        let (name, entity) = (self.connection.name.as_str(), self.run.entity.name);
        spi::transaction(|| usage::add(name, entity, Outcome::Count, counters.requests.into()))
    }
}

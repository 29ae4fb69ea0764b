//! Trying a connection out: its token and one real query. The errand behind `qb_check`.

use super::config;
use super::count::alone;
use super::latch;
use super::line::Line;
use super::spi;
use super::time;
use super::usage::{self, Outcome};
use crate::domain::entity::Entity;
use crate::domain::query::Query;
use crate::domain::window::{Window, WindowOn};
use crate::error::{Error, Result};
use crate::http::pool::{Job, Message, Task};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// What was found.
#[derive(Serialize, Deserialize, Default)]
pub struct Findings {
    /// None: it was not tried, since a run is at work with it.
    pub token: Option<Finding>,
    pub query: Option<Finding>,
    /// Seconds by which this machine's clock is ahead of QuickBooks'.
    pub clock_ahead: Option<i64>,
}

/// Whether something works, and what there is to say about it.
#[derive(Serialize, Deserialize)]
pub struct Finding {
    pub works: bool,
    pub found: String,
    pub hint: Option<String>,
}

impl Finding {
    fn wrong(error: &Error) -> Self {
        Finding { works: false, found: error.to_string(), hint: error.hint() }
    }
}

/// What the query counts: customers of the last year, in one request.
const ENTITY: &str = "customers";

/// Tries. Errors: `UnknownConnection`, `NotConfigured`, `Busy`.
pub fn answer(name: &str, given_up: impl Fn() -> Result<bool>) -> Result<Findings> {
    let connection = spi::transaction(|| config::load(name))?;
    alone(&connection, || {
        let mut findings = Findings::default();
        let line = match Line::open(&connection, 1, 1) {
            Ok(line) => line,
            Err(error) => {
                findings.token = Some(Finding::wrong(&error));
                return Ok(findings);
            }
        };
        match line.keeper.renew(None, &given_up) {
            Ok(token) => {
                let minutes = token.valid_for.as_secs() / 60;
                let found = format!("good for {minutes} minutes");
                findings.token = Some(Finding { works: true, found, hint: None });
                line.pool.give_token(token);
            }
            Err(failure) => {
                findings.token = Some(Finding::wrong(&Error::from(*failure)));
                return Ok(findings);
            }
        }
        let began = Instant::now();
        let now = time::now();
        let window = Window { start: whole(now - TimeDelta::days(365)), end: whole(now) };
        let query = Query { entity: Entity::find(ENTITY)?, on: WindowOn::Updated, window };
        line.pool.submit(Job { index: 0, query, task: Task::Count });
        findings.query = Some(loop {
            match line.pool.try_recv() {
                Some(Message::Counted { count, .. }) => {
                    let found = format!(
                        "{count} customers changed in the last year, {} ms",
                        began.elapsed().as_millis()
                    );
                    break Finding { works: true, found, hint: None };
                }
                Some(Message::Failed { failure, .. }) => break Finding::wrong(&Error::from(failure)),
                Some(Message::TokenWanted { generation }) => {
                    line.renew(generation, &given_up);
                }
                Some(Message::Fetched { .. } | Message::Answered) => {}
                None => {
                    latch::wait(Duration::from_secs(1));
                    if given_up()? {
                        return Err(Error::cancelled());
                    }
                }
            }
        });
        findings.clock_ahead = line.pool.clock_ahead();
        let (sent, pace) = (i64::try_from(line.pool.sent()).unwrap_or(0), line.pool.recent());
        spi::transaction(|| {
            usage::add(name, ENTITY, Outcome::Count, sent)?;
            usage::keep_pace(name, &pace)
        })?;
        Ok(findings)
    })
}

fn whole(time: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp(time.timestamp(), 0).unwrap_or(time)
}

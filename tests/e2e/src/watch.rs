//! Sessions that stay, since to begin one takes longer than most questions. Once the server went away, the next question
//! begins another.

use crate::database::equal;
use crate::{Database, rows, wait_until};
use postgres::Client;
use std::time::Duration;

/// A session that is begun when it is needed.
pub(crate) struct Kept {
    config: postgres::Config,
    client: Option<Client>,
}

impl Kept {
    pub(crate) fn new(config: postgres::Config) -> Self {
        Kept { config, client: None }
    }

    /// The session.
    pub(crate) fn session(&mut self) -> Result<&mut Client, postgres::Error> {
        let client = match self.client.take() {
            Some(client) => client,
            None => self.config.connect(postgres::NoTls)?,
        };
        Ok(self.client.insert(client))
    }

    /// Does something in it; once more in another one, if it was there before and is gone now.
    pub(crate) fn ask<T>(
        &mut self,
        mut question: impl FnMut(&mut Client) -> Result<T, postgres::Error>,
    ) -> Result<T, postgres::Error> {
        let began = self.client.is_none();
        match question(self.session()?) {
            Err(error) if is_gone(&error) => {
                self.client = None;
                if began { Err(error) } else { question(self.session()?) }
            }
            answer => answer,
        }
    }
}

/// Whether the session ended, and not just the statement.
fn is_gone(error: &postgres::Error) -> bool {
    error.is_closed() || error.code().is_none_or(|code| code.code().starts_with("57P"))
}

/// Looks at a database again and again.
pub struct Watch<'a> {
    db: &'a Database<'a>,
    kept: Kept,
}

impl<'a> Watch<'a> {
    pub(crate) fn of(db: &'a Database<'a>) -> Self {
        Watch { db, kept: Kept::new(db.server.config(&db.name, "postgres")) }
    }

    /// The first value of a query, as text.
    pub fn value(&mut self, text: &str) -> String {
        let seen = self.kept.ask(|client| rows(client, text));
        let seen = seen.unwrap_or_else(|error| panic!("{text}: {error:?}"));
        seen.concat().into_iter().next().unwrap_or_default()
    }

    /// The session itself, for more than looking.
    pub fn session(&mut self) -> &mut Client {
        self.kept.session().unwrap()
    }

    /// Waits for a run to end; its status.
    pub fn ended(&mut self, run: i64, at_most: Duration) -> String {
        let status = format!("SELECT status FROM raw.qb_run WHERE run_id = {run}");
        let mut seen = String::new();
        wait_until(&format!("run {run} ends"), at_most, || {
            seen = self.value(&status);
            !["queued", "running"].contains(&seen.as_str())
        });
        seen
    }

    /// The first value of a query, as a number.
    pub fn number(&mut self, text: &str) -> i64 {
        self.value(text).parse().unwrap_or_else(|_| panic!("{text}: no number"))
    }

    /// Checks what must hold after a success: every record of the company is stored, equal as jsonb, and nothing else.
    pub fn check_equal(&mut self, entity: &str, qbo: &str) {
        let db = self.db;
        equal(self.session(), "raw", &db.sim, entity, qbo);
    }
}

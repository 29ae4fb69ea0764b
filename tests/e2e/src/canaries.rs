//! Every test looks for secrets when it is over: what the simulator issued may stand in the config table and nowhere else.

use crate::{Database, rows};
use qbo_sim::TokenEvent;

/// What sessions do, without what other tests have typed into theirs.
const SESSIONS: &str = "(SELECT * FROM pg_stat_activity WHERE datname = current_database() OR backend_type <> 'client backend') AS sessions";

/// Rows of a table that are looked at, at most; a place that leaks does so in its first rows as well.
const ROWS: u32 = 1_000;

impl Database<'_> {
    /// Secrets of the company that were ever used: the client's, and every token.
    pub fn canaries(&self) -> Vec<String> {
        let (_, _, secret, token) = self.sim.credentials();
        let mut found = vec![secret, token];
        found.extend(self.sim.token_log().into_iter().filter_map(|event| match event {
            TokenEvent::Issued(value) | TokenEvent::AccessIssued(value) => Some(value),
            TokenEvent::Redeemed(value) | TokenEvent::Rejected(value) => Some(value),
            TokenEvent::Revoked => None,
        }));
        // Something that short could stand anywhere; a test may well type it.
        found.retain(|value| value.len() > 12);
        found.sort();
        found.dedup();
        found
    }

    /// Places where a secret stands: tables of all schemas, what sessions do, and the server's log.
    pub fn leaks(&self) -> Result<Vec<String>, postgres::Error> {
        let canaries = self.canaries();
        let mut client = self.server.connect(&self.name, "postgres")?;
        // Another session may hold or drop things still; what nobody can read leaks nothing.
        client.batch_execute("SET lock_timeout = '500ms'; SET statement_timeout = '20s'")?;
        let tables = rows(
            &mut client,
            "SELECT c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname !~ '^pg_(catalog|toast|temp)' AND n.nspname NOT IN ('information_schema', 'chk', 'cron')
                AND c.oid IS DISTINCT FROM to_regclass('raw.qb_config')",
        )?;
        let mut found = Vec::new();
        for table in tables.concat().into_iter().chain([SESSIONS.to_owned()]) {
            let find = format!("SELECT string_agg(t::text, ' ') FROM (SELECT * FROM {table} LIMIT {ROWS}) t");
            let text = rows(&mut client, &find).unwrap_or_default().concat().concat();
            found.extend(
                canaries
                    .iter()
                    .filter(|value| text.contains(*value))
                    .map(|value| format!("{value} in {table}")),
            );
        }
        let log = self.said();
        found.extend(
            canaries.iter().filter(|value| log.contains(*value)).map(|value| format!("{value} in the log")),
        );
        Ok(found)
    }

    /// What the server's log says of this database, without the statements that we typed ourselves.
    fn said(&self) -> String {
        let (mut said, mut ours) = (String::new(), false);
        let name = format!(" {} ", self.name);
        for line in self.log().lines() {
            // A line that goes on begins with a tab.
            if !line.starts_with('\t') {
                let typed = line.contains("client backend") && line.contains(" STATEMENT: ");
                ours = line.contains(&name) && !typed;
            }
            if ours {
                said.push_str(line);
                said.push('\n');
            }
        }
        said
    }
}

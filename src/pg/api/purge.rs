//! `raw.qb_purge_reports`: deletes old report rows and runs that say nothing any more about what is covered.

use super::need;
use crate::domain::entity::{Entity, catalogue};
use crate::error::Result;
use crate::pg::raise::Raised;
use crate::pg::statement::{Statement, Target};
use crate::pg::tables::{self, Tables};
use crate::pg::{launch, owner, spi};
use pgrx::prelude::*;

#[pg_extern(sql = false)]
fn qb_purge_before(before: Option<TimestampWithTimeZone>) -> Raised<String> {
    Ok(purge(need(before, "older_than")?)?)
}

fn purge(before: TimestampWithTimeZone) -> Result<String> {
    launch::may_write()?;
    let connections =
        Statement::fixed("SELECT c.connection, c.target_schema::text FROM raw.qb_config c ORDER BY 1");
    let connections =
        spi::read(&connections, &[], |row| Ok((row.need::<String>(1)?, row.need::<String>(2)?)))?;
    let (mut reports, mut runs) = (0, 0);
    for (connection, schema) in &connections {
        for entity in catalogue() {
            if let Some(tables) = tables::find(&Target::new(schema, entity))? {
                reports += purge_reports(&tables, entity, connection, before)?;
                runs += purge_runs(&tables, entity, connection, before)?;
            }
        }
    }
    Ok(format!("{reports} report rows and {runs} runs deleted; what is covered stays as it was"))
}

/// Rows that are the newest of some day stay, however old they are, and so do those of live runs.
fn purge_reports(
    tables: &Tables,
    entity: &Entity,
    connection: &str,
    before: TimestampWithTimeZone,
) -> Result<usize> {
    let old = Statement::on(
        "DELETE FROM %report AS p WHERE p.report_id OPERATOR(pg_catalog.=) ANY (
           SELECT o.report_id FROM %report AS o
            WHERE o.finished_at OPERATOR(pg_catalog.<) $1
              AND NOT EXISTS (SELECT 1 FROM raw.qb_run r WHERE r.run_id OPERATOR(pg_catalog.=) o.run_id
                                                        AND r.status IN ('queued', 'running'))
           EXCEPT SELECT d.report_id FROM raw._qb_days($2, $3, 'updated'::text, NULL::date, NULL::date) AS d
           EXCEPT SELECT d.report_id FROM raw._qb_days($2, $3, 'created'::text, NULL::date, NULL::date) AS d)",
        &tables.target,
    );
    // Code of the owner runs here: a predicate of an index while the statement is planned, a trigger for each row.
    let args = [before.into(), entity.name.into(), connection.into()];
    owner::run_as(tables.report_owner, || spi::run(&old, &args))
}

/// Runs that no report row speaks of any more.
fn purge_runs(
    tables: &Tables,
    entity: &Entity,
    connection: &str,
    before: TimestampWithTimeZone,
) -> Result<usize> {
    let ended = Statement::fixed(
        "SELECT r.run_id FROM raw.qb_run AS r
          WHERE r.connection OPERATOR(pg_catalog.=) $1 AND r.entity OPERATOR(pg_catalog.=) $2
            AND r.finished_at OPERATOR(pg_catalog.<) $3 AND r.status NOT IN ('queued', 'running')",
    );
    let args = [connection.into(), entity.name.into(), before.into()];
    let ended = spi::read(&ended, &args, |row| row.need::<i64>(1))?;
    let unspoken = Statement::on(
        "SELECT u.id FROM pg_catalog.unnest($1::bigint[]) AS u (id)
          WHERE NOT EXISTS (SELECT 1 FROM %report AS p WHERE p.run_id OPERATOR(pg_catalog.=) u.id)",
        &tables.target,
    );
    let unspoken = owner::run_as(tables.report_owner, || {
        spi::read(&unspoken, &[ended.into()], |row| row.need::<i64>(1))
    })?;
    // Somebody may have resumed one meanwhile.
    let delete = Statement::fixed(
        "DELETE FROM raw.qb_run AS r
          WHERE r.run_id OPERATOR(pg_catalog.=) ANY ($1) AND r.status NOT IN ('queued', 'running') RETURNING r.run_id",
    );
    let deleted = spi::write(&delete, &[unspoken.into()], |row| row.get::<i64>(1))?;
    Ok(deleted.len())
}

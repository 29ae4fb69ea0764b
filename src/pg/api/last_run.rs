//! Where the numbers of runs go on: CREATE EXTENSION asks once, before there is any run.

use crate::domain::entity::Entity;
use crate::error::Result;
use crate::pg::raise::Raised;
use crate::pg::statement::{Statement, Target};
use crate::pg::{owner, spi};
use pgrx::prelude::*;

/// The highest run id that a report table names which the worker would use; 0: there is none.
#[pg_extern(sql = false)]
fn qb_last_run() -> Raised<i64> {
    Ok(last_run()?)
}

fn last_run() -> Result<i64> {
    // Which tables these are is what the worker's look at them says (tables.rs).
    let reports = Statement::fixed(
        "SELECT n.nspname::text, pg_catalog.substr(c.relname::text, 17), c.relowner
           FROM pg_catalog.pg_class c
           JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
           JOIN pg_catalog.pg_roles o ON o.oid OPERATOR(pg_catalog.=) c.relowner
           JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) c.oid
          WHERE pg_catalog.starts_with(c.relname::text, 'backfill_report_') AND c.relkind IN ('r', 'p')
            AND a.attname OPERATOR(pg_catalog.=) 'run_id' AND a.atttypid OPERATOR(pg_catalog.=) 'pg_catalog.int8'::pg_catalog.regtype
            AND (o.rolname OPERATOR(pg_catalog.=) 'qbo_raw_owner'
                 OR (NOT o.rolsuper AND pg_catalog.pg_has_role(o.oid, 'qbo_raw_owner', 'MEMBER')))",
    );
    let reports = spi::read(&reports, &[], |row| {
        Ok((row.need::<String>(1)?, row.need::<String>(2)?, row.need::<pg_sys::Oid>(3)?))
    })?;
    let mut last = 0;
    for (schema, name, role) in &reports {
        let Ok(entity) = Entity::find(name) else { continue };
        let highest =
            Statement::on("SELECT pg_catalog.max(r.run_id) FROM %report r", &Target::new(schema, entity));
        let look = || owner::run_as(*role, || spi::read_one(&highest, &[], |row| row.get::<i64>(1)));
        // A table that cannot be read keeps nobody from creating the extension; a run disowns rows with its number.
        if let Ok(found) = spi::subtransaction(look) {
            last = last.max(found.flatten().unwrap_or(0));
        }
    }
    Ok(last)
}

//! The tables of a connection: made when they are absent, checked when they are there. They are ordinary tables that belong
//! to `qbo_raw_owner`, no members of the extension: pg_dump dumps them and DROP EXTENSION leaves them. Tables that an
//! earlier pipeline filled with the same columns are used as they are.

use super::lock::{self, Lock};
use super::owner;
use super::spi;
use super::statement::{Statement, Target};
use crate::domain::entity::catalogue;
use crate::error::{Error, Result};
use pgrx::prelude::*;

/// The tables of an entity, with the role that statements on each run as.
#[derive(Clone)]
pub struct Tables {
    pub target: Target,
    pub data_owner: pg_sys::Oid,
    pub report_owner: pg_sys::Oid,
    /// None: their table is gone.
    pub rejects_owner: Option<pg_sys::Oid>,
    /// Whether the data table is new.
    pub made: bool,
    /// Tables that are new though the report called windows of this entity stored in earlier ones of the name, and so many.
    pub voided: Vec<(String, usize)>,
}

/// A column that must be there, and its type.
type Column = (&'static str, &'static str);

const DATA: &[Column] = &[
    ("id", "text"),
    ("payload", "jsonb"),
    ("ingested_at_utc", "timestamp with time zone"),
    ("extract_window_start_utc", "timestamp with time zone"),
    ("extract_window_end_utc", "timestamp with time zone"),
    ("page_number", "integer"),
    ("page_size", "integer"),
    ("request_payload", "jsonb"),
];

const REPORT: &[Column] = &[
    ("report_id", "bigint"),
    ("run_id", "bigint"),
    ("attempt", "integer"),
    ("window_start", "timestamp with time zone"),
    ("window_end", "timestamp with time zone"),
    ("status", "text"),
    ("row_count", "bigint"),
    ("inserted_count", "bigint"),
    ("updated_count", "bigint"),
    ("skipped_count", "bigint"),
    ("rejected_count", "bigint"),
    ("page_count", "integer"),
    ("request_count", "integer"),
    ("error_code", "text"),
    ("error_message", "text"),
    ("intuit_tid", "text"),
    ("started_at", "timestamp with time zone"),
    ("finished_at", "timestamp with time zone"),
];

const REJECTS: &[Column] = &[
    ("run_id", "bigint"),
    ("connection", "text"),
    ("entity", "text"),
    ("record_id", "text"),
    ("window_start", "timestamp with time zone"),
    ("window_end", "timestamp with time zone"),
    ("page_number", "integer"),
    ("reason", "text"),
    ("raw", "text"),
    ("fingerprint", "text"),
];

const CREATE_DATA: &[&str] = &[
    "CREATE TABLE %data (
       id                       text PRIMARY KEY,
       payload                  jsonb NOT NULL,
       ingested_at_utc          timestamptz NOT NULL,
       extract_window_start_utc timestamptz NOT NULL,
       extract_window_end_utc   timestamptz NOT NULL,
       page_number              int NOT NULL,
       page_size                int NOT NULL,
       request_payload          jsonb NOT NULL)",
    "GRANT SELECT ON %data TO qbo_raw_reader",
    "COMMENT ON TABLE %data IS 'Records of QuickBooks Online as they came, one row a record, its newest version.'",
    "COMMENT ON COLUMN %data.id IS 'Id of the record in its company.'",
    "COMMENT ON COLUMN %data.payload IS 'The record as QuickBooks sent it.'",
    "COMMENT ON COLUMN %data.ingested_at_utc IS 'When this version was stored, or the execution_date of its run.'",
    "COMMENT ON COLUMN %data.extract_window_start_utc IS 'Start of the window it came in, inclusive.'",
    "COMMENT ON COLUMN %data.extract_window_end_utc IS 'End of the window it came in, exclusive.'",
    "COMMENT ON COLUMN %data.page_number IS 'Page of the window, counted from 1.'",
    "COMMENT ON COLUMN %data.page_size IS 'Records a page of the run.'",
    "COMMENT ON COLUMN %data.request_payload IS 'The request that brought it.'",
];

const CREATE_REPORT: &[&str] = &[
    "CREATE TABLE %report (
       report_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
       run_id         bigint NOT NULL,
       attempt        int NOT NULL,
       window_start   timestamptz NOT NULL,
       window_end     timestamptz NOT NULL,
       status         text NOT NULL CHECK (status IN ('success', 'error')),
       row_count      bigint NOT NULL DEFAULT 0,
       inserted_count bigint NOT NULL DEFAULT 0,
       updated_count  bigint NOT NULL DEFAULT 0,
       skipped_count  bigint NOT NULL DEFAULT 0,
       rejected_count bigint NOT NULL DEFAULT 0,
       page_count     int NOT NULL DEFAULT 0,
       request_count  int NOT NULL DEFAULT 0,
       error_code     text,
       error_message  text,
       intuit_tid     text,
       started_at     timestamptz NOT NULL,
       finished_at    timestamptz NOT NULL)",
    "CREATE UNIQUE INDEX ON %report (run_id, window_start, attempt)",
    "CREATE INDEX ON %report (window_start, window_end)",
    "GRANT SELECT ON %report TO qbo_raw_reader",
    "COMMENT ON TABLE %report IS 'What became of each attempt at each window; a success row was committed together with its records.'",
    "COMMENT ON COLUMN %report.report_id IS 'Number of the row.'",
    "COMMENT ON COLUMN %report.run_id IS 'Run, see raw.qb_run.'",
    "COMMENT ON COLUMN %report.attempt IS 'How often a worker had taken the run up.'",
    "COMMENT ON COLUMN %report.window_start IS 'Start of the window, inclusive, UTC.'",
    "COMMENT ON COLUMN %report.window_end IS 'End of the window, exclusive, UTC.'",
    "COMMENT ON COLUMN %report.status IS 'success or error.'",
    "COMMENT ON COLUMN %report.row_count IS 'Records of the window: inserted + updated + skipped + rejected.'",
    "COMMENT ON COLUMN %report.inserted_count IS 'Records that were new.'",
    "COMMENT ON COLUMN %report.updated_count IS 'Records that had changed.'",
    "COMMENT ON COLUMN %report.skipped_count IS 'Records that were stored already, the same or newer.'",
    "COMMENT ON COLUMN %report.rejected_count IS 'Records that went to qb_rejects.'",
    "COMMENT ON COLUMN %report.page_count IS 'Pages received.'",
    "COMMENT ON COLUMN %report.request_count IS 'Requests sent, retries included.'",
    "COMMENT ON COLUMN %report.error_code IS 'What failed, as a word.'",
    "COMMENT ON COLUMN %report.error_message IS 'What failed, in a sentence.'",
    "COMMENT ON COLUMN %report.intuit_tid IS 'Transaction id of the last answer, for Intuit''s support.'",
    "COMMENT ON COLUMN %report.started_at IS 'When the first request was made ready.'",
    "COMMENT ON COLUMN %report.finished_at IS 'When the row was written.'",
];

const CREATE_REJECTS: &[&str] = &[
    "CREATE TABLE %rejects (
       reject_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
       run_id       bigint NOT NULL,
       connection   text NOT NULL,
       entity       text NOT NULL,
       record_id    text,
       window_start timestamptz NOT NULL,
       window_end   timestamptz NOT NULL,
       page_number  int NOT NULL,
       reason       text NOT NULL,
       raw          text,
       fingerprint  text NOT NULL,
       rejected_at  timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
       UNIQUE (connection, entity, fingerprint))",
    "GRANT SELECT ON %rejects TO qbo_raw_reader",
    "COMMENT ON TABLE %rejects IS 'Records that jsonb cannot hold, as text, and records that QuickBooks itself could not deliver.'",
    "COMMENT ON COLUMN %rejects.reject_id IS 'Number of the row.'",
    "COMMENT ON COLUMN %rejects.run_id IS 'Run that first met it, see raw.qb_run.'",
    "COMMENT ON COLUMN %rejects.connection IS 'Connection, see raw.qb_connections.'",
    "COMMENT ON COLUMN %rejects.entity IS 'Entity, see raw.qb_entities.'",
    "COMMENT ON COLUMN %rejects.window_start IS 'Start of the window it came in, inclusive.'",
    "COMMENT ON COLUMN %rejects.window_end IS 'End of the window it came in, exclusive.'",
    "COMMENT ON COLUMN %rejects.page_number IS 'Page of the window, counted from 1.'",
    "COMMENT ON COLUMN %rejects.rejected_at IS 'When the row was written.'",
    "COMMENT ON COLUMN %rejects.record_id IS 'Id of the record, where it has one.'",
    "COMMENT ON COLUMN %rejects.reason IS 'Why it could not be stored.'",
    "COMMENT ON COLUMN %rejects.raw IS 'The record as QuickBooks sent it; NULL when it could not be delivered.'",
    "COMMENT ON COLUMN %rejects.fingerprint IS 'The same reject is kept once.'",
];

/// The tables, where they exist and can be used; None: they were not made yet. Errors: as for `ensure`.
pub fn find(target: &Target) -> Result<Option<Tables>> {
    let data = check(target, &target.data(), DATA)?;
    let report = check(target, &target.report(), REPORT)?;
    let rejects_owner = check(target, &target.rejects(), REJECTS)?;
    Ok(match (data, report) {
        (Some(data_owner), Some(report_owner)) => Some(Tables {
            target: target.clone(),
            data_owner,
            report_owner,
            rejects_owner,
            made: false,
            voided: Vec::new(),
        }),
        _ => None,
    })
}

/// Makes sure that the three tables exist and can be used. Errors: 42501 a table of a stranger, 42809 something that is no
/// table, 42703 or 42804 a column that is missing or of another type, 42P10 no unique key on the id.
pub fn ensure(target: &Target) -> Result<Tables> {
    lock::hold(Lock::Tables, 0)?;
    let (data_owner, made) = ensure_one(target, &target.data(), DATA, CREATE_DATA)?;
    need_key(target, &target.data())?;
    let (report_owner, _) = ensure_one(target, &target.report(), REPORT, CREATE_REPORT)?;
    let (rejects_owner, rejects_made) = ensure_one(target, &target.rejects(), REJECTS, CREATE_REJECTS)?;
    let mut voided = Vec::new();
    if made {
        voided.push((target.data(), void(target, report_owner, target.data(), 0)?));
    }
    if rejects_made {
        voided.push((target.rejects(), void(target, report_owner, target.rejects(), 1)?));
        // It is one table for all entities of the schema.
        for entity in catalogue().iter().filter(|entity| entity.name != target.entity()) {
            let other = Target::new(target.schema(), entity);
            if let Ok(Some(owner)) = check(&other, &other.report(), REPORT) {
                void(&other, owner, other.rejects(), 1)?;
            }
        }
    }
    voided.retain(|(_, windows)| *windows > 0);
    let rejects_owner = Some(rejects_owner);
    Ok(Tables { target: target.clone(), data_owner, report_owner, rejects_owner, made, voided })
}

/// A report speaks of a table that is gone, dropped or renamed: what it calls covered is not in the new one. Windows with so
/// many rejects or more; how many they were.
fn void(target: &Target, owner: pg_sys::Oid, table: String, rejects: i64) -> Result<usize> {
    let statement = Statement::on(
        "UPDATE %report AS r SET status = 'error', error_code = $1, error_message = $2
          WHERE r.status OPERATOR(pg_catalog.=) 'success' AND r.rejected_count OPERATOR(pg_catalog.>=) $3",
        target,
    );
    let lost = Error::TableMade { table };
    let args = [lost.code().into(), lost.to_string().into(), rejects.into()];
    owner::run_as(owner, || spi::run(&statement, &args))
}

/// The role that statements on the table run as, and whether the table had to be made.
fn ensure_one(
    target: &Target,
    table: &str,
    columns: &[Column],
    create: &[&'static str],
) -> Result<(pg_sys::Oid, bool)> {
    if let Some(owner) = check(target, table, columns)? {
        return Ok((owner, false));
    }
    let maker = role("qbo_raw_owner")?;
    let lz4 = columns == DATA && has_lz4()?;
    let make = || {
        for text in create {
            spi::run(&Statement::on(text, target), &[])?;
        }
        if lz4 {
            let compress =
                Statement::on("ALTER TABLE %data ALTER COLUMN payload SET COMPRESSION lz4", target);
            spi::run(&compress, &[])?;
        }
        Ok(())
    };
    owner::with_create(target, || owner::run_as(maker, make))?;
    Ok((maker, true))
}

/// lz4 compresses a record several times faster than pglz; servers built without it refuse the word.
fn has_lz4() -> Result<bool> {
    let statement = Statement::fixed(
        "SELECT 'lz4' OPERATOR(pg_catalog.=) ANY (s.enumvals) FROM pg_catalog.pg_settings s
          WHERE s.name OPERATOR(pg_catalog.=) 'default_toast_compression'",
    );
    Ok(spi::read_one(&statement, &[], |row| row.get(1))?.flatten().unwrap_or(false))
}

/// Looks at a table that exists; the role its statements run as. None: there is none.
fn check(target: &Target, table: &str, columns: &[Column]) -> Result<Option<pg_sys::Oid>> {
    let find = Statement::fixed(
        "SELECT c.oid, c.relkind::text, c.relowner, o.rolname::text,
                o.rolname OPERATOR(pg_catalog.=) 'qbo_raw_owner'
                  OR (NOT o.rolsuper AND pg_catalog.pg_has_role(o.oid, 'qbo_raw_owner', 'MEMBER'))
           FROM pg_catalog.pg_class c
           JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
           JOIN pg_catalog.pg_roles o ON o.oid OPERATOR(pg_catalog.=) c.relowner
          WHERE n.nspname OPERATOR(pg_catalog.=) $1::name AND c.relname OPERATOR(pg_catalog.=) $2::name",
    );
    let found = spi::read_one(&find, &[target.schema().into(), table.into()], |row| {
        let kind: String = row.need(2)?;
        Ok((
            row.need::<pg_sys::Oid>(1)?,
            kind,
            row.need::<pg_sys::Oid>(3)?,
            row.need::<String>(4)?,
            row.need::<bool>(5)?,
        ))
    })?;
    let Some((relation, kind, owner, owner_name, trusted)) = found else { return Ok(None) };
    let name = target.qualified(table);
    if kind != "r" && kind != "p" {
        return Err(Error::NotATable { name });
    }
    if !trusted {
        return Err(Error::ForeignTable { name, owner: owner_name });
    }
    // With quote_all_identifiers the names of types stand in quotes.
    let there = spi::read(
        &Statement::fixed(
            "SELECT a.attname::text, pg_catalog.replace(pg_catalog.format_type(a.atttypid, NULL), pg_catalog.chr(34), '')
               FROM pg_catalog.pg_attribute a
              WHERE a.attrelid OPERATOR(pg_catalog.=) $1 AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped",
        ),
        &[relation.into()],
        |row| Ok((row.need::<String>(1)?, row.need::<String>(2)?)),
    )?;
    for (column, wanted) in columns {
        match there.iter().find(|(name, _)| name == column) {
            None => return Err(Error::MissingColumn { name, column, wanted }),
            Some((_, found)) if found != wanted => {
                return Err(Error::WrongColumn { name, column, wanted, found: found.clone() });
            }
            Some(_) => {}
        }
    }
    Ok(Some(owner))
}

/// The upsert needs a unique index on the id alone.
fn need_key(target: &Target, table: &str) -> Result<()> {
    let statement = Statement::fixed(
        "SELECT 1 FROM pg_catalog.pg_index i
           JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.indrelid
           JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
           JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attname OPERATOR(pg_catalog.=) 'id'
          WHERE n.nspname OPERATOR(pg_catalog.=) $1::name AND c.relname OPERATOR(pg_catalog.=) $2::name
            AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL
            AND i.indnkeyatts OPERATOR(pg_catalog.=) 1 AND i.indkey[0] OPERATOR(pg_catalog.=) a.attnum",
    );
    match spi::read_one(&statement, &[target.schema().into(), table.into()], |_| Ok(()))? {
        Some(()) => Ok(()),
        None => Err(Error::NoKey { name: target.qualified(table) }),
    }
}

/// The role with this name.
fn role(name: &str) -> Result<pg_sys::Oid> {
    let statement = Statement::fixed(
        "SELECT o.oid FROM pg_catalog.pg_roles o WHERE o.rolname OPERATOR(pg_catalog.=) $1::name",
    );
    spi::read_one(&statement, &[name.into()], |row| row.need(1))?
        .ok_or_else(|| Error::MissingRole { role: name.to_owned() })
}

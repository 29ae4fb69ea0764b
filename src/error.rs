//! Everything that can go wrong, in one enum: SQLSTATE, a word for reports, message, DETAIL, HINT, and whether trying again
//! may help. It knows nothing of PostgreSQL; `pg::raise` turns it into an error there.

use crate::domain::fault::Failure;
use chrono::NaiveDate;
use thiserror::Error as ThisError;

/// The result of anything that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong. Grouped by who can mend it.
#[derive(Debug, ThisError)]
pub enum Error {
    // The caller's arguments.
    #[error("{argument} must not be null")]
    NullArgument { argument: &'static str },
    #[error("unknown entity \"{given}\"")]
    UnknownEntity { given: String, nearest: Option<&'static str> },
    #[error("{argument} is {value}")]
    Argument { argument: &'static str, value: String, expected: String },
    #[error("end_date {end} is before start_date {start}")]
    EndBeforeStart { start: NaiveDate, end: NaiveDate },
    #[error("the range makes {count} windows, at most {limit} are allowed")]
    TooManyWindows { count: u64, limit: u64 },
    #[error("connection \"{connection}\" does not exist")]
    UnknownConnection { connection: String },
    #[error("run {run_id} does not exist")]
    UnknownRun { run_id: i64 },

    // The set-up of this server.
    #[error("connection \"{connection}\" has no {missing}")]
    NotConfigured { connection: String, missing: String },
    #[error("qbo_raw is switched off in this server")]
    Disabled,
    #[error("nothing can be written: {}", if *standby { "this server is a standby" } else { "the transaction is read-only" })]
    ReadOnly { standby: bool },
    #[error("raw.qb_wait cannot be called inside a transaction block")]
    InTransaction,
    #[error("no background worker slot is free, the run stays queued")]
    NoWorkerSlot,
    #[error("no background worker slot is free")]
    NoErrandSlot,
    #[error("the worker that was sent to QuickBooks ended without an answer")]
    NoAnswer,
    #[error("connection \"{connection}\" is being worked on")]
    Busy { connection: String, run_id: Option<i64> },
    #[error("run {run_id} is being cancelled")]
    Cancelling { run_id: i64 },
    #[error("the consent cannot be used: {problem}")]
    Consent { problem: String, hint: Option<String> },
    #[error("connection \"{connection}\" is not disconnected: {message}")]
    NotRevoked { connection: String, message: String },
    #[error("role \"{role}\" may not execute raw.qb_backfill any more")]
    NotPermitted { role: String },
    #[error("role \"{role}\" does not exist")]
    MissingRole { role: String },
    #[error("setting {setting} cannot be used: {problem}")]
    Setting { setting: &'static str, problem: String },
    #[error("no thread could be started: {0}")]
    NoThread(std::io::Error),
    #[error("the spool of a window failed: {0}")]
    Spool(#[from] std::io::Error),

    // The tables a run writes to.
    #[error("{name} is no table")]
    NotATable { name: String },
    #[error("table {name} belongs to \"{owner}\"")]
    ForeignTable { name: String, owner: String },
    #[error("table {name} has no column \"{column}\"")]
    MissingColumn { name: String, column: &'static str, wanted: &'static str },
    #[error("column \"{column}\" of table {name} has type {found}")]
    WrongColumn { name: String, column: &'static str, wanted: &'static str, found: String },
    #[error("table {name} has no unique index on id alone")]
    NoKey { name: String },
    #[error("{rows} rows were not written to {table} although nothing failed")]
    SwallowedRows { table: String, rows: i64 },
    #[error("table {table} was gone and is made again: what was stored in it before is not there")]
    TableMade { table: String },
    #[error("the worker of the run ended {times} times in a row before it had stored anything")]
    WorkerLost { times: i32 },

    // QuickBooks.
    #[error("{0}")]
    Fetch(Box<Failure>),

    // PostgreSQL.
    #[error("{message}")]
    Database { sqlstate: String, message: String, detail: Option<String>, hint: Option<String> },
}

/// What to do about an error while a window is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The same would happen again.
    Never,
    /// It passes by itself: a lock, a deadlock, a full disk.
    Later,
    /// A table is gone and has to be made again.
    Tables,
    /// The statement was cancelled.
    Cancelled,
}

impl Error {
    /// A run was cancelled while something was done for it.
    pub fn cancelled() -> Self {
        Error::Database {
            sqlstate: "57014".to_owned(),
            message: "the run was cancelled".to_owned(),
            detail: None,
            hint: None,
        }
    }

    /// There is no connection of that name; what was given may be a text of any length.
    pub fn unknown_connection(name: &str) -> Self {
        Error::UnknownConnection { connection: name.chars().take(60).collect() }
    }

    /// SQLSTATE, five characters.
    pub fn sqlstate(&self) -> &str {
        match self {
            Error::NullArgument { .. } => "22004",
            Error::UnknownEntity { .. }
            | Error::Argument { .. }
            | Error::EndBeforeStart { .. }
            | Error::TooManyWindows { .. }
            | Error::UnknownConnection { .. }
            | Error::UnknownRun { .. }
            | Error::Setting { .. } => "22023",
            Error::NotConfigured { .. } | Error::Disabled | Error::Cancelling { .. } => "55000",
            Error::Busy { .. } => "55006",
            Error::Consent { .. } => "28000",
            Error::NotRevoked { .. } | Error::NoAnswer => "08006",
            Error::ReadOnly { .. } => "25006",
            Error::InTransaction => "25001",
            Error::NoWorkerSlot | Error::NoErrandSlot => "53400",
            Error::NotPermitted { .. } | Error::ForeignTable { .. } => "42501",
            Error::MissingRole { .. } => "42704",
            Error::NoThread(_) => "53000",
            Error::Spool(_) => "58030",
            Error::NotATable { .. } => "42809",
            Error::MissingColumn { .. } => "42703",
            Error::WrongColumn { .. } => "42804",
            Error::NoKey { .. } => "42P10",
            Error::SwallowedRows { .. } => "09000",
            Error::TableMade { .. } => "42P01",
            Error::WorkerLost { .. } => "57P01",
            Error::Fetch(failure) => failure.sqlstate,
            Error::Database { sqlstate, .. } => sqlstate,
        }
    }

    /// A word for report rows and for programs.
    pub fn code(&self) -> String {
        match self {
            Error::NullArgument { .. } => "null_argument",
            Error::UnknownEntity { .. } => "unknown_entity",
            Error::Argument { .. } => "bad_argument",
            Error::EndBeforeStart { .. } => "end_before_start",
            Error::TooManyWindows { .. } => "too_many_windows",
            Error::UnknownConnection { .. } => "unknown_connection",
            Error::UnknownRun { .. } => "unknown_run",
            Error::NotConfigured { .. } => "not_configured",
            Error::Disabled => "disabled",
            Error::ReadOnly { .. } => "read_only",
            Error::InTransaction => "in_transaction",
            Error::NoWorkerSlot | Error::NoErrandSlot => "no_worker_slot",
            Error::NoAnswer => "no_answer",
            Error::Busy { .. } => "busy",
            Error::Cancelling { .. } => "cancelling",
            Error::Consent { .. } => "consent",
            Error::NotRevoked { .. } => "not_revoked",
            Error::NotPermitted { .. } => "permission_denied",
            Error::MissingRole { .. } => "missing_role",
            Error::Setting { .. } => "bad_setting",
            Error::NoThread(_) => "insufficient_resources",
            Error::Spool(_) => "spool_failed",
            Error::NotATable { .. } => "target_is_no_table",
            Error::ForeignTable { .. } => "target_of_a_stranger",
            Error::MissingColumn { .. } | Error::WrongColumn { .. } | Error::NoKey { .. } => {
                "target_incompatible"
            }
            Error::SwallowedRows { .. } => "rows_skipped_by_target",
            Error::TableMade { .. } => "table_made_again",
            Error::WorkerLost { .. } => "worker_lost",
            Error::Fetch(failure) => return failure.code.clone(),
            Error::Database { sqlstate, .. } => match sqlstate.as_str() {
                "42501" => "permission_denied",
                "42703" | "42804" | "42883" | "42P10" | "428C9" => "target_schema_changed",
                "0A000" => "target_unsupported",
                "55P03" => "lock_timeout",
                "57014" => "cancelled",
                state if state.starts_with("23") => "target_constraint",
                state if state.starts_with("P0") => "target_trigger_error",
                state if state.starts_with("53") => "insufficient_resources",
                state => return ["sqlstate_", state].concat(),
            },
        }
        .to_owned()
    }

    /// DETAIL, a sentence.
    pub fn detail(&self) -> Option<String> {
        match self {
            Error::Argument { expected, .. } => Some(format!("It must be {expected}.")),
            Error::UnknownEntity { nearest: None, .. } => None,
            Error::SwallowedRows { .. } => {
                Some("A BEFORE trigger that returns NULL, or a rule, takes rows away silently.".to_owned())
            }
            Error::Database { detail, .. } => detail.clone(),
            _ => None,
        }
    }

    /// HINT, a sentence or a statement to type.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Error::UnknownEntity { nearest: Some(nearest), .. } => format!("Did you mean '{nearest}'?"),
            Error::UnknownEntity { nearest: None, .. } => {
                "SELECT entity FROM raw.qb_entities; lists what can be asked for.".to_owned()
            }
            Error::NullArgument { argument } => null_hint(argument).to_owned(),
            Error::EndBeforeStart { .. } => "Both days belong to the range; for a single day give it twice.".to_owned(),
            Error::TooManyWindows { .. } => "Choose more chunk_days, or a shorter range.".to_owned(),
            Error::NotConfigured { connection, missing } if missing == "refresh_token" || missing == "realm_id" => {
                format!("Authorize it: SELECT raw.qb_authorize_url(redirect_uri => '...', connection => '{connection}');")
            }
            Error::UnknownConnection { .. } => {
                "SELECT connection FROM raw.qb_connections; lists what there is, raw.qb_connect sets one up.".to_owned()
            }
            Error::NotConfigured { connection, missing } => {
                format!("SELECT raw.qb_connect({missing} => '...', connection => '{connection}');")
            }
            Error::UnknownRun { .. } => LAST_RUNS.to_owned(),
            Error::Disabled => {
                "ALTER SYSTEM RESET qbo_raw.enabled; SELECT pg_reload_conf(); or take the line out of postgresql.conf; but not in a restored copy of production: it \
                 would renew, and so take away, production's token."
                    .to_owned()
            }
            Error::ReadOnly { standby: true } => "Call it on the primary.".to_owned(),
            Error::ReadOnly { standby: false } => {
                "Call it in a transaction that may write; SHOW default_transaction_read_only; says whether each is read-only."
                    .to_owned()
            }
            Error::InTransaction => {
                "A run starts when its caller commits: COMMIT, then call it by itself; a driver needs autocommit.".to_owned()
            }
            Error::NoWorkerSlot => {
                "Raise max_worker_processes, or SELECT raw.qb_tick(); when another worker has ended.".to_owned()
            }
            Error::NoErrandSlot => {
                "Raise max_worker_processes, or try it again when another worker has ended.".to_owned()
            }
            Error::NoAnswer => {
                "The server's log says why. Try it again; a consent with a new URL of raw.qb_authorize_url.".to_owned()
            }
            Error::Busy { run_id: Some(run_id), .. } => {
                format!("Run {run_id} is at it; wait with CALL raw.qb_wait({run_id}); and try it again.")
            }
            Error::Busy { run_id: None, .. } => "Another session asks QuickBooks right now; try it again.".to_owned(),
            Error::Cancelling { run_id } => {
                format!("CALL raw.qb_wait({run_id}); ends when it has; then resume it.")
            }
            Error::Consent { hint, .. } => return hint.clone(),
            Error::NotRevoked { .. } => {
                "Its tokens are as they were. Try it again, or disconnect the app in QuickBooks itself.".to_owned()
            }
            Error::NotPermitted { role } => {
                format!("GRANT qbo_raw_operator TO {}; or queue the run as another role.", quoted(role))
            }
            Error::NoThread(_) => {
                "Raise the limit of processes of the server's user, or of its service; then resume the run.".to_owned()
            }
            Error::MissingRole { .. } => "CREATE EXTENSION makes the role; make it again without login.".to_owned(),
            Error::NotATable { .. } => "Rename what is there; the extension makes a table of this name.".to_owned(),
            Error::ForeignTable { name, .. } => format!("ALTER TABLE {name} OWNER TO qbo_raw_owner;"),
            Error::MissingColumn { name, column, wanted } => {
                // Nothing else would number the rows to come.
                let numbered = if *column == "report_id" { " GENERATED ALWAYS AS IDENTITY" } else { "" };
                format!("ALTER TABLE {name} ADD COLUMN {column} {wanted}{numbered}; or rename the table to have a new one made.")
            }
            Error::WrongColumn { wanted, .. } => {
                format!("It must be {wanted}; change it, or rename the table to have a new one made.")
            }
            Error::NoKey { name } => format!("CREATE UNIQUE INDEX ON {name} (id);"),
            Error::WorkerLost { .. } => {
                "The server log says how. Short of memory: a smaller qbo_raw.max_body_size, then raw.qb_resume(run_id); or a new run with a smaller page_size."
                    .to_owned()
            }
            Error::TableMade { .. } => {
                "SELECT raw.qb_retry_failed(entity) fetches again all that it held; a run that is not whole goes on with raw.qb_resume(run_id)."
                    .to_owned()
            }
            Error::Fetch(failure) => return failure.hint.clone(),
            Error::Database { hint, .. } => return hint.clone(),
            Error::SwallowedRows { .. } => {
                "Find the BEFORE trigger on the table that returns NULL; drop it, or let it return NEW.".to_owned()
            }
            Error::Argument { .. } | Error::Setting { .. } | Error::Spool(_) => return None,
        };
        Some(hint)
    }

    /// The same for a statement on a data table, with a hint where PostgreSQL has none, or one about our statement.
    pub fn at_table(self) -> Self {
        let code = self.code();
        let Error::Database { sqlstate, message, detail, hint } = self else { return self };
        let ours = match code.as_str() {
            "target_schema_changed" => {
                "Somebody changed the table while the run worked. The next run names what is missing."
            }
            "target_constraint" => {
                "A constraint on the table itself refuses what QuickBooks sent. Drop it; check in a view instead."
            }
            "target_trigger_error" => {
                "A trigger on the table raised it. Drop it, or let it pass these records."
            }
            "target_unsupported" => {
                "Something on the table, such as a rule, keeps INSERT ... ON CONFLICT from working. Drop it."
            }
            "permission_denied" => "Statements run as the owner of the table: GRANT it the right again.",
            _ => return Error::Database { sqlstate, message, detail, hint },
        };
        // There PostgreSQL proposes to change our statement.
        let about_us = code == "target_schema_changed" || code == "target_unsupported";
        let hint = hint.filter(|_| !about_us).unwrap_or_else(|| ours.to_owned());
        Error::Database { sqlstate, message, detail, hint: Some(hint) }
    }

    /// What to do about it while a window is stored.
    pub fn retry(&self) -> Retry {
        match self {
            Error::Database { sqlstate, .. } => match sqlstate.as_str() {
                "57014" => Retry::Cancelled,
                "42P01" | "3F000" => Retry::Tables,
                // Serialization failure, deadlock, lock_timeout, a server that runs out of something or shuts down.
                "40001" | "40P01" | "55P03" | "55006" => Retry::Later,
                state if state.starts_with("53") || state.starts_with("58") => Retry::Later,
                _ => Retry::Never,
            },
            Error::Spool(_) => Retry::Never,
            _ => Retry::Never,
        }
    }
}

/// A name as SQL takes it.
fn quoted(name: &str) -> String {
    ["\"", &name.replace('"', "\"\""), "\""].concat()
}

const LAST_RUNS: &str = "SELECT run_id, entity, status FROM raw.qb_run ORDER BY run_id DESC LIMIT 10;";

/// What an argument should have been instead of NULL.
fn null_hint(argument: &str) -> &'static str {
    match argument {
        "entity" => "SELECT entity FROM raw.qb_entities; lists what can be asked for.",
        "start_date" | "end_date" => "Both days belong to the range, such as '2025-07-01' and '2025-09-30'.",
        "run_id" => LAST_RUNS,
        "windows" => "Such as ARRAY[tstzrange('2025-08-05Z', '2025-08-12Z')].",
        "redirect_uri" => "It is one of the redirect URIs of the app in Intuit's developer portal.",
        "callback_url" => "Paste the whole address that the browser was sent back to.",
        _ => "Leave the argument out to get its default.",
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Error::Fetch(Box::new(failure))
    }
}

//! qbo_raw: QuickBooks Online into PostgreSQL, from inside the database.
//!
//! The layers, each knowing only those before it:
//!
//! - `error`: one enum for everything that can go wrong, with SQLSTATE and hint
//! - `domain`: what to do next, as pure state machines; no PostgreSQL, no socket, no clock, no thread
//! - `http`: QuickBooks and its OAuth service over HTTPS, on threads that never touch PostgreSQL
//! - `pg`: the shell; SQL functions, settings, tables, the background worker
//!
//! The SQL surface is written by hand in `sql/`, in the order of the numbers.

#[macro_use]
mod point;

pub mod domain;
pub mod error;
pub mod http;
mod pg;

use pgrx::prelude::*;

pgrx::pg_module_magic!(name, version);

extension_sql_file!("../sql/01_foundation.sql", name = "foundation", bootstrap);
extension_sql_file!("../sql/02_config.sql", name = "config", requires = ["foundation"]);
extension_sql_file!("../sql/03_run.sql", name = "run", requires = ["config"]);
extension_sql_file!("../sql/04_functions.sql", name = "functions", requires = ["run"]);
extension_sql_file!("../sql/05_views.sql", name = "views", requires = ["functions"]);
extension_sql_file!("../sql/06_wait.sql", name = "wait", requires = ["views"]);
extension_sql_file!("../sql/07_coverage.sql", name = "coverage", requires = ["wait"]);
extension_sql_file!("../sql/08_verify.sql", name = "verify", requires = ["coverage"]);
extension_sql_file!("../sql/09_schedule.sql", name = "schedule", requires = ["verify"]);
extension_sql_file!("../sql/10_rights.sql", name = "rights", requires = ["schedule"]);
extension_sql_file!("../sql/11_comments.sql", name = "comments", requires = ["rights"]);

/// PostgreSQL calls this when it loads the library, in every session that uses it and in the worker.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    pg::init();
}

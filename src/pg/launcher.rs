//! The launcher, where the library is preloaded. It is connected to no database, so it stands in nobody's way; it sends a
//! worker into each database that has the extension, at once after a start, a crash or a promotion and then every ten
//! seconds, to go on with what was left behind. In between it sleeps.

use super::errand::{self, Reply, Request};
use super::guc;
use super::latch;
use super::session;
use super::spi;
use crate::error::Result;
use pgrx::PgMemoryContexts;
use pgrx::prelude::*;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How often databases with the extension are visited.
const ROUND: Duration = Duration::from_secs(10);

/// How often the others are looked into, to find out whether they have it by now; a new database at once.
const SURVEY: Duration = Duration::from_secs(60);

/// How long a visit may take to answer. A database that is just being dropped lets nobody in.
const VISIT: Duration = Duration::from_secs(10);

/// Entry point; named in `launch`.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn qbo_raw_launcher_main(_nothing: pg_sys::Datum) {
    session::open_without_database();
    // Databases that were visited, and whether they have the extension.
    let mut known = BTreeMap::new();
    let mut surveyed: Option<Instant> = None;
    let mut memory = PgMemoryContexts::new("qbo_raw launcher");
    loop {
        if guc::enabled() {
            let survey = surveyed.is_none_or(|at| at.elapsed() >= SURVEY);
            // SAFETY: what a round leaves behind in PostgreSQL's memory is given back when it is over.
            unsafe {
                memory.switch_to(|_| round(&mut known, survey));
                memory.reset();
            }
            if survey {
                surveyed = Some(Instant::now());
            }
        }
        session::idle();
        let began = Instant::now();
        while let Some(left) = ROUND.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) {
            if session::is_stopping() {
                session::end();
                return;
            }
            latch::wait(left);
        }
    }
}

/// Visits the databases that have the extension, and new ones; with `survey` all of them.
fn round(known: &mut BTreeMap<u32, bool>, survey: bool) {
    let Ok(databases) = spi::transaction(databases) else { return };
    known.retain(|database, _| databases.contains(database));
    for database in databases {
        if !survey && known.get(&database) == Some(&false) {
            continue;
        }
        // No free slot, or a database that goes away just now: the next round comes.
        if let Ok(Reply::Visited { extension }) =
            errand::ask(pg_sys::Oid::from(database), &Request::Visit, Some(VISIT))
        {
            known.insert(database, extension);
        }
    }
}

/// Databases that take connections and are no templates. Read from the shared catalogue: SQL needs a database.
fn databases() -> Result<Vec<u32>> {
    let mut found = Vec::new();
    // SAFETY: inside a transaction; the relation is a shared catalogue with this row type, closed before the end.
    unsafe {
        let relation = pg_sys::table_open(pg_sys::DatabaseRelationId, pg_sys::AccessShareLock as i32);
        let scan = pg_sys::table_beginscan_catalog(relation, 0, std::ptr::null_mut());
        loop {
            let tuple = pg_sys::heap_getnext(scan, pg_sys::ScanDirection::ForwardScanDirection);
            if tuple.is_null() {
                break;
            }
            let row = &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_database>();
            // A negative limit other than -1 marks a database whose DROP was interrupted.
            if row.datallowconn && !row.datistemplate && row.datconnlimit >= -1 {
                found.push(row.oid.to_u32());
            }
        }
        pg_sys::heap_endscan(scan);
        pg_sys::table_close(relation, pg_sys::AccessShareLock as i32);
    }
    Ok(found)
}

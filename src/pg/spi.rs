//! The single door to SQL. Reads keep their transaction read-only (pgrx's shortcuts would assign a transaction id and fail
//! on a standby); writes say so. SQL errors unwind as PostgreSQL's errors do; the worker catches them in `transaction`.

use super::holdoff::uncancelled;
use super::raise;
use super::statement::Statement;
use crate::error::{Error, Result, Retry};
use pgrx::datum::DatumWithOid;
use pgrx::pg_sys::PgOid;
use pgrx::prelude::*;
use pgrx::spi::{OwnedPreparedStatement, SpiClient, SpiError, SpiHeapTupleData, SpiTupleTable};
use pgrx::{FromDatum, IntoDatum};
use std::cell::RefCell;
use std::collections::HashMap;
use std::mem::ManuallyDrop;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;

/// One row of an answer.
pub struct Row<'a>(SpiHeapTupleData<'a>);

impl Row<'_> {
    /// The column at `ordinal`, counted from 1; None is NULL.
    pub fn get<T: IntoDatum + FromDatum>(&self, ordinal: usize) -> Result<Option<T>> {
        self.0.get(ordinal).map_err(misused)
    }

    /// A column that is never NULL.
    pub fn need<T: IntoDatum + FromDatum>(&self, ordinal: usize) -> Result<T> {
        self.get(ordinal)?.ok_or_else(|| Error::Database {
            sqlstate: "XX000".to_owned(),
            message: ["column ", &ordinal.to_string(), " is null"].concat(),
            detail: None,
            hint: None,
        })
    }
}

/// Rows of a statement that changes nothing; sees what the transaction's snapshot sees.
pub fn read<T>(
    statement: &Statement,
    args: &[DatumWithOid],
    map: impl FnMut(Row) -> Result<T>,
) -> Result<Vec<T>> {
    Spi::connect(|client| {
        let table = match plan(client, statement, args)? {
            Some(plan) => client.select(&plan.statement, None, args),
            None => client.select(statement.text(), None, args),
        };
        rows(table.map_err(misused)?, map)
    })
}

/// The first row of such a statement, if there is one.
pub fn read_one<T>(
    statement: &Statement,
    args: &[DatumWithOid],
    map: impl FnMut(Row) -> Result<T>,
) -> Result<Option<T>> {
    Ok(read(statement, args, map)?.into_iter().next())
}

/// Rows that a changing statement returns.
pub fn write<T>(
    statement: &Statement,
    args: &[DatumWithOid],
    map: impl FnMut(Row) -> Result<T>,
) -> Result<Vec<T>> {
    Spi::connect_mut(|client| rows(change(client, statement, args)?, map))
}

/// Runs a changing statement; the number of rows it touched.
pub fn run(statement: &Statement, args: &[DatumWithOid]) -> Result<usize> {
    Spi::connect_mut(|client| Ok(change(client, statement, args)?.len()))
}

fn change<'conn>(
    client: &mut SpiClient<'conn>,
    statement: &Statement,
    args: &[DatumWithOid],
) -> Result<SpiTupleTable<'conn>> {
    let table = match plan(client, statement, args)? {
        Some(plan) => client.update(&plan.statement, None, args),
        None => client.update(statement.text(), None, args),
    };
    table.map_err(misused)
}

/// A statement that was prepared, for parameters of these types.
struct Plan {
    statement: OwnedPreparedStatement,
    types: Vec<pg_sys::Oid>,
}

/// So many are kept: those of the worker itself, and those on the tables of some entities.
const MOST_PLANS: usize = 128;

thread_local! {
    /// Nothing is freed when the process ends: PostgreSQL has put its memory away by then.
    static PLANS: ManuallyDrop<RefCell<HashMap<String, Rc<Plan>>>> = ManuallyDrop::new(RefCell::new(HashMap::new()));
}

/// The worker asks the same few questions for each window, so it has them prepared. PostgreSQL plans them anew when a table
/// changes. A session of somebody else asks once, and keeps nothing of ours.
fn plan(client: &SpiClient, statement: &Statement, args: &[DatumWithOid]) -> Result<Option<Rc<Plan>>> {
    // SAFETY: reads a variable that is set when the process begins.
    if unsafe { pg_sys::MyBgworkerEntry.is_null() } || !statement.is_query() {
        return Ok(None);
    }
    let is_of = |types: &[pg_sys::Oid]| types.iter().copied().eq(args.iter().map(|arg| arg.oid()));
    let kept = PLANS.with(|plans| plans.borrow().get(statement.text()).cloned());
    if let Some(plan) = kept.filter(|plan| is_of(&plan.types)) {
        return Ok(Some(plan));
    }
    let types: Vec<pg_sys::Oid> = args.iter().map(|arg| arg.oid()).collect();
    let oids: Vec<PgOid> = types.iter().copied().map(PgOid::from).collect();
    let prepared = client.prepare(statement.text(), &oids).map_err(misused)?.keep();
    let plan = Rc::new(Plan { statement: prepared, types });
    PLANS.with(|plans| {
        let mut plans = plans.borrow_mut();
        if plans.len() >= MOST_PLANS {
            plans.clear();
        }
        plans.insert(statement.text().to_owned(), plan.clone());
    });
    Ok(Some(plan))
}

fn rows<T>(table: SpiTupleTable, mut map: impl FnMut(Row) -> Result<T>) -> Result<Vec<T>> {
    table.map(|row| map(Row(row))).collect()
}

/// SPI returns an error of its own only when it is used wrongly.
fn misused(error: SpiError) -> Error {
    Error::Database { sqlstate: "XX000".to_owned(), message: error.to_string(), detail: None, hint: None }
}

/// Runs `work` in a transaction of its own and commits it; on any error, of ours, of PostgreSQL or a panic, aborts it and
/// returns the error. For the worker only: a backend is in a transaction already. A cancel waits until it is over: what is
/// written down in a moment is written down, and SIGTERM ends even a wait.
pub fn transaction<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    // `lock_timeout` makes itself known by a SIGINT. Held off like a cancel it would end no wait, and strike the next statement
    // that may be interrupted, long after the lock was had.
    // SAFETY: a variable of the main thread, read when a lock is waited for.
    let limit = unsafe { (&raw mut pg_sys::LockTimeout).replace(0) };
    let outcome = uncancelled(|| interruptible(work));
    // SAFETY: as above.
    unsafe { pg_sys::LockTimeout = limit };
    outcome
}

/// The same for statements that may wait for somebody's lock, for `lock_timeout` at most (55P03). A cancel ends the wait if
/// `given_up` says so, with 57014; whoever interrupts it for something else has it begun anew.
pub fn patiently<T>(
    mut given_up: impl FnMut() -> Result<bool>,
    mut work: impl FnMut() -> Result<T>,
) -> Result<T> {
    loop {
        match interruptible(&mut work) {
            Err(error) if error.retry() == Retry::Cancelled && !given_up()? => {}
            outcome => return outcome,
        }
    }
}

/// The same for statements that may take long: a cancel ends them, with 57014, and `lock_timeout` a wait, with 55P03.
pub fn interruptible<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    // SAFETY: called on the worker's main thread, outside a transaction.
    unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::StartTransactionCommand();
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
    }
    let outcome = PgTryBuilder::new(AssertUnwindSafe(|| {
        let value = work()?;
        // SAFETY: the snapshot pushed above is on top; a commit may still raise, which is caught below.
        unsafe {
            pg_sys::PopActiveSnapshot();
            pg_sys::CommitTransactionCommand();
        }
        Ok(value)
    }))
    .catch_others(|error| Err(raise::caught(error)))
    .execute();
    // SAFETY: still the main thread. After a commit there is no transaction left to abort and nothing happens.
    unsafe {
        if outcome.is_err() {
            pg_sys::AbortCurrentTransaction();
        }
        pg_sys::pgstat_report_stat(false);
    }
    outcome
}

/// Runs `work` in a subtransaction: its error leaves the rest of the transaction as it was.
pub fn subtransaction<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    // SAFETY: inside a transaction of the main thread; context and owner are restored on both ways out, as PL/pgSQL does.
    unsafe {
        let context = pg_sys::CurrentMemoryContext;
        let resources = pg_sys::CurrentResourceOwner;
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        let outcome = PgTryBuilder::new(AssertUnwindSafe(work))
            .catch_others(|error| Err(raise::caught(error)))
            .execute();
        match outcome {
            Ok(_) => pg_sys::ReleaseCurrentSubTransaction(),
            Err(_) => pg_sys::RollbackAndReleaseCurrentSubTransaction(),
        }
        pg_sys::CurrentMemoryContext = context;
        pg_sys::CurrentResourceOwner = resources;
        outcome
    }
}

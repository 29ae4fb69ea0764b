//! Advisory locks: who works on what. A lock goes away with its holder, after a crash, a restart or a promotion, where a row
//! would go on saying "running". The two-key form is used: the first key says what kind of lock, the second which one.

use super::spi;
use super::statement::Statement;
use crate::error::Result;

/// What a lock stands for; the number is the first key, as seen in `pg_locks.classid`.
#[derive(Clone, Copy)]
#[repr(i32)]
pub enum Lock {
    /// Working on a connection; key: its `connection_id`.
    Connection = 0x7162_6f01,
    /// Renewing the token of a connection; key: its `connection_id`.
    Token = 0x7162_6f02,
    /// One of the places of `qbo_raw.max_workers`; key: the number of the place.
    Place = 0x7162_6f03,
    /// Held, shared, by whoever commits a new run; a worker that is about to leave takes it alone and then looks once more.
    Queue = 0x7162_6f04,
    /// Creating tables; `CREATE TABLE IF NOT EXISTS` alone fails when two do it at once.
    Tables = 0x7162_6f05,
    /// Queueing named windows of a connection; key: its `connection_id`.
    Ask = 0x7162_6f06,
}

/// Takes the lock for the session, if it is free.
pub fn try_take(lock: Lock, key: i32) -> Result<bool> {
    ask("SELECT pg_catalog.pg_try_advisory_lock($1, $2)", lock, key)
}

/// Gives a lock of the session back.
pub fn release(lock: Lock, key: i32) -> Result<bool> {
    ask("SELECT pg_catalog.pg_advisory_unlock($1, $2)", lock, key)
}

/// Whether nobody holds the lock alone. One statement: a cancel between taking and giving back would leave it with a session.
pub fn is_free(lock: Lock, key: i32) -> Result<bool> {
    let look = "SELECT CASE WHEN pg_catalog.pg_try_advisory_lock_shared($1, $2)
                            THEN pg_catalog.pg_advisory_unlock_shared($1, $2) ELSE false END";
    ask(look, lock, key)
}

/// Keys of the locks of a kind that somebody holds alone, each with the process that does. A key below zero, which is none of
/// ours, shows as a large one.
fn holders(lock: Lock) -> Result<Vec<(i64, i32)>> {
    let find = Statement::fixed(
        "SELECT l.objid::int8, l.pid FROM pg_catalog.pg_locks l
          WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory' AND l.objsubid OPERATOR(pg_catalog.=) 2 AND l.granted
            AND l.database OPERATOR(pg_catalog.=) (SELECT d.oid FROM pg_catalog.pg_database d
                                                    WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
            AND l.classid OPERATOR(pg_catalog.=) $1::oid AND l.mode OPERATOR(pg_catalog.=) 'ExclusiveLock'",
    );
    spi::read(&find, &[(lock as i32).into()], |row| Ok((row.need(1)?, row.need(2)?)))
}

/// How many of the places from 1 to `most` nobody has.
pub fn free_places(most: i32) -> Result<usize> {
    let taken = holders(Lock::Place)?;
    Ok((1..=i64::from(most)).filter(|place| !taken.iter().any(|(key, _)| key == place)).count())
}

/// Process that holds the lock alone.
pub fn holder(lock: Lock, key: i32) -> Result<Option<i32>> {
    Ok(holders(lock)?.into_iter().find(|(held, _)| *held == i64::from(key)).map(|(_, pid)| pid))
}

/// Waits for the lock and keeps it to the end of the transaction.
pub fn hold(lock: Lock, key: i32) -> Result<()> {
    wait("SELECT pg_catalog.pg_advisory_xact_lock($1, $2)", lock, key)
}

/// The same beside others who hold it shared.
pub fn hold_shared(lock: Lock, key: i32) -> Result<()> {
    wait("SELECT pg_catalog.pg_advisory_xact_lock_shared($1, $2)", lock, key)
}

fn ask(text: &'static str, lock: Lock, key: i32) -> Result<bool> {
    let yes = spi::read_one(&Statement::fixed(text), &[(lock as i32).into(), key.into()], |row| row.need(1))?;
    Ok(yes.unwrap_or(false))
}

fn wait(text: &'static str, lock: Lock, key: i32) -> Result<()> {
    spi::read(&Statement::fixed(text), &[(lock as i32).into(), key.into()], |_| Ok(())).map(|_| ())
}

//! `raw.qb_resume`: a run that ended before it was whole goes on. `raw.qb_backfill_windows`: a run for windows named one by
//! one, which is what `qb_retry_failed` and `qb_fill_gaps` come down to.

use super::{allowed_page_size, checked_page_size, joined, need, queued};
use crate::domain::entity::Entity;
use crate::domain::window::{self, WindowOn};
use crate::error::{Error, Result};
use crate::pg::queue::{self, Named, Queued};
use crate::pg::raise::{self, Raised};
use crate::pg::statement::Statement;
use crate::pg::{config, launch, run, spi, time};
use pgrx::datum::AnyArray;
use pgrx::prelude::*;

#[pg_extern(sql = false)]
fn qb_resume(run_id: Option<i64>) -> Raised<i64> {
    Ok(resume(need(run_id, "run_id")?)?)
}

fn resume(id: i64) -> Result<i64> {
    launch::need_writable()?;
    let found = queue::find(id)?;
    let known = configured(&found.connection)?;
    let say = |text: &str| raise::notice(["run ", &id.to_string(), text].concat(), None);
    match found.status.as_str() {
        "running" if found.cancelling => return Err(Error::Cancelling { run_id: id }),
        "queued" => say(" is queued already"),
        "running" => say(" is running already"),
        "success" => {
            say(" is whole already: nothing is left to do");
            return Ok(id);
        }
        _ => {
            if let Some(twin) = found.twin {
                joined(twin, "");
                return Ok(twin);
            }
            queue::again(id)?;
            say(&format!(" goes on: {} of {} windows are left", found.left, found.total));
        }
    }
    // A run that lost its worker gets another one.
    launch::at_commit(known.id);
    Ok(id)
}

#[pg_extern(sql = false)]
fn qb_backfill_windows(
    entity: Option<&str>,
    windows: Option<AnyArray>,
    page_size: Option<i32>,
    window_on: Option<&str>,
    connection: Option<&str>,
) -> Raised<i64> {
    let entity = Entity::find(need(entity, "entity")?)?;
    let windows = need(windows, "windows")?;
    let page_size = checked_page_size(need(page_size, "page_size")?)?;
    let window_on = WindowOn::parse(need(window_on, "window_on")?)?;
    let connection = need(connection, "connection")?;
    launch::need_writable()?;
    let known = configured(connection)?;
    // SAFETY: the declared type of the argument is tstzrange[].
    let array = unsafe { pgrx::datum::DatumWithOid::new(windows, windows.oid()) };
    let cut = Statement::fixed(
        "SELECT pg_catalog.lower(w), pg_catalog.upper(w), pg_catalog.lower_inc(w) AND NOT pg_catalog.upper_inc(w), w::text
           FROM pg_catalog.unnest($1::tstzrange[]) AS w",
    );
    let windows = spi::read(&cut, &[array], |row| {
        let window = run::window(&row)?;
        match row.need::<bool>(3)? {
            true => Ok(window),
            false => Err(Error::Argument {
                argument: "windows",
                value: row.need(4)?,
                expected: "windows that include their start and exclude their end: '[from, to)'".to_owned(),
            }),
        }
    })?;
    let windows = window::listed(windows, time::now().date_naive())?;
    let asked = Named {
        entity,
        windows: &windows,
        page_size: allowed_page_size(page_size, connection, &known),
        window_on,
        connection,
        connection_id: known.id,
    };
    let id = match queue::named(&asked)? {
        Queued::Busy { id } => {
            // It may have failed there already, and does not try again.
            raise::notice(
                format!("run {id} is in these days now: nothing is queued"),
                Some("What it leaves undone is queued by the same call when it has ended."),
            );
            id
        }
        Queued::New { id, windows, busy } => {
            let others =
                busy.map(|run| format!("; run {run} is in the days of the others now")).unwrap_or_default();
            queued(id, entity.name, windows, &others);
            id
        }
    };
    launch::at_commit(known.id);
    Ok(id)
}

/// The connection, with all that a run needs. What is known to end as blocked may be queued, with a WARNING: a person may
/// mend it meanwhile.
pub fn configured(connection: &str) -> Result<config::Summary> {
    let known = config::summary(connection)?;
    if let Some(missing) = known.missing {
        return Err(Error::NotConfigured { connection: connection.to_owned(), missing });
    }
    let mend = match known.auth_state.as_str() {
        "needs_reauth" => format!(
            "SELECT raw.qb_authorize_url(redirect_uri => '...', connection => '{connection}'); then resume the run."
        ),
        "bad_client" => format!(
            "SELECT raw.qb_connect(client_id => '...', client_secret => '...', connection => '{connection}'); then resume the run."
        ),
        _ => return Ok(known),
    };
    let state = &known.auth_state;
    raise::warning(
        format!(
            "connection \"{connection}\" has auth_state {state}: the run will end as blocked_auth unless that is mended first"
        ),
        Some(&mend),
    );
    Ok(known)
}

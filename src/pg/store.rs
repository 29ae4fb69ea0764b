//! Storing a window: its records, its rejects and its report row in one transaction. One statement a page, over arrays; a
//! record that is stored already is found by reading, so that nothing is written for it, not even a lock.

use super::array::TextArray;
use super::owner;
use super::report::{self, Attempt};
use super::run::{self, Tally};
use super::sift::{self, Unfit};
use super::spi;
use super::statement::Statement;
use super::tables::Tables;
use super::time;
use super::usage::{self, Outcome};
use crate::domain::fault::Counters;
use crate::error::{Error, Result};
use crate::http::spool::{Batch, Spooled, SpooledReject};
use chrono::{DateTime, Utc};

/// The upsert of a page. `fresh` are the records that are new or differ from what is stored and are not older; only they
/// reach the INSERT. ON CONFLICT repeats the test for a record that somebody else stored between the two. Which are new is
/// known from there: a partitioned table has no xmax to tell it by.
/// Records stream through: two unnest in a select list walk their arrays without a copy, and OFFSET 0 keeps the cast from
/// being done once for each use. The request is parsed once a page, in a subquery of its own.
const UPSERT: &str = "
    WITH fresh AS MATERIALIZED (
      SELECT n.id, n.payload, t.id IS NULL AS is_new
        FROM (SELECT i.id, i.payload::jsonb AS payload
                FROM (SELECT pg_catalog.unnest($1::text[]) AS id, pg_catalog.unnest($2::text[]) AS payload) AS i OFFSET 0) AS n
        LEFT JOIN %data AS t ON t.id OPERATOR(pg_catalog.=) n.id
       WHERE t.id IS NULL
          OR (t.payload IS DISTINCT FROM n.payload
              AND (raw._qb_instant(t.payload OPERATOR(pg_catalog.#>>) '{MetaData,LastUpdatedTime}')
                   OPERATOR(pg_catalog.>) raw._qb_instant(n.payload OPERATOR(pg_catalog.#>>) '{MetaData,LastUpdatedTime}')) IS NOT TRUE)
    ), written AS (
      INSERT INTO %data AS t (id, payload, ingested_at_utc, extract_window_start_utc, extract_window_end_utc,
                              page_number, page_size, request_payload)
      SELECT f.id, f.payload, $3, $4, $5, $6, $7, (SELECT $8::jsonb) FROM fresh AS f
      ON CONFLICT (id) DO UPDATE SET
        payload = excluded.payload, ingested_at_utc = excluded.ingested_at_utc,
        extract_window_start_utc = excluded.extract_window_start_utc, extract_window_end_utc = excluded.extract_window_end_utc,
        page_number = excluded.page_number, page_size = excluded.page_size, request_payload = excluded.request_payload
      WHERE t.payload IS DISTINCT FROM excluded.payload
        AND (raw._qb_instant(t.payload OPERATOR(pg_catalog.#>>) '{MetaData,LastUpdatedTime}')
             OPERATOR(pg_catalog.>) raw._qb_instant(excluded.payload OPERATOR(pg_catalog.#>>) '{MetaData,LastUpdatedTime}')) IS NOT TRUE
      RETURNING 1
    )
    SELECT f.chosen, w.written, LEAST(f.missing, w.written)
      FROM (SELECT pg_catalog.count(*) AS chosen, pg_catalog.count(*) FILTER (WHERE n.is_new) AS missing FROM fresh AS n) AS f,
           (SELECT pg_catalog.count(*) AS written FROM written) AS w";

/// How the upsert is planned: once, by the index on the id, whatever the table held at that moment. A plan made while it was
/// empty would scan it whole for each page later on. And a page of records stays in memory on its way through the plan.
const PLANNING: &str = "
    SELECT pg_catalog.set_config(s.name, s.setting, true)
      FROM (VALUES ('plan_cache_mode', 'force_generic_plan'), ('enable_seqscan', 'off'), ('enable_hashjoin', 'off'),
                   ('enable_mergejoin', 'off'), ('jit', 'off'), ('work_mem', '16MB')) AS s (name, setting)";

/// Stores windows of one entity.
pub struct Store {
    tables: Tables,
    connection: String,
}

/// A window that was fetched whole.
pub struct Fetched<'a> {
    pub attempt: &'a Attempt,
    pub spool: &'a mut Spooled,
    pub counters: Counters,
    pub execution_date: Option<DateTime<Utc>>,
    /// As the run asks for it.
    pub page_size: u32,
    /// Requests of the last minute, kept with the window.
    pub pace: [u32; 60],
}

/// Records that one statement stores.
struct Records {
    ids: TextArray,
    raws: TextArray,
}

/// What every row of a window is stored with.
struct Stamp<'a> {
    attempt: &'a Attempt,
    ingested: DateTime<Utc>,
    page_size: u32,
}

impl Store {
    /// A store for these tables.
    pub fn new(tables: Tables, connection: &str) -> Self {
        Store { tables, connection: connection.to_owned() }
    }

    /// The tables it writes to.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Stores a window and commits. When PostgreSQL cannot take a record as jsonb, that record is found and goes to the
    /// rejects; the rest of the window is stored.
    pub fn window(&self, fetched: &mut Fetched) -> Result<Tally> {
        match spi::interruptible(|| self.in_transaction(fetched, &[])) {
            Err(error) if sift::may_be_a_record(&error) => {
                let unfit = sift::find(fetched.spool)?;
                if unfit.is_empty() {
                    return Err(error);
                }
                spi::interruptible(|| self.in_transaction(fetched, &unfit))
            }
            outcome => outcome,
        }
    }

    fn in_transaction(&self, fetched: &mut Fetched, unfit: &[Unfit]) -> Result<Tally> {
        let mut tally = Tally::requests(&fetched.counters);
        let ingested = fetched.execution_date.unwrap_or_else(time::now);
        let stamp = Stamp { attempt: fetched.attempt, ingested, page_size: fetched.page_size };
        point!("store@begun");
        for (number, batch) in fetched.spool.batches()?.enumerate() {
            let unfit: Vec<&Unfit> = unfit.iter().filter(|unfit| unfit.batch == number).collect();
            self.batch(&stamp, batch?, &unfit, &mut tally)?;
            point!("store@page");
        }
        tally.rows = tally.inserted + tally.updated + tally.skipped + tally.rejected;
        point!("store@rows");
        report::write(&self.tables, fetched.attempt, &tally, None)?;
        point!("store@reported");
        run::add_stored(fetched.attempt.run, &tally)?;
        point!("store@counted");
        let requests = i64::from(fetched.counters.requests);
        usage::add(&self.connection, self.tables.target.entity(), Outcome::Success, requests)?;
        usage::keep_pace(&self.connection, &fetched.pace)?;
        point!("store@committing");
        Ok(tally)
    }

    fn batch(&self, stamp: &Stamp, batch: Batch, unfit: &[&Unfit], tally: &mut Tally) -> Result<()> {
        let Batch { page, request, again, mut ids, mut raws, mut rejects } = batch;
        if !unfit.is_empty() {
            for (place, (id, raw)) in ids.iter().zip(raws.iter()).enumerate() {
                if let Some(unfit) = unfit.iter().find(|unfit| unfit.place == place) {
                    let (id, raw) = (Some(id.to_owned()), Some(raw.to_owned()));
                    rejects.push(SpooledReject { id, raw, reason: unfit.reason.clone() });
                }
            }
            let fit = |place| unfit.iter().all(|unfit| unfit.place != place);
            (ids, raws) = (ids.only(fit)?, raws.only(fit)?);
        }
        for reject in &rejects {
            self.reject(stamp.attempt, page, reject)?;
            tally.rejected += i64::from(!again);
        }
        if ids.is_empty() {
            return Ok(());
        }
        point!("store@batch");
        let count = ids.len() as i64;
        let mut records = Records { ids: TextArray::new(ids), raws: TextArray::new(raws) };
        let (inserted, updated) = self.records(stamp, page, &request, &mut records)?;
        // A record that came on an earlier page already is stored if it is newer, and not counted twice.
        if !again {
            tally.inserted += inserted;
            tally.updated += updated;
            tally.skipped += count - inserted - updated;
        }
        Ok(())
    }

    /// One statement; inserted and updated rows.
    fn records(&self, stamp: &Stamp, page: u32, request: &str, records: &mut Records) -> Result<(i64, i64)> {
        let (chosen, inserted, updated) = self.upsert(stamp, page, request, records)?;
        if chosen == inserted + updated {
            return Ok((inserted, updated));
        }
        // Somebody may have stored the same records between reading and writing; then nothing is left to write now.
        let (left, more, changed) = self.upsert(stamp, page, request, records)?;
        if left == more + changed {
            return Ok((inserted + more, updated + changed));
        }
        Err(Error::SwallowedRows { table: self.tables.target.data(), rows: left - more - changed })
    }

    fn upsert(
        &self,
        stamp: &Stamp,
        page: u32,
        request: &str,
        records: &mut Records,
    ) -> Result<(i64, i64, i64)> {
        let upsert = Statement::on(UPSERT, &self.tables.target);
        owner::run_as(self.tables.data_owner, || {
            // They are set back when the role is.
            spi::read(&Statement::fixed(PLANNING), &[], |_| Ok(()))?;
            let args = [
                records.ids.datum(),
                records.raws.datum(),
                time::to_pg(stamp.ingested).into(),
                time::to_pg(stamp.attempt.window.start).into(),
                time::to_pg(stamp.attempt.window.end).into(),
                i32::try_from(page).unwrap_or(i32::MAX).into(),
                i32::try_from(stamp.page_size).unwrap_or(i32::MAX).into(),
                request.into(),
            ];
            let counts = spi::write(&upsert, &args, |row| Ok((row.need(1)?, row.need(2)?, row.need(3)?)))?;
            let (chosen, written, inserted): (i64, i64, i64) = counts.first().copied().unwrap_or_default();
            Ok((chosen, inserted, written - inserted))
        })
    }

    fn reject(&self, attempt: &Attempt, page: u32, reject: &SpooledReject) -> Result<()> {
        let statement = Statement::on(
            "INSERT INTO %rejects AS j (run_id, connection, entity, record_id, window_start, window_end, page_number, reason, raw,
                                   fingerprint)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, pg_catalog.md5(coalesce($9, pg_catalog.concat_ws(' ', $5::text, $8))))
             ON CONFLICT (connection, entity, fingerprint) DO UPDATE
               SET window_start = GREATEST(j.window_start, excluded.window_start), window_end = LEAST(j.window_end, excluded.window_end)
             WHERE GREATEST(j.window_start, excluded.window_start) OPERATOR(pg_catalog.<) LEAST(j.window_end, excluded.window_end)
               AND (j.window_start OPERATOR(pg_catalog.<) excluded.window_start OR j.window_end OPERATOR(pg_catalog.>) excluded.window_end)",
            &self.tables.target,
        );
        let kept = Statement::on(
            "SELECT EXISTS (SELECT 1 FROM %rejects AS j
                             WHERE j.connection OPERATOR(pg_catalog.=) $2 AND j.entity OPERATOR(pg_catalog.=) $3
                               AND j.fingerprint OPERATOR(pg_catalog.=) pg_catalog.md5(coalesce($9, pg_catalog.concat_ws(' ', $5::text, $8))))",
            &self.tables.target,
        );
        let args = [
            attempt.run.into(),
            self.connection.as_str().into(),
            self.tables.target.entity().into(),
            reject.id.clone().into(),
            time::to_pg(attempt.window.start).into(),
            time::to_pg(attempt.window.end).into(),
            i32::try_from(page).unwrap_or(i32::MAX).into(),
            reject.reason.clone().into(),
            reject.raw.clone().into(),
        ];
        // Without the table the statement says so.
        let owner = self.tables.rejects_owner.unwrap_or(self.tables.data_owner);
        owner::run_as(owner, || {
            // One that is kept already is not written again, and one that a trigger swallows is not kept.
            if spi::run(&statement, &args)? > 0
                || spi::read_one(&kept, &args, |row| row.need(1))? == Some(true)
            {
                return Ok(());
            }
            Err(Error::SwallowedRows { table: self.tables.target.rejects(), rows: 1 })
        })
    }
}

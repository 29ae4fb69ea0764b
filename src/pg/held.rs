//! How many records of a window the table holds, as QuickBooks would count them.

use super::owner;
use super::spi;
use super::statement::Statement;
use super::tables::Tables;
use super::time;
use crate::domain::window::{Window, WindowOn};
use crate::error::Result;

/// Counts for each window, in their order: rows whose time lies in it, and rejects that came in it.
///
/// The time stands in the payload, which has to be decompressed to be read. A row that was stored by a window of the same
/// kind lies in that window, so most rows are decided by their columns: their window is inside the one that is counted, or
/// does not touch it.
pub fn count(tables: &Tables, connection: &str, windows: &[Window], on: WindowOn) -> Result<Vec<i64>> {
    let statement = Statement::on(
        "WITH w AS MATERIALIZED (
           SELECT u.n, u.s, u.e FROM ROWS FROM (pg_catalog.unnest($1::timestamptz[]), pg_catalog.unnest($2::timestamptz[]))
                  WITH ORDINALITY AS u (s, e, n)
         ), span AS (SELECT pg_catalog.min(w.s) AS s, pg_catalog.max(w.e) AS e FROM w
         ), r AS MATERIALIZED (
           SELECT CASE WHEN known.is_inside THEN d.extract_window_start_utc
                       ELSE raw._qb_instant(d.payload OPERATOR(pg_catalog.#>>) ARRAY['MetaData', $3]) END AS at
             FROM span, %data AS d
            CROSS JOIN LATERAL (SELECT
              pg_catalog.strpos(coalesce(d.request_payload OPERATOR(pg_catalog.->>) 'query', ''), $4) OPERATOR(pg_catalog.>) 0 AS is_same) kind
            CROSS JOIN LATERAL (SELECT kind.is_same AND EXISTS (
                SELECT 1 FROM w WHERE d.extract_window_start_utc OPERATOR(pg_catalog.>=) w.s
                                  AND d.extract_window_end_utc OPERATOR(pg_catalog.<=) w.e) AS is_inside) known
            WHERE NOT (kind.is_same AND (d.extract_window_end_utc OPERATOR(pg_catalog.<=) span.s
                                         OR d.extract_window_start_utc OPERATOR(pg_catalog.>=) span.e))
         )
         SELECT (SELECT pg_catalog.count(*) FROM r WHERE r.at OPERATOR(pg_catalog.>=) w.s AND r.at OPERATOR(pg_catalog.<) w.e)
           FROM w ORDER BY w.n",
        &tables.target,
    );
    let (starts, ends): (Vec<_>, Vec<_>) =
        windows.iter().map(|window| (time::to_pg(window.start), time::to_pg(window.end))).unzip();
    let property = on.property();
    let (_, field) = property.split_once('.').unwrap_or_default();
    let filter = [" WHERE ", property, " >= "].concat();
    let args = [starts.clone().into(), ends.clone().into(), field.into(), filter.into()];
    let rows = owner::run_as(tables.data_owner, || spi::read(&statement, &args, |row| row.need::<i64>(1)))?;

    let Some(rejects_owner) = tables.rejects_owner else { return Ok(rows) };
    let rejects = Statement::on(
        "SELECT (SELECT pg_catalog.count(*) FROM %rejects AS j
                  WHERE j.connection OPERATOR(pg_catalog.=) $3 AND j.entity OPERATOR(pg_catalog.=) $4
                    AND j.window_start OPERATOR(pg_catalog.>=) u.s AND j.window_end OPERATOR(pg_catalog.<=) u.e)
           FROM ROWS FROM (pg_catalog.unnest($1::timestamptz[]), pg_catalog.unnest($2::timestamptz[])) WITH ORDINALITY AS u (s, e, n)
          ORDER BY u.n",
        &tables.target,
    );
    let args = [starts.into(), ends.into(), connection.into(), tables.target.entity().into()];
    let rejects = owner::run_as(rejects_owner, || spi::read(&rejects, &args, |row| row.need::<i64>(1)))?;
    Ok(rows.iter().zip(rejects).map(|(rows, rejects)| rows + rejects).collect())
}

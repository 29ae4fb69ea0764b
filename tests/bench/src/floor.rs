//! The floor for storing: COPY of the same rows, from a file on the same machine, into a table of the same definition.

use crate::extension::Bench;
use crate::table::timed;

/// Seconds that COPY takes.
pub fn copy(bench: &Bench) -> f64 {
    let db = &bench.db;
    let file = db.value("SELECT current_setting('data_directory') || '/rows.copy'");
    db.exec(&format!(
        "COPY (SELECT * FROM raw.qb_invoices ORDER BY extract_window_start_utc, id) TO '{file}'"
    ));
    db.exec(
        "DROP TABLE IF EXISTS floor; CREATE TABLE floor (LIKE raw.qb_invoices INCLUDING ALL); CHECKPOINT",
    );
    let took = timed(|| db.exec(&format!("COPY floor FROM '{file}'")));
    assert_eq!(db.number("SELECT count(*) FROM floor") as u64, bench.records);
    took
}

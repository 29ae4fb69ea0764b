//! The rules themselves: they hold after a run that nothing disturbed, and each violation that is planted is found.

use crate::truth::{World, broken, check, load};
use qbo_e2e::Database;

/// A rule, and statements that break it.
const PLANTED: &[(&str, &str)] = &[
    ("I1", "DELETE FROM raw.qb_invoices WHERE id = (SELECT min(id) FROM raw.qb_invoices)"),
    ("I1", "DELETE FROM raw.qb_invoices"),
    (
        "I2",
        "UPDATE raw.qb_invoices SET payload = payload || '{\"TotalAmt\": 0.001}' WHERE id = (SELECT min(id) FROM raw.qb_invoices)",
    ),
    (
        "I2",
        "UPDATE raw.qb_invoices d SET payload = v.payload FROM chk.version v WHERE v.id = d.id AND v.until_request IS NOT NULL",
    ),
    (
        "I3",
        "INSERT INTO raw.qb_invoices SELECT 'invented', payload, ingested_at_utc, extract_window_start_utc, extract_window_end_utc, page_number, page_size, request_payload FROM raw.qb_invoices LIMIT 1",
    ),
    (
        "I4",
        "UPDATE raw.backfill_report_invoices SET row_count = row_count + 1, inserted_count = inserted_count + 1 WHERE report_id = 1",
    ),
    ("I4", "UPDATE raw.backfill_report_invoices SET skipped_count = skipped_count + 1 WHERE report_id = 1"),
    ("I5", "DELETE FROM raw.backfill_report_invoices WHERE report_id = 2"),
    (
        "I5",
        "UPDATE raw.backfill_report_invoices SET window_end = window_end + interval '1 hour' WHERE report_id = 2",
    ),
    ("I6", "UPDATE raw.backfill_report_invoices SET status = 'error' WHERE report_id = 3"),
    ("I6", "UPDATE raw.qb_run SET status = 'partial'"),
    ("I6", "UPDATE raw.qb_run SET windows_done = windows_done - 1"),
    ("I7", "UPDATE raw.qb_run SET status = 'running', finished_at = NULL"),
    ("I8", "UPDATE raw.qb_config SET refresh_token = 'RT1-old'"),
    ("I9", "INSERT INTO chk.token SELECT 1000 + n, 'redeemed', 'RT1-twice' FROM generate_series(1, 2) n"),
    (
        "I10",
        "DROP INDEX raw.backfill_report_invoices_run_id_window_start_attempt_idx; INSERT INTO raw.backfill_report_invoices (run_id, attempt, window_start, window_end, status, started_at, finished_at) SELECT run_id, attempt, window_start, window_end, 'error', started_at, finished_at FROM raw.backfill_report_invoices WHERE report_id = 1",
    ),
    (
        "I10",
        "INSERT INTO raw.backfill_report_invoices (run_id, attempt, window_start, window_end, status, started_at, finished_at) SELECT run_id, attempt + 1, window_start, window_end, status, started_at, finished_at FROM raw.backfill_report_invoices WHERE report_id = 1",
    ),
    (
        "I10",
        "DROP INDEX raw.qb_run_live; INSERT INTO raw.qb_run (connection, entity, start_date, end_date, chunk_days, page_size, window_on, requested_by, windows_total) SELECT connection, entity, start_date, end_date, chunk_days, page_size, window_on, requested_by, windows_total FROM raw.qb_run, generate_series(1, 2)",
    ),
    ("I11", "UPDATE raw.qb_run SET error_message = 'Bearer ' || (SELECT value FROM chk.canary LIMIT 1)"),
    ("I11", "INSERT INTO chk.log SELECT 'refused: ' || value FROM chk.canary LIMIT 1"),
    ("I12", "UPDATE chk.req SET at = at - interval '1 day' WHERE n = (SELECT min(n) FROM chk.ask)"),
    (
        "I12",
        "INSERT INTO chk.req SELECT 100000, p.finished_at + interval '1 microsecond', '0', a.statement, 200, a.rows, true, false FROM chk.ask a JOIN raw.backfill_report_invoices p USING (window_start) LIMIT 1",
    ),
    (
        "I12",
        "DELETE FROM raw.backfill_report_invoices p USING (SELECT window_start FROM chk.ask ORDER BY n LIMIT 1) a WHERE p.window_start = a.window_start; INSERT INTO chk.req SELECT 100000, r.finished_at + interval '1 millisecond', '0', a.statement, 200, a.rows, true, false FROM raw.qb_run r, (SELECT * FROM chk.ask ORDER BY n LIMIT 1) a",
    ),
    (
        "I12",
        "INSERT INTO chk.req SELECT 100000 + n, clock_timestamp(), '1 second', 'SELECT COUNT(*) FROM Invoice', 200, 0, true, false FROM generate_series(1, 11) n",
    ),
    (
        "I12",
        "UPDATE chk.world SET paced = true; INSERT INTO chk.req SELECT 100000 + n, clock_timestamp() - n * interval '1 millisecond', '0', 'SELECT COUNT(*) FROM Invoice', 200, 0, true, false FROM generate_series(1, 501) n",
    ),
    (
        "I13",
        "UPDATE raw.qb_run SET status = 'queued', finished_at = NULL, updated_at = now() - interval '5 minutes'",
    ),
];

#[test]
fn every_planted_violation_is_found() {
    let db = Database::new();
    // A record that changed, so that an older state of it exists.
    let id = db.sim.ids("Invoice")[7].clone();
    let row = db.sim.record("Invoice", &id).unwrap();
    db.sim.patch("Invoice", &id, &row.replacen('{', "{\"Planted\":\"newer\",", 1));
    db.backfill("invoices");
    let mut client = db.client();
    check(&mut client, &db, "invoices", "Invoice", "undisturbed", &World::default());
    load(&mut client, &db, "invoices", "Invoice", &World { rotates: true, ..World::default() });
    for (rule, plant) in PLANTED {
        client.batch_execute("BEGIN").unwrap();
        client.batch_execute(plant).unwrap_or_else(|error| panic!("{rule}: {plant}: {error:?}"));
        let query = "SELECT DISTINCT rule FROM chk.broken";
        let found = qbo_e2e::rows(&mut client, query).unwrap();
        assert!(found.contains(&vec![(*rule).to_owned()]), "{rule} is not found: {plant}: {found:?}");
        client.batch_execute("ROLLBACK").unwrap();
    }
    assert_eq!(broken(&mut client), Vec::<Vec<String>>::new());
}

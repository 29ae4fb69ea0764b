//! Tables of an earlier pipeline that hold something else than they seem to: filled on, they would lose records without a word.

use crate::adopt::{adopt, has, left_by_a_pipeline, load};

#[test]
fn rows_that_the_pipeline_numbered_are_not_taken_for_ids_of_quickbooks() {
    let db = left_by_a_pipeline(
        "CREATE TABLE raw.qb_invoices (id SERIAL PRIMARY KEY, qbo_id TEXT UNIQUE, payload JSONB);
         CREATE TABLE raw.filled (id TEXT, payload JSONB, x TEXT)",
    );
    load(&db, "filled", "Invoice", "jsonb", 1, "NULL");
    db.exec("INSERT INTO raw.qb_invoices (qbo_id, payload) SELECT id, payload FROM raw.filled ORDER BY id DESC; DROP TABLE raw.filled");
    let rows = db.sim.count("Invoice");
    let (ok, lines, _) = adopt(&db, &[]);
    assert!(!ok);
    let (cure, _) = refusal(&lines, "raw.qb_invoices").split_once(';').unwrap();
    let cure = cure.split_once(". ").unwrap().1.to_owned();
    assert!(cure.starts_with("ALTER TABLE raw.qb_invoices RENAME COLUMN id TO row_id"), "{cure}");
    db.exec(&cure);
    let (ok, lines, errors) = adopt(&db, &[]);
    assert!(ok, "{errors}");
    has(&lines, "raw.qb_invoices|column qbo_id is called id now");
    db.connect_company();
    db.backfill("invoices");
    db.check_equal("invoices", "Invoice");
    assert_eq!(db.number("SELECT count(*) FROM raw.qb_invoices"), i64::try_from(rows).unwrap());
}

#[test]
fn a_table_of_several_companies_is_not_one_of_a_company() {
    let db = left_by_a_pipeline(
        "CREATE TABLE raw.qb_items (realm_id TEXT, id TEXT, payload JSONB, PRIMARY KEY (realm_id, id));
         INSERT INTO raw.qb_items VALUES ('1', '1', '{}'), ('2', '1', '{}');
         CREATE TABLE raw.backfill_report_items (realm_id TEXT, chunk_start DATE, chunk_end DATE, status TEXT);
         INSERT INTO raw.backfill_report_items VALUES ('1', '2025-07-01', '2025-07-08', 'ok'), ('2', '2025-07-01', '2025-07-08', 'error')",
    );
    let (ok, lines, errors) = adopt(&db, &["keep=newest"]);
    assert!(!ok && errors.contains("2 tables were left as they were"), "{errors}");
    for table in ["raw.qb_items", "raw.backfill_report_items"] {
        assert!(
            refusal(&lines, table).starts_with("it holds 2 companies, by its column realm_id. "),
            "{lines:?}"
        );
    }
    assert_eq!(db.number("SELECT count(*) FROM raw.qb_items"), 2);
    // With one company left, its column would keep out what comes.
    db.exec("DELETE FROM raw.qb_items WHERE realm_id = '2'; DELETE FROM raw.backfill_report_items WHERE realm_id = '2'");
    let (_, lines, _) = adopt(&db, &[]);
    has(
        &lines,
        "raw.qb_items|left as it was: its primary key has the column realm_id, which nothing fills any more. \
         ALTER TABLE raw.qb_items DROP CONSTRAINT qb_items_pkey; then again.",
    );
    has(&lines, "raw.backfill_report_items|their windows count as windows on MetaData.LastUpdatedTime");
    db.exec("ALTER TABLE raw.qb_items DROP CONSTRAINT qb_items_pkey");
    let (ok, _, errors) = adopt(&db, &[]);
    assert!(ok, "{errors}");
    db.connect_company();
    db.backfill("items");
}

/// Why a table was left as it was.
fn refusal<'a>(lines: &'a [String], table: &str) -> &'a str {
    let said = format!("{table}|left as it was: ");
    lines.iter().find_map(|line| line.strip_prefix(said.as_str())).unwrap_or_else(|| panic!("{lines:?}"))
}

//! Coming from an earlier pipeline: its tables, as such pipelines made them, are adopted by the script that is installed, and filled on.

use qbo_e2e::Database;
use std::process::Output;

/// The script on the database; what it printed, `table|what`.
pub fn adopt(db: &Database, settings: &[&str]) -> (bool, Vec<String>, String) {
    let share = String::from_utf8(db.server.run("pg_config", &["--sharedir"]).stdout).unwrap();
    let script = format!("{}/extension/qbo_raw_adopt.sql", share.trim());
    let mut args = vec!["-X", "-A", "-t", "-d", &db.name, "-f", &script];
    for setting in settings {
        args.extend(["-v", setting]);
    }
    let Output { status, stdout, stderr } = db.server.run("psql", &args);
    let lines = String::from_utf8(stdout).unwrap().lines().map(str::to_owned).collect();
    (status.success(), lines, String::from_utf8(stderr).unwrap())
}

/// A database in which only an earlier pipeline has worked, as the role `mage` that owns it, in another time zone than UTC.
pub fn left_by_a_pipeline(ddl: &str) -> Database<'static> {
    let db = Database::new();
    db.exec(
        "DROP EXTENSION qbo_raw;
         DO $$ BEGIN CREATE ROLE mage LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
         ALTER SCHEMA raw OWNER TO mage",
    );
    for change in ["OWNER TO mage", "SET timezone = 'America/Guayaquil'"] {
        db.exec(&format!("ALTER DATABASE {} {change}", db.name));
    }
    db.client_as("mage").batch_execute(ddl).unwrap();
    db
}

/// Puts records of the company, in the version it has now, into the first columns of a table.
pub fn load(db: &Database, table: &str, qbo: &str, cast: &str, share: usize, rest: &str) {
    let mut client = db.client_as("mage");
    let insert = format!(
        "INSERT INTO raw.{table} SELECT r.id, r.payload::{cast}, {rest} FROM unnest($1::text[], $2::text[]) AS r (id, payload)"
    );
    let ids: Vec<String> = db.sim.ids(qbo).into_iter().step_by(share).collect();
    let records: Vec<String> = ids.iter().map(|id| db.sim.record(qbo, id).unwrap()).collect();
    client.execute(&insert, &[&ids, &records]).unwrap();
}

pub fn has(lines: &[String], wanted: &str) {
    assert!(lines.iter().any(|line| line == wanted), "{wanted}\nis not in\n{}", lines.join("\n"));
}

const TIMESTAMPS: &str = "
    CREATE TABLE raw.qb_invoices (
      id TEXT PRIMARY KEY, payload JSONB NOT NULL, ingested_at_utc TIMESTAMP NOT NULL DEFAULT now(),
      extract_window_start_utc TIMESTAMP NOT NULL, extract_window_end_utc TIMESTAMP NOT NULL,
      page_number INTEGER, page_size INTEGER, request_payload JSONB, source_env TEXT NOT NULL);
    CREATE INDEX idx_qb_invoices_win ON raw.qb_invoices (extract_window_start_utc)";

#[test]
fn timestamps_become_utc_without_a_copy_and_the_next_run_goes_on() {
    let db = left_by_a_pipeline(TIMESTAMPS);
    let rest = "'2025-10-01 02:00:00', '2025-07-01 00:00:00', '2025-07-08 00:00:00', 1, 100, '{\"query\": \"q\"}'::jsonb, 'production'";
    load(&db, "qb_invoices", "Invoice", "jsonb", 2, rest);
    let node = db.value("SELECT pg_relation_filenode('raw.qb_invoices')");
    let (ok, lines, errors) = adopt(&db, &[]);
    assert!(ok, "{errors}");
    for line in [
        "raw.*|the schema belongs to postgres now, was mage's; mage may still use it",
        "raw.*|extension qbo_raw created",
        "raw.qb_invoices|belongs to qbo_raw_owner now, was mage's",
        "raw.qb_invoices|mage may still read it",
        "raw.qb_invoices|column ingested_at_utc was timestamp without time zone, is timestamp with time zone: the same times, in UTC",
        "raw.qb_invoices|column source_env may be empty: nothing fills it any more",
        "raw.qb_invoices|nothing was copied",
    ] {
        has(&lines, line);
    }
    assert_eq!(db.value("SELECT pg_relation_filenode('raw.qb_invoices')"), node);
    let utc = "SELECT DISTINCT ingested_at_utc = '2025-10-01 02:00:00+00' AND extract_window_end_utc = '2025-07-08 00:00:00Z' FROM raw.qb_invoices";
    assert_eq!(db.rows(utc), [["t"]]);
    assert_eq!(
        qbo_e2e::rows(&mut db.client_as("mage"), "SELECT count(*) FROM raw.qb_invoices").unwrap(),
        [["250"]]
    );

    db.connect_company();
    let run = db.backfill("invoices");
    db.check_equal("invoices", "Invoice");
    assert_eq!(
        db.rows(&format!("SELECT inserted_count, skipped_count FROM raw.qb_run WHERE run_id = {run}")),
        [["250", "250"]],
        "what the pipeline had stored is not written again"
    );
    let (ok, lines, errors) = adopt(&db, &[]);
    assert!(ok, "{errors}");
    assert_eq!(lines, ["raw.qb_invoices|fits as it is", "raw.backfill_report_invoices|fits as it is"]);
}

#[test]
fn texts_numbers_and_other_names_are_taken_over() {
    let db = left_by_a_pipeline(
        "CREATE TABLE raw.qb_customers (
           id VARCHAR(50) PRIMARY KEY, payload JSONB NOT NULL, ingested_at_utc TIMESTAMP NOT NULL,
           extract_window_start_utc VARCHAR(50), extract_window_end_utc VARCHAR(50), page_number INTEGER);
         CREATE TABLE raw.qb_items (
           id TEXT, payload JSON, ingested_at TIMESTAMP, window_start TIMESTAMPTZ, window_end TIMESTAMPTZ,
           page_number BIGINT, page_size DOUBLE PRECISION, request_payload TEXT)",
    );
    load(
        &db,
        "qb_customers",
        "Customer",
        "jsonb",
        3,
        "'2025-10-01', '2025-07-01T00:00:00Z', '2025-07-08T00:00:00+00:00', 1",
    );
    load(&db, "qb_items", "Item", "json", 1, "'2025-10-01', now(), now(), 2, 100.0, '{\"page\": 2}'");
    db.exec("UPDATE raw.qb_items SET payload = NULL WHERE id = (SELECT min(id) FROM raw.qb_items)");
    let (ok, lines, errors) = adopt(&db, &[]);
    assert!(ok, "{errors}");
    for line in [
        "raw.qb_customers|column id was character varying, is text",
        "raw.qb_customers|column extract_window_start_utc was character varying, is timestamp with time zone",
        "raw.qb_customers|columns added: page_size, request_payload",
        "raw.qb_customers|written anew once: these types cannot be changed in place",
        "raw.qb_items|column ingested_at is called ingested_at_utc now",
        "raw.qb_items|column payload was json, is jsonb",
        "raw.qb_items|column page_size was double precision, is integer",
        "raw.qb_items|primary key (id) made",
        "raw.qb_items|1 records had no payload: they have an empty one, which the next run of their range replaces",
    ] {
        has(&lines, line);
    }
    let windows = "SELECT DISTINCT extract_window_start_utc = '2025-07-01 00:00Z' AND extract_window_end_utc = '2025-07-08 00:00Z' FROM raw.qb_customers";
    assert_eq!(db.rows(windows), [["t"]]);
    db.connect_company();
    for (entity, qbo) in [("customers", "Customer"), ("items", "Item")] {
        let run = db.backfill(entity);
        db.check_equal(entity, qbo);
        db.check_reports(entity, run);
    }
}

#[test]
fn reports_are_taken_over_and_later_ones_stand_beside_them() {
    let db = left_by_a_pipeline(
        "CREATE TABLE raw.qb_invoices (id TEXT PRIMARY KEY, payload JSONB);
         CREATE TABLE raw.backfill_report_invoices (
           id SERIAL PRIMARY KEY, run_id INTEGER NOT NULL, chunk_start TIMESTAMP NOT NULL, chunk_end TIMESTAMP NOT NULL,
           pages INTEGER, rows INTEGER, status VARCHAR(20) CHECK (status IN ('ok', 'failed', 'running')), error TEXT,
           duration_s NUMERIC NOT NULL, created_at TIMESTAMP DEFAULT now());
         CREATE UNIQUE INDEX one_a_chunk ON raw.backfill_report_invoices (chunk_start, run_id);
         CREATE TABLE raw.backfill_report_items (
           chunk_start DATE, chunk_end DATE, rows BIGINT, PRIMARY KEY (chunk_start, chunk_end));
         INSERT INTO raw.backfill_report_invoices (run_id, chunk_start, chunk_end, pages, rows, status, error, duration_s, created_at) VALUES
           (1, '2025-07-01', '2025-07-08', 1, 40, 'ok', NULL, 1.5, '2025-10-01'),
           (2, '2025-07-01', '2025-07-08', 1, 41, 'ok', NULL, 1.5, '2025-10-02'),
           (1, '2025-07-08', '2025-07-15', 0, 0, 'failed', 'HTTP 500', 9.5, '2025-10-01'),
           (3, '2025-07-15', '2025-07-22', 0, 0, 'running', NULL, 0, '2025-10-03');
         INSERT INTO raw.backfill_report_items VALUES ('2025-07-01', '2025-07-08', 7)",
    );
    let (ok, lines, errors) = adopt(&db, &[]);
    assert!(ok, "{errors}");
    for line in [
        "raw.backfill_report_invoices|column run_id is called old_run_id now; what the pipeline reported has run 0",
        "raw.backfill_report_invoices|column chunk_start is called window_start now",
        "raw.backfill_report_invoices|column old_run_id may be empty: nothing fills it any more",
        "raw.backfill_report_invoices|index raw.one_a_chunk dropped: it would refuse later reports",
        "raw.backfill_report_invoices|started_at is not known: taken as a day before finished_at",
        "raw.backfill_report_invoices|4 reports taken over: 2 success, 2 error",
        "raw.backfill_report_items|no time of a report is known: what succeeded counts as fetched in part, and raw.qb_fill_gaps fetches it again",
        "raw.backfill_report_items|1 reports taken over: 1 success, 0 error",
    ] {
        has(&lines, line);
    }
    let old = "SELECT run_id, old_run_id, attempt, window_start AT TIME ZONE 'UTC', status, row_count, error_code, error_message
                 FROM raw.backfill_report_invoices ORDER BY window_start, attempt";
    assert_eq!(
        db.rows(old),
        [
            ["0", "1", "1", "2025-07-01 00:00:00", "success", "40", "", ""],
            ["0", "2", "2", "2025-07-01 00:00:00", "success", "41", "", ""],
            ["0", "1", "1", "2025-07-08 00:00:00", "error", "0", "earlier_pipeline", "HTTP 500"],
            [
                "0",
                "3",
                "1",
                "2025-07-15 00:00:00",
                "error",
                "0",
                "earlier_pipeline",
                "the pipeline said: running"
            ],
        ]
    );
    let times = "SELECT DISTINCT finished_at - started_at FROM raw.backfill_report_invoices";
    assert_eq!(db.rows(times), [["1 day"]]);
    db.connect_company();
    // Coverage counts what the pipeline reported.
    let days = "SELECT status, count(*), min(day), max(day) FROM raw._qb_days('invoices', 'default', 'updated') GROUP BY 1 ORDER BY 1";
    assert_eq!(
        db.rows(days),
        [["covered", "7", "2025-07-01", "2025-07-07"], ["failed", "14", "2025-07-08", "2025-07-21"]]
    );
    for (entity, qbo) in [("invoices", "Invoice"), ("items", "Item")] {
        // Twice: the second run reports the same windows again.
        db.backfill(entity);
        let run = db.backfill(entity);
        db.check_equal(entity, qbo);
        db.check_reports(entity, run);
    }
    assert_eq!(db.number("SELECT count(*) FROM raw.backfill_report_invoices"), 4 + 2 * 14);
}

#[test]
fn a_table_that_cannot_be_adopted_is_left_as_it_was_and_said() {
    let db = left_by_a_pipeline(&format!(
        "{TIMESTAMPS};
         CREATE TABLE raw.qb_items (LIKE raw.qb_invoices);
         CREATE TABLE raw.qb_customers (LIKE raw.qb_invoices INCLUDING ALL);
         CREATE VIEW raw.late AS SELECT id FROM raw.qb_customers WHERE ingested_at_utc > '2025-01-01'"
    ));
    let rest = "'2025-10-01', '2025-07-01', '2025-07-08', 1, 100, NULL::jsonb, 'production'";
    load(&db, "qb_invoices", "Invoice", "jsonb", 1, rest);
    load(&db, "qb_items", "Item", "jsonb", 1, rest);
    // An older copy of one item, stored later.
    db.exec(
        "INSERT INTO raw.qb_items SELECT id, jsonb_set(payload, '{MetaData,LastUpdatedTime}', '\"2020-01-01T00:00:00-08:00\"'),
                now(), extract_window_start_utc, extract_window_end_utc, 1, 100, NULL, 'production' FROM raw.qb_items LIMIT 1",
    );
    let (ok, lines, errors) = adopt(&db, &[]);
    assert!(!ok && errors.contains("2 tables were left as they were"), "{errors}");
    has(
        &lines,
        "raw.qb_items|left as it was: 1 rows are older or equal copies of records that are there twice. psql -v keep=newest deletes them and keeps the newest.",
    );
    assert!(
        lines.iter().any(
            |line| line.starts_with("raw.qb_customers|left as it was:") && line.contains("view raw.late")
        ),
        "{lines:?}"
    );
    has(&lines, "raw.qb_invoices|nothing was copied");
    let as_it_was = "SELECT DISTINCT c.relname, pg_get_userbyid(c.relowner), format_type(a.atttypid, NULL), a.attnotnull
                       FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'ingested_at_utc'
                      WHERE c.relnamespace = 'raw'::regnamespace AND c.relname IN ('qb_items', 'qb_customers') ORDER BY 1";
    assert_eq!(
        db.rows(as_it_was),
        [
            ["qb_customers", "mage", "timestamp without time zone", "t"],
            ["qb_items", "mage", "timestamp without time zone", "t"],
        ]
    );

    db.exec("DROP VIEW raw.late");
    let (ok, lines, errors) = adopt(&db, &["keep=newest"]);
    assert!(ok, "{errors}");
    has(&lines, "raw.qb_items|1 older copies of records deleted");
    db.check_equal("items", "Item");
    db.connect_company();
    for entity in ["items", "customers"] {
        db.backfill(entity);
    }
    db.check_equal("customers", "Customer");
}

#[test]
fn rows_of_other_partitions_at_the_same_place_stay_as_they_are() {
    let db = left_by_a_pipeline(
        "CREATE TABLE raw.qb_items (id TEXT NOT NULL, payload JSONB, ingested_at_utc TIMESTAMPTZ) PARTITION BY RANGE (id);
         CREATE TABLE raw.items_low PARTITION OF raw.qb_items FOR VALUES FROM (MINVALUE) TO ('m');
         CREATE TABLE raw.items_high PARTITION OF raw.qb_items FOR VALUES FROM ('m') TO (MAXVALUE);
         INSERT INTO raw.qb_items VALUES ('a', '{}', '2025-10-01'), ('a', '{}', '2025-10-02'), ('x', '{}', '2025-10-01'), ('y', '{}', '2025-10-01');
         CREATE TABLE raw.backfill_report_items (report_id BIGSERIAL, chunk_start TIMESTAMPTZ, chunk_end TIMESTAMPTZ, rows INTEGER,
           status TEXT, error TEXT, created_at TIMESTAMPTZ) PARTITION BY RANGE (chunk_start);
         CREATE TABLE raw.july PARTITION OF raw.backfill_report_items FOR VALUES FROM ('2025-07-01') TO ('2025-08-01');
         CREATE TABLE raw.august PARTITION OF raw.backfill_report_items FOR VALUES FROM ('2025-08-01') TO ('2025-09-01');
         INSERT INTO raw.backfill_report_items (chunk_start, chunk_end, rows, status, error, created_at) VALUES
           ('2025-07-07', '2025-07-14', 3, 'ok', NULL, '2025-10-01'), ('2025-08-07', '2025-08-14', 0, 'failed', 'HTTP 500', '2025-10-01')",
    );
    let (ok, lines, errors) = adopt(&db, &["keep=newest"]);
    assert!(ok, "{errors}\n{}", lines.join("\n"));
    has(&lines, "raw.qb_items|1 older copies of records deleted");
    let left = "SELECT id, ingested_at_utc::date FROM raw.qb_items ORDER BY 1";
    assert_eq!(db.rows(left), [["a", "2025-10-02"], ["x", "2025-10-01"], ["y", "2025-10-01"]]);
    has(&lines, "raw.backfill_report_items|2 reports taken over: 1 success, 1 error");
    let reports =
        "SELECT status, attempt, error_message FROM raw.backfill_report_items ORDER BY window_start";
    assert_eq!(db.rows(reports), [["success", "1", ""], ["error", "1", "HTTP 500"]]);
    let held = "SELECT has_schema_privilege('qbo_raw_owner', 'raw', 'CREATE')";
    assert_eq!(db.value(held), "f", "it was lent");
}

/// A report table that has the columns of the extension, with rows whose numbers are 7, 5 and none.
fn reports(entity: &str, report_id: &str, rows: u8) -> String {
    format!(
        "CREATE TABLE raw.backfill_report_{entity} (
           report_id {report_id}, run_id BIGINT, attempt INTEGER, window_start TIMESTAMPTZ, window_end TIMESTAMPTZ, status TEXT,
           row_count BIGINT, inserted_count BIGINT, updated_count BIGINT, skipped_count BIGINT, rejected_count BIGINT,
           page_count INTEGER, request_count INTEGER, error_code TEXT, error_message TEXT, intuit_tid TEXT,
           started_at TIMESTAMPTZ, finished_at TIMESTAMPTZ);
         INSERT INTO raw.backfill_report_{entity} (report_id, run_id, attempt, window_start, window_end, status, started_at, finished_at)
           SELECT CASE n WHEN 1 THEN 7 WHEN 2 THEN 5 END, 0, 1, day, day + interval '1 day', 'success', '2025-10-01', '2025-10-01'
             FROM (SELECT n, '2024-07-01Z'::timestamptz + n * interval '1 day' FROM generate_series(1, {rows}) n) d (n, day);"
    )
}

#[test]
fn report_rows_to_come_have_numbers_above_the_old_ones() {
    // How report_id is declared, whether one is empty, and the lines that say what became of it.
    let ways: &[(&str, &str, bool, &[&str])] = &[
        (
            "invoices",
            "SERIAL PRIMARY KEY",
            false,
            &[
                "column report_id was integer, is bigint",
                "sequence raw.backfill_report_invoices_report_id_seq is bigint now",
                "sequence raw.backfill_report_invoices_report_id_seq goes on above 7",
            ],
        ),
        ("items", "INTEGER PRIMARY KEY", false, &["report_id is an identity now, from 8 on"]),
        (
            "customers",
            "BIGINT",
            true,
            &["1 reports had no report_id: they are numbered", "report_id is an identity now, from 9 on"],
        ),
        (
            "vendors",
            "BIGINT DEFAULT nextval('raw.counter')",
            true,
            &["1 reports had no report_id: they are numbered", "report_id is an identity now, from 9 on"],
        ),
        (
            "bills",
            "INTEGER GENERATED BY DEFAULT AS IDENTITY",
            false,
            &["sequence raw.backfill_report_bills_report_id_seq goes on above 7"],
        ),
        ("accounts", "BIGINT DEFAULT 0", true, &["report_id is an identity now, from 9 on"]),
    ];
    let ddl =
        ways.iter().map(|(entity, declared, empty, _)| reports(entity, declared, if *empty { 3 } else { 2 }));
    let db = left_by_a_pipeline(&format!("CREATE SEQUENCE raw.counter; {}", ddl.collect::<String>()));
    let (ok, lines, errors) = adopt(&db, &[]);
    assert!(ok, "{errors}\n{}", lines.join("\n"));
    db.connect_company();
    for (entity, declared, empty, wanted) in ways {
        let run = db.backfill(entity);
        db.check_reports(entity, run);
        let numbers = format!(
            "SELECT format_type(a.atttypid, NULL), (SELECT string_agg(report_id::text, ',' ORDER BY report_id)
               FROM raw.backfill_report_{entity} WHERE run_id <> {run}), (SELECT min(report_id) FROM raw.backfill_report_{entity} WHERE run_id = {run})
               FROM pg_attribute a WHERE attrelid = 'raw.backfill_report_{entity}'::regclass AND attname = 'report_id'"
        );
        let (old, first) = if *empty { ("5,7,8", "9") } else { ("5,7", "8") };
        assert_eq!(db.rows(&numbers), [["bigint", old, first]], "{declared}");
        for line in *wanted {
            has(&lines, &format!("raw.backfill_report_{entity}|{line}"));
        }
        // An integer sequence would end here.
        let far = format!(
            "SELECT setval(pg_get_serial_sequence('raw.backfill_report_{entity}', 'report_id'), 3000000000)"
        );
        assert_eq!(db.value(&far), "3000000000", "{declared}");
        db.backfill(entity);
    }
    let (ok, lines, errors) = adopt(&db, &[]);
    assert!(ok, "{errors}");
    assert!(lines.iter().all(|line| line.ends_with("|fits as it is")), "{}", lines.join("\n"));
}

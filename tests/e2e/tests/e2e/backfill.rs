//! Loading, loading again, and loading what changed.

use chrono::{TimeZone, Utc};
use qbo_e2e::{Database, RANGE, Server};
use qbo_sim::{Action, Options};

fn company(counts: &[(&str, u64)]) -> Options {
    Options {
        counts: counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
        ..Options::default()
    }
}

#[test]
fn three_entities_arrive_whole() {
    let db = Database::new();
    for (entity, qbo) in [("invoices", "Invoice"), ("customers", "Customer"), ("items", "Item")] {
        let run = db.backfill(entity);
        db.check_equal(entity, qbo);
        db.check_reports(entity, run);
    }
    let inactive = db.number("SELECT count(*) FROM raw.qb_customers WHERE payload ->> 'Active' = 'false'");
    assert!(inactive > 0, "inactive customers come too");
}

#[test]
fn twenty_thousand_invoices_then_again_then_what_changed() {
    // A vacuum of what was inserted would write more to the log than the whole second run.
    let server = Server::private("autovacuum = off");
    let db = Database::on(&server, company(&[("Invoice", 20_000)]));
    let run = db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, 2)"));
    assert_eq!(db.ended(run), "success");
    db.check_equal("invoices", "Invoice");
    db.check_reports("invoices", run);
    assert_eq!(db.of_run(run, "inserted_count"), "20000");
    assert!(db.of_run(run, "windows_total").parse::<i32>().unwrap() >= 40);

    // The same once more: not one row is written.
    let lsn = db.value("SELECT pg_current_wal_lsn()");
    let again = db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, 2)"));
    assert_eq!(db.ended(again), "success");
    assert_ne!(again, run);
    assert_eq!(db.of_run(again, "skipped_count"), "20000");
    assert_eq!(db.of_run(again, "inserted_count || ' ' || updated_count"), "0 0");
    let wal = db.number(&format!("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '{lsn}')::bigint"));
    let size = db.number("SELECT pg_total_relation_size('raw.qb_invoices')");
    assert!(wal * 100 < size, "{wal} bytes of WAL for a run that changed nothing; the table has {size}");
    qbo_e2e::wait_until("the statistics arrive", qbo_e2e::seconds(10), || {
        db.value("SELECT n_tup_ins || ' ' || n_tup_upd || ' ' || n_tup_del FROM pg_stat_user_tables WHERE relname = 'qb_invoices'") == "20000 0 0"
    });

    // One in a hundred changes today: exactly those are updated.
    let mut changed = db.sim.change("Invoice", 0.01);
    assert_eq!(changed.len(), 200);
    let today = db.number("SELECT raw.qb_backfill('invoices', (now() AT TIME ZONE 'UTC')::date - 1, (now() AT TIME ZONE 'UTC')::date + 1)");
    assert_eq!(db.ended(today), "success");
    assert_eq!(db.of_run(today, "updated_count || ' ' || inserted_count || ' ' || skipped_count"), "200 0 0");
    let mut stored: Vec<String> = db
        .rows("SELECT id FROM raw.qb_invoices WHERE extract_window_start_utc > '2025-12-31'")
        .into_iter()
        .flatten()
        .collect();
    changed.sort();
    stored.sort();
    assert_eq!(stored, changed);
    db.check_equal("invoices", "Invoice");
}

#[test]
fn every_entity_of_the_catalogue_can_be_loaded() {
    let names: Vec<String> =
        Database::new().rows("SELECT qbo_name FROM raw.qb_entities").into_iter().flatten().collect();
    assert!(names.len() >= 30, "{names:?}");
    let db = Database::with(Options {
        counts: names.iter().map(|name| (name.clone(), 25)).collect(),
        ..Options::default()
    });
    for row in db.rows("SELECT entity, qbo_name FROM raw.qb_entities") {
        let run = db.number(&format!("SELECT raw.qb_backfill('{}', {RANGE}, 100, 10)", row[0]));
        assert_eq!(db.ended(run), "success", "{}: {}", row[0], db.of_run(run, "error_message"));
        db.check_equal(&row[0], &row[1]);
    }
}

#[test]
fn windows_on_the_creation_time() {
    let db = Database::new();
    let run = db
        .number("SELECT raw.qb_backfill('invoices', '2025-06-01', '2025-09-30', 7, window_on => 'created')");
    assert_eq!(db.ended(run), "success");
    db.check_equal("invoices", "Invoice");
    let asked = db.sim.requests();
    assert!(asked.iter().all(|request| request.statement.contains("MetaData.CreateTime >= ")));
}

#[test]
fn a_record_at_a_boundary_lies_in_exactly_one_window() {
    let db = Database::with(company(&[("Invoice", 8)]));
    let ids = db.sim.ids("Invoice");
    let day = |day, hour, minute, second| Utc.with_ymd_and_hms(2025, 7, day, hour, minute, second).unwrap();
    let times = [
        day(1, 0, 0, 0),
        day(7, 23, 59, 59),
        day(8, 0, 0, 0),
        day(8, 0, 0, 1),
        day(14, 23, 59, 59),
        day(15, 0, 0, 0),
        day(21, 23, 59, 59),
        day(22, 0, 0, 0),
    ];
    for (id, time) in ids.iter().zip(times) {
        assert!(db.sim.set_updated("Invoice", id, time));
    }
    let run = db.number("SELECT raw.qb_backfill('invoices', '2025-07-01', '2025-07-21', 7)");
    assert_eq!(db.ended(run), "success");
    let counts = db.rows("SELECT row_count FROM raw.backfill_report_invoices ORDER BY window_start");
    assert_eq!(counts.concat(), ["2", "3", "2"]);
}

#[test]
fn the_newest_version_wins_in_whatever_order_windows_come() {
    let db = Database::with(company(&[("Invoice", 1)]));
    db.backfill("invoices");
    let newer = r#"{"Id":"1","MetaData":{"LastUpdatedTime":"2026-01-01T00:00:00-08:00"},"Note":"newer"}"#;
    db.exec(&format!("UPDATE raw.qb_invoices SET payload = '{newer}'"));
    let run = db.backfill("invoices");
    assert_eq!(db.of_run(run, "skipped_count"), "1");
    assert_eq!(db.value("SELECT payload ->> 'Note' FROM raw.qb_invoices"), "newer");
    // An older one is replaced, and one whose time cannot be read as well.
    for time in ["2024-01-01T00:00:00-08:00", "no time"] {
        db.exec(&format!("UPDATE raw.qb_invoices SET payload = '{{\"Id\":\"1\",\"MetaData\":{{\"LastUpdatedTime\":\"{time}\"}}}}'"));
        let run = db.backfill("invoices");
        assert_eq!(db.of_run(run, "updated_count"), "1", "{time}");
        db.check_equal("invoices", "Invoice");
    }
}

#[test]
fn numbers_keep_their_digits() {
    let db = Database::with(company(&[("Invoice", 1)]));
    let time = r#""MetaData":{"CreateTime":"2025-07-02T00:00:00-07:00","LastUpdatedTime":"2025-07-02T00:00:00-07:00"}"#;
    let digits = format!(
        r#"{{"Id":"1",{time},"a":12345678901234567890123,"b":0.12345678901234567890,"c":1.10,"d":639.00}}"#
    );
    db.sim.patch("Invoice", "1", &digits);
    db.backfill("invoices");
    let stored = db.value("SELECT concat_ws(' ', payload -> 'a', payload -> 'b', payload -> 'c', payload -> 'd') FROM raw.qb_invoices");
    assert_eq!(stored, "12345678901234567890123 0.12345678901234567890 1.10 639.00");
}

#[test]
fn records_that_jsonb_cannot_hold_are_kept_as_text() {
    let db = Database::with(company(&[("Invoice", 40)]));
    let ids = db.sim.ids("Invoice");
    let odd = [
        r#""a\u0000b""#,
        r#""\ud83d""#,
        "1e200000",
        &format!("{}1{}", "[".repeat(200_000), "]".repeat(200_000)),
    ];
    for (id, value) in ids.iter().step_by(9).zip(odd) {
        let record = db.sim.record("Invoice", id).unwrap();
        db.sim.patch("Invoice", id, &format!("{{\"Odd\":{value},{}", record.trim_start_matches('{')));
    }
    let run = db.backfill("invoices");
    assert_eq!(db.of_run(run, "inserted_count || ' ' || rejected_count || ' ' || row_count"), "36 4 40");
    db.check_reports("invoices", run);
    let rejects = db.rows("SELECT record_id, raw, reason FROM raw.qb_rejects ORDER BY reject_id");
    assert_eq!(rejects.len(), 4);
    for row in &rejects {
        assert_eq!(row[1], db.sim.record("Invoice", &row[0]).unwrap(), "the raw text is what was served");
        assert!(row[2].starts_with("jsonb refuses it: "), "{}", row[2]);
    }
    // Loaded again they are rejected again, and kept once.
    let again = db.backfill("invoices");
    assert_eq!(db.of_run(again, "rejected_count || ' ' || skipped_count"), "4 36");
    assert_eq!(db.number("SELECT count(*) FROM raw.qb_rejects"), 4);
}

#[test]
fn a_record_without_a_usable_id_is_kept_as_text() {
    let db = Database::with(company(&[("Invoice", 10)]));
    let ids = db.sim.ids("Invoice");
    let record = db.sim.record("Invoice", &ids[3]).unwrap();
    db.sim.patch("Invoice", &ids[3], &record.replacen(&format!("\"Id\":\"{}\"", ids[3]), "\"Id\":null", 1));
    let run = db.backfill("invoices");
    assert_eq!(db.of_run(run, "inserted_count || ' ' || rejected_count"), "9 1");
    assert_eq!(db.value("SELECT record_id IS NULL AND raw LIKE '%\"Id\":null%' FROM raw.qb_rejects"), "t");
}

#[test]
fn nothing_is_skipped_while_records_change_under_the_reader() {
    let db = Database::with(company(&[("Invoice", 300)]));
    let ids = db.sim.ids("Invoice");
    // One window of 300 in pages of 20; a record that was read already leaves it before several of the requests.
    for n in [3, 5, 9] {
        db.sim.act_before(n, Action::Update("Invoice".to_owned(), ids[n as usize].parse().unwrap()));
    }
    let run = db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, 365, 20)"));
    assert_eq!(db.ended(run), "success");
    let missing: Vec<String> = {
        let stored: Vec<String> = db.rows("SELECT id FROM raw.qb_invoices").concat();
        ids.iter().filter(|id| !stored.contains(id)).cloned().collect()
    };
    let moved: Vec<String> = [3usize, 5, 9].iter().map(|n| ids[*n].clone()).collect();
    assert!(
        missing.iter().all(|id| moved.contains(id)),
        "only records that left the window may be missing: {missing:?}"
    );
    let today = db.number("SELECT raw.qb_backfill('invoices', (now() AT TIME ZONE 'UTC')::date - 1, (now() AT TIME ZONE 'UTC')::date + 1)");
    assert_eq!(db.ended(today), "success");
    db.check_equal("invoices", "Invoice");
}

#[test]
fn requests_are_the_floor_and_no_more() {
    let db = Database::with(company(&[("Invoice", 1_000)]));
    let run = db.number("SELECT raw.qb_backfill('invoices', '2025-07-01', '2025-10-31', 7, 50)");
    assert_eq!(db.ended(run), "success");
    let windows = db.rows("SELECT row_count, request_count FROM raw.backfill_report_invoices");
    for window in windows {
        let (rows, requests): (i64, i64) = (window[0].parse().unwrap(), window[1].parse().unwrap());
        let floor = (rows + 49) / 50;
        assert!(requests <= floor + 1, "{requests} requests for {rows} rows");
        assert!(rows > 0 || requests == 1, "{requests} requests for an empty window");
    }
}

#[test]
fn execution_date_becomes_the_time_of_ingestion() {
    let db = Database::new();
    let run = db.number(&format!(
        "SELECT raw.qb_backfill('items', {RANGE}, 365, execution_date => '2020-02-29 12:00+00')"
    ));
    assert_eq!(db.ended(run), "success");
    assert_eq!(
        db.value("SELECT DISTINCT ingested_at_utc AT TIME ZONE 'UTC' FROM raw.qb_items"),
        "2020-02-29 12:00:00"
    );
}

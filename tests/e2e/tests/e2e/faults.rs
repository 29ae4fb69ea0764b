//! Faults of the network and of QuickBooks: each ends as it should, with a report row a DBA can act on.

use qbo_e2e::{Database, RANGE, seconds};
use qbo_sim::{Fault, Options, Sim, When};
use std::time::{Duration, Instant};

fn named(name: &str) -> Fault {
    Fault::named(name).unwrap()
}

/// A run of one window.
fn one_window(db: &Database) -> i64 {
    db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, 365, 1000)"))
}

#[test]
fn what_passes_by_itself_is_tried_again() {
    for name in [
        "401",
        "429",
        "429:1",
        "500",
        "503",
        "503:1",
        "504",
        "html",
        "empty",
        "bad-json",
        "reset",
        "reset-in-body",
        "truncate",
        "bad-gzip",
        "10000",
    ] {
        let db = Database::new();
        db.sim.fault_times(When::Nth(1), named(name), 1);
        let run = one_window(&db);
        assert_eq!(db.ended(run), "success", "{name}: {}", db.of_run(run, "error_message"));
        db.check_equal("invoices", "Invoice");
        let requests: i64 = db.of_run(run, "request_count").parse().unwrap();
        assert!((2..=4).contains(&requests), "{name}: {requests} requests");
    }
}

#[test]
fn what_lasts_ends_with_a_report_row_that_says_what_to_do() {
    // Fault, its word, part of the message, requests at most.
    let lasting = [
        ("403", "forbidden", "ApplicationAuthorizationFailed", 1),
        ("429", "throttled", "ThrottleExceeded", 6),
        ("500", "http_500", "InternalServerError", 6),
        ("503", "http_503", "503 Service Temporarily Unavailable", 6),
        ("504", "http_504", "GatewayTimeout", 6),
        ("html", "not_json", "We'll be back soon", 6),
        ("empty", "empty_body", "nothing in it", 6),
        ("bad-json", "bad_json", "broken JSON", 2),
        ("reset", "connection_reset", "", 6),
        ("reset-in-body", "connection_reset", "", 6),
        ("truncate", "connection_reset", "", 6),
        ("bad-gzip", "bad_encoding", "", 6),
        ("200-fault", "qbo_6190", "Subscription ended", 1),
        ("redirect:http://127.0.0.1:1/", "unexpected_redirect", "302", 1),
        ("gzip-bomb:4000000", "body_too_large", "max_body_size", 11),
    ];
    for (name, word, message, most) in lasting {
        let db = Database::new();
        db.set("qbo_raw.retry_delay", "1ms");
        if name.starts_with("gzip-bomb") {
            db.set("qbo_raw.max_body_size", "1MB");
        }
        db.sim.fault(When::Always, named(name));
        let run = one_window(&db);
        assert_eq!(db.ended(run), "failed", "{name}");
        let report = db.rows("SELECT status, error_code, error_message, row_count, request_count FROM raw.backfill_report_invoices");
        assert_eq!(report.len(), 1, "{name}: one error row");
        let row = &report[0];
        assert_eq!(
            (row[0].as_str(), row[1].as_str(), row[3].as_str()),
            ("error", word, "0"),
            "{name}: {row:?}"
        );
        assert!(row[2].contains(message), "{name}: {row:?}");
        assert!(row[4].parse::<i32>().unwrap() <= most, "{name}: {row:?}");
        assert_eq!(db.of_run(run, "error_code"), word);
        assert_eq!(
            db.number("SELECT count(*) FROM raw.qb_invoices"),
            0,
            "{name}: a failed window leaves no row"
        );
        // Well again, and the same call mends it.
        db.sim.clear_faults();
        let again = one_window(&db);
        assert_eq!(db.ended(again), "success", "{name}");
        db.check_equal("invoices", "Invoice");
    }
}

#[test]
fn other_windows_go_on_when_one_fails() {
    let db = Database::new();
    db.set("qbo_raw.retry_delay", "1ms");
    db.sim.fault(When::Statement(">= '2025-08-05".to_owned()), named("500"));
    let run = db.queue("invoices");
    assert_eq!(db.ended(run), "partial");
    assert_eq!(db.of_run(run, "windows_done || ' ' || windows_failed"), "13 1");
    let failed = db.rows("SELECT window_start AT TIME ZONE 'UTC', error_code, intuit_tid <> '' FROM raw.backfill_report_invoices WHERE status = 'error'");
    assert_eq!(failed, [["2025-08-05 00:00:00", "http_500", "t"]]);
    let waited = db.refused(&format!("CALL raw.qb_wait({run})"));
    assert_eq!(waited.sqlstate, "38000");
    assert!(waited.message.contains("partial, 1 of 14 windows failed"), "{waited:?}");
    assert!(waited.detail.contains("http_500") && !waited.hint.is_empty(), "{waited:?}");
}

#[test]
fn an_outage_ends_the_run_early() {
    // A query that is refused is not repeated, and is refused for every window.
    for (fault, most) in [("503", 120), ("4001", 20)] {
        let db = Database::new();
        db.set("qbo_raw.retry_delay", "1ms");
        db.sim.fault(When::Always, named(fault));
        let run = db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, 1)"));
        assert_eq!(db.ended(run), "failed");
        assert!(db.sim.request_count() <= most, "{fault}: {} requests", db.sim.request_count());
        assert!(db.of_run(run, "windows_failed").parse::<i32>().unwrap() <= 20);
    }
}

#[test]
fn a_retry_after_is_obeyed_by_the_whole_connection() {
    let db = Database::with(Options { latency: Duration::from_millis(100), ..Options::default() });
    db.sim.fault_times(When::Nth(4), named("429:10"), 1);
    let run = db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, 1)"));
    assert_eq!(db.ended(run), "success");
    let requests = db.sim.requests();
    let throttled = requests.iter().find(|request| request.status == 429).unwrap();
    let later = |request: &qbo_sim::Request| request.at.duration_since(throttled.at).unwrap_or_default();
    // What was already on its way may still arrive; then there is silence, and all the other windows come after it.
    let early: Vec<_> =
        requests.iter().filter(|request| (seconds(4)..seconds(9)).contains(&later(request))).collect();
    assert!(early.is_empty(), "{early:?} after {throttled:?}");
    let after = requests.iter().filter(|request| later(request) >= seconds(9)).count();
    assert!(after > requests.len() / 2, "{after} of {} requests waited for {throttled:?}", requests.len());
}

#[test]
fn a_long_retry_after_puts_the_run_aside_and_frees_the_worker() {
    let db = Database::new();
    db.sim.fault_times(When::Nth(3), named("503:3600"), 1);
    let run = db.queue("invoices");
    qbo_e2e::wait_until("it is put aside", seconds(20), || {
        db.of_run(run, "status = 'queued' AND not_before > now() + '50 minutes'") == "t"
    });
    qbo_e2e::wait_until("the worker left", seconds(30), || !db.has_worker());
    assert_eq!(db.number("SELECT raw.qb_tick()"), 0, "it is not due");
    db.exec("UPDATE raw.qb_run SET not_before = now()");
    assert_eq!(db.number("SELECT raw.qb_tick()"), 1);
    assert_eq!(db.ended(run), "success");
    db.check_equal("invoices", "Invoice");
    db.check_reports("invoices", run);
}

#[test]
fn a_record_that_spoils_its_page_is_found_and_named() {
    let db = Database::with(Options { counts: vec![("Invoice".to_owned(), 60)], ..Options::default() });
    let ids = db.sim.ids("Invoice");
    // The simulator refuses every page that holds the 38th record: those whose positions span it.
    for start in 1..=60u32 {
        for size in 1..=31u32 {
            if start <= 38 && 38 < start + size {
                let part = format!("STARTPOSITION {start} MAXRESULTS {size}");
                db.sim.fault(When::Statement(part), named("4002"));
            }
        }
    }
    let run = db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, 365, 30)"));
    assert_eq!(db.ended(run), "success", "{}", db.of_run(run, "error_message"));
    assert_eq!(db.of_run(run, "inserted_count || ' ' || rejected_count"), "59 1");
    let reject = db.rows("SELECT reason, raw FROM raw.qb_rejects").concat();
    assert!(
        reject[0].contains("position 38") && reject[0].contains(&format!("after Id {}", ids[36])),
        "{reject:?}"
    );
    let stored: Vec<String> = db.rows("SELECT id FROM raw.qb_invoices").concat();
    let missing: Vec<&String> = ids.iter().filter(|id| !stored.contains(id)).collect();
    assert_eq!(missing, [&ids[37]]);
}

#[test]
fn a_page_that_is_too_large_is_asked_for_in_halves() {
    let db = Database::with(Options { counts: vec![("Invoice".to_owned(), 400)], ..Options::default() });
    db.set("qbo_raw.max_body_size", "256kB");
    let run = one_window(&db);
    assert_eq!(db.ended(run), "success", "{}", db.of_run(run, "error_message"));
    db.check_equal("invoices", "Invoice");
    assert!(db.sim.requests().iter().any(|request| request.statement.ends_with("MAXRESULTS 500")));
}

#[test]
fn a_stall_ends_with_a_time_out_and_a_smaller_page() {
    let db = Database::new();
    db.set("qbo_raw.request_timeout", "3s");
    db.sim.fault_times(When::Nth(1), Fault::Stall(seconds(60)), 1);
    let began = Instant::now();
    let run = one_window(&db);
    assert_eq!(db.ended(run), "success", "{}", db.of_run(run, "error_message"));
    assert!(began.elapsed() < seconds(30));
    db.check_equal("invoices", "Invoice");
}

#[test]
fn nothing_listens_at_the_address() {
    let db = Database::new();
    db.set("qbo_raw.retry_delay", "1ms");
    db.set("qbo_raw.api_base_url", "http://127.0.0.1:9");
    let run = one_window(&db);
    assert_eq!(db.ended(run), "failed");
    assert_eq!(db.of_run(run, "error_code"), "connection_failed");
}

#[test]
fn the_limits_of_quickbooks_are_kept() {
    let db = Database::with(Options { rate: Some(qbo_sim::Rate::intuit()), ..Options::default() });
    db.set("qbo_raw.requests_per_second", "8");
    db.set("qbo_raw.requests_per_minute", "480");
    // As many as may be under way may arrive with the eight of the second after.
    db.set("qbo_raw.fetch_threads", "2");
    let first = db.number(&format!("SELECT raw.qb_backfill('items', {RANGE}, 10)"));
    let second = db.number(&format!("SELECT raw.qb_backfill('customers', {RANGE}, 10)"));
    assert_eq!(db.ended(first), "success");
    assert_eq!(db.ended(second), "success");
    let requests = db.sim.requests();
    assert!(requests.len() >= 20 && requests.iter().all(|request| request.status == 200), "no 429");
}

#[test]
fn over_tls_with_the_authority_named_and_not_without() {
    let db = Database::with(Options { tls: true, ..Options::default() });
    db.backfill("items");
    db.check_equal("items", "Item");
    let other = Database::with(Options { tls: true, ..Options::default() });
    other.set("qbo_raw.ca_file", "");
    other.exec("UPDATE raw.qb_config SET access_token = 'x', access_expires_at = now() + '1 hour'");
    let run = other.queue("items");
    assert_eq!(other.ended(run), "failed");
    assert_eq!(other.of_run(run, "error_code"), "tls_error");
    assert_eq!(other.sim.request_count(), 0, "no token left before the peer was known");
}

/// QuickBooks asks the company to wait, not the run that happened to ask.
#[test]
fn what_one_run_was_asked_to_wait_for_its_neighbours_wait_for_too() {
    let db = Database::new();
    let acme = Sim::start(Options { seed: 7, realm: "9130000000000000007".to_owned(), ..Options::default() })
        .unwrap();
    db.connect_another(&acme, "acme");
    db.sim.fault_times(When::Nth(3), named("429:3600"), 1);
    db.exec(&format!("SELECT raw.qb_backfill('invoices', {RANGE}), raw.qb_backfill('items', {RANGE})"));
    qbo_e2e::wait_until("one is put aside", seconds(20), || {
        db.number(
            "SELECT count(*) FROM raw.qb_run WHERE status = 'queued' AND not_before > now() + '50 minutes'",
        ) == 1
    });
    qbo_e2e::wait_until("the worker left", seconds(30), || !db.has_worker());
    assert_eq!(db.number("SELECT raw.qb_tick()"), 0, "nothing is due");
    assert_eq!(
        db.rows("SELECT run_id, left(\"left\", 5) FROM raw.qb_progress"),
        [["1", "waits"], ["2", "waits"]]
    );
    let later = db.queue("terms");
    qbo_e2e::wait_until("the worker left again", seconds(30), || !db.has_worker());
    let attempts = "SELECT run_id, status, attempt FROM raw.qb_run ORDER BY 1";
    assert_eq!(db.rows(attempts), [["1", "queued", "1"], ["2", "queued", "0"], ["3", "queued", "0"]]);
    // What was on its way when it was put aside may still arrive; nothing is asked for the others.
    let requests = db.sim.requests();
    let asked: Vec<&str> = requests.iter().map(|request| request.statement.as_str()).collect();
    assert!(asked.iter().all(|statement| statement.contains(" FROM Invoice ")), "{asked:#?}");
    // Another company is not concerned.
    let other = db.number(&format!("SELECT raw.qb_backfill('items', {RANGE}, connection => 'acme')"));
    assert_eq!(db.ended(other), "success");
    qbo_e2e::wait_until("the worker left once more", seconds(30), || !db.has_worker());
    db.exec("UPDATE raw.qb_run SET not_before = now() WHERE not_before IS NOT NULL");
    assert_eq!(db.number("SELECT raw.qb_tick()"), 1);
    for run in [1, 2, later] {
        assert_eq!(db.ended(run), "success");
    }
}

/// A table that the code of somebody else misses is not ours.
#[test]
fn a_trigger_that_misses_a_table_of_its_own_is_not_taken_for_a_table_that_vanished() {
    let db = Database::new();
    db.backfill("items");
    db.exec(
        "CREATE FUNCTION raw.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO raw.notes SELECT 1; RETURN NEW; END $$;
         GRANT EXECUTE ON FUNCTION raw.note() TO qbo_raw_owner;
         CREATE TRIGGER note BEFORE INSERT OR UPDATE ON raw.qb_items FOR EACH ROW EXECUTE FUNCTION raw.note();
         DELETE FROM raw.qb_items",
    );
    let run = db.number("SELECT raw.qb_backfill('items', '2025-07-01', '2025-09-30', 31)");
    assert_eq!(db.ended(run), "failed");
    assert!(db.of_run(run, "error_message").contains("raw.notes"), "{}", db.of_run(run, "error_message"));
    assert!(!db.log().contains("table qb_items was gone"), "{}", db.log());
}

//! Mending what failed, with one call each: exactly what is missing is asked for, and nothing else.

use qbo_e2e::{Database, RANGE, seconds, wait_until};
use qbo_sim::{Fault, Options, When};

/// A company with a record a day on average, so that no window is empty.
fn company() -> Database<'static> {
    Database::with(Options { counts: vec![("Invoice".to_owned(), 600)], ..Options::default() })
}

/// Starts of the windows that were asked for since `seen` requests, counts left out; sorted, each once.
fn asked_since(db: &Database, seen: u64) -> Vec<String> {
    let requests = db.sim.requests_after(seen);
    let mut starts: Vec<String> = requests
        .iter()
        .filter(|request| request.statement.starts_with("SELECT *"))
        .map(|request| request.statement.split(">= '").nth(1).unwrap()[..10].to_owned())
        .collect();
    starts.sort();
    starts.dedup();
    starts
}

/// Makes the windows that begin on these days fail, each in its own way.
fn spoil(db: &Database, days: &[(&str, &str)]) {
    for (day, fault) in days {
        let when = When::Statement(format!("LastUpdatedTime >= '{day}T"));
        db.sim.fault(when, Fault::named(fault).unwrap());
    }
}

#[test]
fn five_of_52_windows_that_fail_in_three_ways_are_mended_by_one_call() {
    let db = company();
    db.set("qbo_raw.max_retries", "1");
    let bad = [
        ("2025-07-05", "bad-json"),
        ("2025-07-09", "bad-json"),
        ("2025-07-20", "4001"),
        ("2025-08-02", "503"),
        ("2025-08-11", "503"),
    ];
    spoil(&db, &bad);
    let run = db.number("SELECT raw.qb_backfill('invoices', '2025-07-01', '2025-08-21', 1)");
    assert_eq!(db.ended(run), "partial");
    assert_eq!(
        db.rows(&format!(
            "SELECT windows_total, windows_done, windows_failed FROM raw.qb_run WHERE run_id = {run}"
        )),
        [["52", "47", "5"]]
    );
    let seen = "SELECT month, days, covered, failed, missing FROM raw.qb_coverage('invoices', '2025-07-01', '2025-08-21')";
    let calendar = db.rows(seen);
    assert_eq!(
        calendar[1..3],
        [
            ["2025-07", "████×███×██████████×███████████", "28", "3", "0"],
            ["2025-08", "█×████████×██████████", "19", "2", "0"],
        ]
    );
    assert_eq!(
        db.rows("SELECT gap_start, days, reason FROM raw.qb_gaps('invoices', '2025-07-01', '2025-08-21')"),
        [
            ["2025-07-05", "1", "failed: bad_json"],
            ["2025-07-09", "1", "failed: bad_json"],
            ["2025-07-20", "1", "failed: qbo_4001"],
            ["2025-08-02", "1", "failed: http_503"],
            ["2025-08-11", "1", "failed: http_503"],
        ]
    );

    db.sim.clear_faults();
    let seen_requests = db.sim.request_count();
    let retry = db.number("SELECT raw.qb_retry_failed('invoices')");
    assert_eq!(db.ended(retry), "success");
    assert_eq!(asked_since(&db, seen_requests), bad.map(|(day, _)| day), "these windows and no others");
    assert_eq!(db.of_run(retry, "windows_total"), "5");
    let calendar = db.rows(seen);
    assert_eq!(calendar[1][2..], ["31", "0", "0"]);
    assert_eq!(calendar[2][2..], ["21", "0", "0"]);
    assert_eq!(db.value("SELECT count(*) FROM raw.qb_gaps('invoices', '2025-07-01', '2025-08-21')"), "0");

    // Asked again there is nothing to do, and it says so.
    let (mut client, heard) = db.listening();
    client.batch_execute("CALL raw.qb_wait(raw.qb_retry_failed('invoices'))").unwrap();
    client
        .batch_execute("CALL raw.qb_wait(raw.qb_fill_gaps('invoices', '2025-07-01', '2025-08-21'))")
        .unwrap();
    let heard = heard.lock().unwrap();
    assert_eq!(
        *heard,
        [
            "NOTICE: no window of invoices has failed",
            "NOTICE: there is nothing to wait for",
            "NOTICE: there is no gap in invoices",
            "NOTICE: there is nothing to wait for"
        ]
    );
}

#[test]
fn the_same_windows_are_retried_once_however_many_ask() {
    let db = company();
    spoil(&db, &[("2025-07-08", "4001"), ("2025-08-05", "4001")]);
    let run = db.queue("invoices");
    assert_eq!(db.ended(run), "partial");
    db.sim.clear_faults();
    db.sim.fault(When::Always, Fault::Stall(seconds(60)));
    let retries: Vec<i64> = std::thread::scope(|scope| {
        let asking: Vec<_> =
            (0..6).map(|_| scope.spawn(|| db.number("SELECT raw.qb_retry_failed('invoices')"))).collect();
        asking.into_iter().map(|asking| asking.join().unwrap()).collect()
    });
    assert!(retries.iter().all(|retry| *retry == retries[0]), "{retries:?}");
    assert_eq!(db.number("SELECT count(*) FROM raw.qb_run"), 2);
    db.sim.clear_faults();
    db.sim.release();
    assert_eq!(db.ended(retries[0]), "success");
}

#[test]
fn resume_goes_on_with_what_is_left_and_repeats_nothing() {
    let db = company();
    spoil(&db, &[("2025-08-05", "4001")]);
    let run = db.queue("invoices");
    assert_eq!(db.ended(run), "partial");
    // It still fails: the run ends as it did.
    assert_eq!(db.number(&format!("SELECT raw.qb_resume({run})")), run);
    assert_eq!(db.ended(run), "partial");
    assert_eq!(db.of_run(run, "attempt"), "2");
    db.sim.clear_faults();
    let seen = db.sim.request_count();
    let (mut client, heard) = db.listening();
    client.batch_execute(&format!("CALL raw.qb_wait(raw.qb_resume({run}))")).unwrap();
    assert_eq!(heard.lock().unwrap()[0], format!("NOTICE: run {run} goes on: 1 of 14 windows are left"));
    assert_eq!(asked_since(&db, seen), ["2025-08-05"]);
    assert_eq!(db.of_run(run, "status"), "success");
    db.check_reports("invoices", run);
    db.check_equal("invoices", "Invoice");

    // Resuming what is done does nothing.
    let seen = db.sim.request_count();
    client.batch_execute(&format!("CALL raw.qb_wait(raw.qb_resume({run}))")).unwrap();
    assert!(
        heard.lock().unwrap().iter().any(|line| line.contains("whole already: nothing is left to do")),
        "{heard:?}"
    );
    assert_eq!(db.sim.request_count(), seen);
    for (call, sqlstate) in [("NULL", "22004"), ("4711", "22023")] {
        assert_eq!(db.refused(&format!("SELECT raw.qb_resume({call})")).sqlstate, sqlstate);
    }
}

#[test]
fn a_run_that_is_alive_is_not_resumed_and_a_cancelled_one_is() {
    let db = company();
    db.sim.fault(When::From(3), Fault::Stall(seconds(30)));
    let run = db.queue("invoices");
    wait_until("it works", seconds(30), || db.sim.request_count() >= 3);
    let (mut client, heard) = db.listening();
    client.batch_execute(&format!("SELECT raw.qb_resume({run})")).unwrap();
    assert_eq!(heard.lock().unwrap().last().unwrap(), &format!("NOTICE: run {run} is running already"));
    // Another run for windows of a live one is left to that one.
    let windows = "ARRAY[tstzrange('2025-08-01Z', '2025-08-02Z')]";
    assert_eq!(db.number(&format!("SELECT raw.qb_backfill_windows('invoices', {windows})")), run);
    db.exec(&format!("SELECT raw.qb_cancel({run})"));
    assert_eq!(db.ended(run), "cancelled");
    db.sim.clear_faults();
    db.exec(&format!("SELECT raw.qb_resume({run})"));
    assert_eq!(db.ended(run), "success");
    db.check_equal("invoices", "Invoice");
}

#[test]
fn a_run_that_many_resume_at_once_goes_on_once() {
    let db = company();
    db.sim.fault(When::Always, Fault::Stall(seconds(30)));
    let run = db.number("SELECT raw.qb_backfill('invoices', '2025-07-01', '2025-07-14', 1)");
    wait_until("it works", seconds(30), || db.sim.request_count() > 0);
    db.exec(&format!("SELECT raw.qb_cancel({run})"));
    assert_eq!(db.ended(run), "cancelled");
    db.sim.clear_faults();
    let (attempt, before) = (db.of_run(run, "attempt").parse::<i32>().unwrap(), db.sim.request_count());
    std::thread::scope(|scope| {
        for _ in 0..16 {
            let db = &db;
            scope.spawn(move || db.exec(&format!("SELECT raw.qb_resume({run})")));
        }
    });
    assert_eq!(db.ended(run), "success");
    assert_eq!(db.of_run(run, "attempt").parse::<i32>().unwrap(), attempt + 1, "one attempt");
    let twice = db.rows(&format!(
        "SELECT window_start FROM raw.backfill_report_invoices WHERE run_id = {run} AND status = 'success' GROUP BY 1 HAVING count(*) > 1"
    ));
    assert!(twice.is_empty(), "{twice:?}");
    // Each window is one request, and then they are counted once.
    assert!(db.sim.request_count() - before <= 14 + 2, "{} requests", db.sim.request_count() - before);
}

#[test]
fn a_run_blocked_by_its_credentials_goes_on_when_they_are_mended() {
    let db = company();
    db.sim.revoke_tokens();
    let run = db.queue("invoices");
    assert_eq!(db.ended(run), "blocked_auth");
    assert!(db.of_run(run, "error_hint").contains("raw.qb_resume"), "{}", db.of_run(run, "error_hint"));
    assert_eq!(db.number(&format!("SELECT raw.qb_resume({run})")), run);
    assert_eq!(db.ended(run), "blocked_auth", "nothing was mended");
    db.authorize();
    db.exec("SELECT raw.qb_resume(run_id) FROM raw.qb_run WHERE status = 'blocked_auth'");
    assert_eq!(db.ended(run), "success");
    db.check_equal("invoices", "Invoice");
}

#[test]
fn gaps_are_days_that_are_over_and_not_whole() {
    let db = company();
    let (mut client, heard) = db.listening();
    client.batch_execute("SELECT * FROM raw.qb_coverage('invoices'), raw.qb_gaps('invoices')").unwrap();
    assert!(heard.lock().unwrap().iter().all(|line| line.contains("nothing of invoices was fetched yet")));
    db.exec("CALL raw.qb_wait(raw.qb_backfill('invoices', '2025-07-05', '2025-07-10'))");
    let day = db.value("SELECT raw._qb_day_of(now())");
    db.exec(&format!("CALL raw.qb_wait(raw.qb_backfill('invoices', '{day}', '{day}'))"));
    let gaps =
        "SELECT gap_start, gap_end, days, reason FROM raw.qb_gaps('invoices', '2025-07-01', '2025-07-20')";
    assert_eq!(
        db.rows(gaps),
        [
            ["2025-07-01", "2025-07-04", "4", "never fetched"],
            ["2025-07-11", "2025-07-20", "10", "never fetched"]
        ]
    );
    // Today is fetched and not over: no gap yet. Once it is over, what came later is missing.
    let today = format!("SELECT count(*) FROM raw.qb_gaps('invoices', '{day}', '{day}')");
    assert_eq!(db.value(&today), "0");
    db.exec(&format!(
        "UPDATE raw.backfill_report_invoices SET window_start = window_start - interval '1 day',
           window_end = window_end - interval '1 day', started_at = started_at - interval '1 day'
          WHERE window_start >= '{day}'"
    ));
    let yesterday =
        format!("SELECT gap_start = date '{day}' - 1, reason FROM raw.qb_gaps('invoices', date '{day}' - 1)");
    assert_eq!(db.rows(&yesterday), [["t", "fetched before it was over"]]);

    let run = db.number("SELECT raw.qb_fill_gaps('invoices', '2025-07-01', '2025-07-20', 5)");
    assert_eq!(db.ended(run), "success");
    let windows = db.rows(&format!(
        "SELECT (window_start AT TIME ZONE 'UTC')::date, (window_end AT TIME ZONE 'UTC')::date
           FROM raw.backfill_report_invoices WHERE run_id = {run} ORDER BY 1"
    ));
    assert_eq!(
        windows,
        [["2025-07-01", "2025-07-05"], ["2025-07-11", "2025-07-16"], ["2025-07-16", "2025-07-21"]]
    );
    assert!(db.rows(gaps).is_empty());
    for (call, sqlstate) in [
        ("raw.qb_gaps('invoices', '2025-07-02', '2025-07-01')", "22023"),
        ("raw.qb_gaps('invoces')", "22023"),
        ("raw.qb_gaps('invoices', connection => 'nobody')", "22023"),
        ("raw.qb_gaps('invoices', connection => NULL)", "22004"),
        ("raw.qb_coverage('invoices', window_on => 'paid')", "22023"),
        ("raw.qb_coverage('invoices', '-infinity', 'infinity')", "22023"),
        ("raw.qb_fill_gaps('invoices', '2025-07-01', '2025-07-02', 0)", "22023"),
        ("raw.qb_backfill_windows('invoices', NULL)", "22004"),
        ("raw.qb_backfill_windows('invoices', '{}')", "22023"),
        ("raw.qb_backfill_windows('invoices', ARRAY[tstzrange('2025-07-01Z', NULL)])", "22023"),
        ("raw.qb_backfill_windows('invoices', ARRAY[tstzrange('2025-07-01Z', '2025-07-01Z')])", "22023"),
        ("raw.qb_backfill_windows('invoices', ARRAY[tstzrange('1200-07-01Z', '2025-07-01Z')])", "22023"),
        (
            "raw.qb_backfill_windows('invoices', ARRAY[tstzrange('2025-07-01Z', '2025-07-03Z'), tstzrange('2025-07-02Z', '2025-07-04Z')])",
            "22023",
        ),
    ] {
        assert_eq!(db.refused(&format!("SELECT * FROM {call}")).sqlstate, sqlstate, "{call}");
    }
}

#[test]
fn old_reports_go_and_what_is_covered_stays() {
    let db = company();
    spoil(&db, &[("2025-08-05", "4001")]);
    let first = db.queue("invoices");
    assert_eq!(db.ended(first), "partial");
    db.sim.clear_faults();
    let second = db.number("SELECT raw.qb_retry_failed('invoices')");
    assert_eq!(db.ended(second), "success");
    let third = db.number("SELECT raw.qb_backfill('invoices', '2025-07-01', '2025-08-31', 31)");
    assert_eq!(db.ended(third), "success");
    let calendar = "SELECT * FROM raw.qb_coverage('invoices', '2025-07-01', '2025-09-30')";
    let before = db.rows(calendar);
    assert_eq!(db.number("SELECT count(*) FROM raw.backfill_report_invoices"), 14 + 1 + 2);
    let purged = "SELECT raw.qb_purge_reports('1 day')";
    assert_eq!(db.value(purged), "0 report rows and 0 runs deleted; what is covered stays as it was");
    db.exec(
        "UPDATE raw.backfill_report_invoices SET finished_at = finished_at - interval '3 days';
         UPDATE raw.qb_run SET finished_at = finished_at - interval '3 days'",
    );
    // Of the first run the windows of September are the newest word; the second's was overtaken.
    assert_eq!(db.value(purged), "9 report rows and 1 runs deleted; what is covered stays as it was");
    assert_eq!(db.rows(calendar), before);
    assert_eq!(
        db.rows("SELECT run_id FROM raw.qb_run ORDER BY 1").concat(),
        [first.to_string(), third.to_string()]
    );
    for (interval, sqlstate) in [("NULL", "22004"), ("'1 hour'", "22023"), ("'-1 year'", "22023")] {
        assert_eq!(db.refused(&format!("SELECT raw.qb_purge_reports({interval})")).sqlstate, sqlstate);
    }
    assert_eq!(
        db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE})")),
        third + 1,
        "ids never repeat"
    );
}

#[test]
fn the_calendar_is_ascii_where_the_client_is() {
    let db = company();
    spoil(&db, &[("2025-07-08", "4001")]);
    db.ended(db.number("SELECT raw.qb_backfill('invoices', '2025-07-01', '2025-07-14', 7)"));
    let mut client = db.client();
    client.batch_execute("SET client_encoding = 'LATIN1'").unwrap();
    let lines = qbo_e2e::rows(
        &mut client,
        "SELECT month, days FROM raw.qb_coverage('invoices', '2025-06-29', '2025-07-16')",
    )
    .unwrap();
    assert_eq!(
        lines,
        [
            ["", "1   5    10   15   20   25   30"],
            ["2025-06", "                            .."],
            ["2025-07", "#######xxxxxxx.."],
            ["", "# covered x failed ~ in part . missing"]
        ]
    );
    let drawn = db.psql("SELECT * FROM raw.qb_coverage('invoices', '2025-06-29', '2025-07-16')");
    assert!(drawn.lines().all(|line| line.chars().count() <= 80), "{drawn}");
}

#[test]
fn a_report_of_another_database_is_nobodys() {
    let db = Database::new();
    let run = db.backfill("items");
    // As if the table had been restored from where these numbers were other runs'.
    db.exec("UPDATE raw.backfill_report_items SET run_id = run_id + 1");
    let seen = db.sim.request_count();
    let next = db.queue("items");
    assert_eq!((next, db.ended(next).as_str()), (run + 1, "success"));
    assert!(db.sim.request_count() >= seen + 14, "every window is fetched");
    db.check_reports("items", next);
    let others = "SELECT count(*) FROM raw.backfill_report_items WHERE run_id = -$1";
    assert_eq!(db.number(&others.replace("$1", &next.to_string())), 14, "what they say is kept");
    assert_eq!(db.number("SELECT count(*) FROM raw.qb_gaps('items', '2025-07-01', '2025-09-30')"), 0);
}

/// What a run has done is what its reports say, not what it remembers.
#[test]
fn a_run_whose_reports_are_gone_counts_anew_when_it_goes_on() {
    let db = company();
    spoil(&db, &[("2025-08-05", "4001")]);
    let run = db.queue("invoices");
    assert_eq!(db.ended(run), "partial");
    let total = db.of_run(run, "windows_total");
    db.sim.clear_faults();
    db.exec("TRUNCATE raw.backfill_report_invoices");
    db.exec(&format!("SELECT raw.qb_resume({run})"));
    assert_eq!(db.ended(run), "success");
    assert_eq!(db.of_run(run, "windows_done"), total);
    assert_eq!(db.value("SELECT count(*) FROM raw.backfill_report_invoices"), total);
}

/// A table of an earlier pipeline may have records without a payload.
#[test]
fn a_record_without_a_payload_is_put_right() {
    let db = company();
    db.backfill("invoices");
    db.exec("ALTER TABLE raw.qb_invoices ALTER COLUMN payload DROP NOT NULL; UPDATE raw.qb_invoices SET payload = NULL WHERE id < '2'");
    let run = db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, 31)"));
    assert_eq!(db.ended(run), "success", "{}", db.of_run(run, "error_message"));
    assert!(db.of_run(run, "updated_count > 0") == "t");
    db.check_equal("invoices", "Invoice");
}

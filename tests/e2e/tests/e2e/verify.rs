//! Asking without loading: verification, the dry run, and what all of it costs.

use qbo_e2e::{Database, RANGE, seconds, wait_until};
use qbo_sim::{Fault, Options, When};

pub(crate) fn company() -> Database<'static> {
    Database::with(Options { counts: vec![("Invoice".to_owned(), 300)], ..Options::default() })
}

/// Windows that are not the same, with what is said of them.
fn verdicts(db: &Database) -> Vec<Vec<String>> {
    db.rows(&format!(
        "SELECT to_char(window_start AT TIME ZONE 'UTC', 'MM-DD'), missing, changed_since, verdict
           FROM raw.qb_verify('invoices', {RANGE}) WHERE verdict <> 'same'"
    ))
}

#[test]
fn a_run_counts_its_range_at_the_end() {
    let db = company();
    let run = db.backfill("invoices");
    assert_eq!(
        db.rows(&format!("SELECT source_count, stored_count FROM raw.qb_run WHERE run_id = {run}")),
        [["300", "300"]]
    );
    // A record that came into the range behind our back, where the run had read already: in its midst, since it
    // counts as soon as the last window is handed out. That the table keeps one which was deleted does not make up for it.
    let deleted = db.value(
        "SELECT id FROM raw.qb_invoices WHERE extract_window_start_utc = '2025-07-08Z' ORDER BY id LIMIT 1",
    );
    assert!(db.sim.delete("Invoice", &deleted));
    wait_until("the worker left", seconds(30), || !db.has_worker());
    db.set("qbo_raw.fetch_threads", "1");
    db.sim.clear_log();
    let midst = "LastUpdatedTime >= '2025-08-12T";
    db.sim.fault(When::Statement(midst.to_owned()), Fault::Stall(seconds(60)));
    let run = db.queue("invoices");
    db.asked_for(midst);
    let added = db.sim.insert("Invoice").unwrap();
    assert!(db.sim.set_updated("Invoice", &added, "2025-07-02T10:00:00Z".parse().unwrap()));
    db.sim.clear_faults();
    db.sim.release();
    let (mut client, heard) = db.listening();
    client.batch_execute(&format!("CALL raw.qb_wait({run})")).unwrap();
    assert_eq!(
        db.rows(&format!("SELECT status, source_count, stored_count FROM raw.qb_run WHERE run_id = {run}")),
        [["success", "300", "299"]]
    );
    assert!(
        heard
            .lock()
            .unwrap()
            .iter()
            .any(|line| line == "WARNING: QuickBooks counts 300 records in the range, 299 of them are stored"),
        "{heard:?}"
    );
    assert_eq!(verdicts(&db), [["07-01", "1", "0", "missing"], ["07-08", "0", "1", "changed since"]]);
    // Both warnings, the worker's and that of the wait, name the call that mends it.
    let (log, ours) = (db.log(), [format!(" [{}] ", db.of_run(run, "worker_pid")), format!(" {} ", db.name)]);
    let hints: Vec<&str> = log
        .lines()
        .filter(|line| ours.iter().any(|whose| line.contains(whose)))
        .filter_map(|line| line.split_once("HINT:  ")?.1.split_once(" fetches it again"))
        .map(|(call, _)| call)
        .collect();
    assert_eq!(hints.len(), 2, "{hints:?}");
    for call in hints {
        db.exec("DELETE FROM raw.qb_invoices WHERE payload #>> '{MetaData,LastUpdatedTime}' LIKE '2025-07-02T10:00:00%'");
        let run = db.number(call.trim_end_matches(';'));
        assert_eq!(db.ended(run), "success");
        assert_eq!(verdicts(&db), [["07-08", "0", "1", "changed since"]], "{call}");
    }
}

#[test]
fn a_count_that_fails_does_not_fail_the_run() {
    let db = company();
    db.set("qbo_raw.max_retries", "1");
    db.sim.fault(When::Statement("COUNT(*)".to_owned()), Fault::named("500").unwrap());
    let run = db.backfill("invoices");
    assert_eq!(db.of_run(run, "source_count"), "");
    assert_eq!(db.value("SELECT requests FROM raw.qb_api_usage WHERE outcome = 'count'"), "2");
}

#[test]
fn verification_tells_missing_records_from_those_that_changed() {
    let db = company();
    db.backfill("invoices");
    assert!(verdicts(&db).is_empty());
    // One is lost here, one changed there, one was deleted there.
    let of = |day: &str| {
        let find = format!(
            "SELECT id FROM raw.qb_invoices WHERE extract_window_start_utc = '{day}Z' ORDER BY id LIMIT 1"
        );
        db.value(&find)
    };
    let (lost, changed, deleted) = (of("2025-07-08"), of("2025-07-15"), of("2025-07-22"));
    db.exec(&format!("DELETE FROM raw.qb_invoices WHERE id = '{lost}'"));
    let day = db.value("SELECT current_date");
    assert!(db.sim.set_updated("Invoice", &changed, chrono::Utc::now()));
    assert!(db.sim.delete("Invoice", &deleted));
    let (mut client, heard) = db.listening();
    client.batch_execute(&format!("SELECT * FROM raw.qb_verify('invoices', {RANGE})")).unwrap();
    assert_eq!(
        *heard.lock().unwrap(),
        ["WARNING: 1 records of invoices are missing in 1 windows that were fetched"]
    );
    let wrong = [
        ["07-08", "1", "0", "missing"],
        ["07-15", "0", "1", "changed since"],
        ["07-22", "0", "1", "changed since"],
    ];
    assert_eq!(verdicts(&db), wrong);
    // The changed one is no loss: the window of today has it.
    let today =
        format!("SELECT in_quickbooks, in_table, verdict FROM raw.qb_verify('invoices', '{day}', '{day}')");
    assert_eq!(db.rows(&today), [["1", "0", "not over yet"]]);
    db.exec(&format!("CALL raw.qb_wait(raw.qb_backfill('invoices', '{day}', '{day}'))"));
    assert_eq!(db.rows(&today), [["1", "1", "same"]]);
    // Windows that were never fetched, failed, or were cut otherwise.
    let rest = db.rows(
        "SELECT verdict, count(*) FROM raw.qb_verify('invoices', '2025-06-01', '2025-06-30', 10) GROUP BY 1",
    );
    assert_eq!(rest, [["same", "3"]], "nothing there, nothing here");
    db.exec("DELETE FROM raw.backfill_report_invoices WHERE window_start = '2025-07-08Z'");
    assert_eq!(verdicts(&db)[0], ["07-08", "1", "0", "not fetched"]);
    // By the time of creation it is another question.
    let created = "SELECT sum(in_table) - sum(in_quickbooks) FROM raw.qb_verify('invoices', '2020-01-01', current_date, 5000, 'created')";
    assert_eq!(db.value(created), "0", "one is lost, one deleted");
}

#[test]
fn what_lies_between_named_windows_is_not_missed() {
    let db = company();
    let windows = "ARRAY[tstzrange('2025-07-01Z', '2025-07-02Z'), tstzrange('2025-07-09Z', '2025-07-10Z')]";
    let (mut client, heard) = db.listening();
    client
        .batch_execute(&format!("CALL raw.qb_wait(raw.qb_backfill_windows('invoices', {windows}))"))
        .unwrap();
    assert!(heard.lock().unwrap().iter().all(|line| !line.starts_with("WARNING")), "{heard:?}");
    assert_eq!(db.rows("SELECT status, source_count FROM raw.qb_run"), [["success", ""]]);
    let windows = "ARRAY[tstzrange('2025-07-02Z', '2025-07-04Z'), tstzrange('2025-07-04Z', '2025-07-09Z')]";
    client
        .batch_execute(&format!("CALL raw.qb_wait(raw.qb_backfill_windows('invoices', {windows}))"))
        .unwrap();
    assert_eq!(
        db.value("SELECT source_count = stored_count FROM raw.qb_run WHERE run_id = 2"),
        "t",
        "these touch"
    );
}

#[test]
fn rejects_count_as_held() {
    let db = company();
    let id = db.sim.ids("Invoice")[7].clone();
    let text = db.sim.record("Invoice", &id).unwrap().replacen("{", "{\"Bad\":\"\\u0000\",", 1);
    assert!(db.sim.patch("Invoice", &id, &text));
    let run = db.backfill("invoices");
    assert_eq!(db.of_run(run, "rejected_count"), "1");
    assert_eq!(db.of_run(run, "source_count = stored_count"), "t");
    assert!(verdicts(&db).is_empty());
}

#[test]
fn a_plan_says_what_a_run_will_cost_and_the_run_costs_that() {
    let db = company();
    let (mut client, heard) = db.listening();
    let plan = qbo_e2e::rows(
        &mut client,
        &format!(
            "SELECT count(*), sum(records), sum(requests) FROM raw.qb_plan('invoices', {RANGE}, 14, 20)"
        ),
    )
    .unwrap();
    let heard = heard.lock().unwrap().clone();
    assert_eq!(plan[0][..2], ["7", "300"]);
    let cost = plan[0][2].clone();
    assert_eq!(
        heard[0],
        format!("NOTICE: 7 windows, 300 records: {cost} requests, less than a minute at 1000000 a minute")
    );
    assert_eq!(heard[1], "NOTICE: 7 of 500000 requests of this month are spent");
    let run = db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, 14, 20)"));
    assert_eq!(db.ended(run), "success");
    assert_eq!(db.of_run(run, "request_count"), cost);
    assert_eq!(
        db.rows("SELECT connection, month = to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM'), entity, outcome, requests, budget FROM raw.qb_api_usage"),
        [
            ["default", "t", "invoices", "count", "8", "500000"],
            ["default", "t", "invoices", "success", cost.as_str(), "500000"]
        ]
    );
    assert_eq!(
        db.number("SELECT max(of_month) FROM raw.qb_api_usage"),
        db.sim.request_count() as i64,
        "every request"
    );
    for (call, sqlstate) in [
        ("raw.qb_plan(NULL, '2025-07-01', '2025-07-02')", "22004"),
        ("raw.qb_plan('invoices', '2025-07-01', '2025-07-02', page_size => 1001)", "22023"),
        ("raw.qb_plan('invoices', '2025-07-02', '2025-07-01')", "22023"),
        ("raw.qb_verify('invoices', '2025-07-01', NULL)", "22004"),
        ("raw.qb_verify('invoices', '1991-01-01', '2025-07-01', 1)", "22023"),
        ("raw.qb_verify('invoices', '2025-07-01', '2025-07-01', connection => 'nobody')", "22023"),
    ] {
        assert_eq!(db.refused(&format!("SELECT * FROM {call}")).sqlstate, sqlstate, "{call}");
    }
}

#[test]
fn the_budget_of_the_month_is_kept() {
    let db = company();
    db.exec("UPDATE raw.qb_config SET monthly_budget = 20");
    let (mut client, heard) = db.listening();
    client.batch_execute(&format!("SELECT * FROM raw.qb_plan('invoices', {RANGE})")).unwrap();
    assert_eq!(heard.lock().unwrap().last().unwrap(), "WARNING: the run would pass the budget of the month");
    let spent = db.sim.request_count();
    let run = db.queue("invoices");
    assert_eq!(db.ended(run), "partial");
    assert_eq!(db.sim.request_count(), 20, "not one request more");
    assert_eq!(db.of_run(run, "error_code"), "budget_spent");
    assert_eq!(db.of_run(run, "windows_failed"), "0", "what was not asked for has not failed");
    assert!(
        db.number(&format!("SELECT windows_done FROM raw.qb_run WHERE run_id = {run}"))
            >= 20 - spent as i64 - 4
    );
    let error = db.refused(&format!("CALL raw.qb_wait({run})"));
    assert!(error.hint.contains("raw.qb_resume") && error.hint.contains("next month"), "{error:?}");
    // Nothing is left, so nothing is asked.
    let error = db.refused(&format!("SELECT * FROM raw.qb_verify('invoices', {RANGE})"));
    assert_eq!(error.sqlstate, "53400");
    db.exec(&format!("SELECT raw.qb_resume({run})"));
    assert_eq!(db.ended(run), "partial");
    assert_eq!(db.sim.request_count(), 20);
    // No limit.
    db.exec("UPDATE raw.qb_config SET monthly_budget = NULL");
    db.backfill("items");
    // The next month.
    db.exec("UPDATE raw.qb_usage SET month = month - interval '1 month'");
    db.exec("UPDATE raw.qb_config SET monthly_budget = 500000");
    db.exec(&format!("SELECT raw.qb_resume({run})"));
    assert_eq!(db.ended(run), "success");
    db.check_equal("invoices", "Invoice");
    db.check_reports("invoices", run);
    assert_eq!(db.number("SELECT sum(requests) FROM raw.qb_api_usage"), db.sim.request_count() as i64);
}

#[test]
fn requests_of_a_cancelled_run_are_accounted_for() {
    let db = company();
    db.set("qbo_raw.fetch_threads", "4");
    db.sim.fault(When::From(4), Fault::Stall(seconds(30)));
    let run = db.queue("invoices");
    // Three were answered, and as many as may be under way stall: none is let go that has not arrived yet.
    wait_until("all threads stall", seconds(30), || db.sim.request_count() == 3 + 4);
    db.exec(&format!("SELECT raw.qb_cancel({run})"));
    assert_eq!(db.ended(run), "cancelled");
    assert_eq!(db.number("SELECT sum(requests) FROM raw.qb_api_usage"), db.sim.request_count() as i64);
}

#[test]
fn who_asks_while_a_run_works_is_told_which() {
    let db = company();
    db.sim.fault(When::From(2), Fault::Stall(seconds(30)));
    let run = db.queue("invoices");
    wait_until("it works", seconds(30), || db.sim.request_count() >= 2);
    let error = db.refused(&format!("SELECT * FROM raw.qb_verify('invoices', {RANGE})"));
    assert_eq!(error.sqlstate, "55006");
    assert!(error.hint.contains(&format!("CALL raw.qb_wait({run});")), "{error:?}");
    let found = db.rows("SELECT ok, result FROM raw.qb_check() WHERE subject = 'query'");
    assert_eq!(found, [["t", "a run is at work on it"]]);
    db.exec(&format!("SELECT raw.qb_cancel({run})"));
    db.ended(run);
}

#[test]
fn a_question_can_be_interrupted_and_holds_nothing_up() {
    let db = company();
    db.sim.fault(When::Always, Fault::Stall(seconds(30)));
    let mut client = db.client();
    client.batch_execute("SET statement_timeout = '500ms'").unwrap();
    let began = std::time::Instant::now();
    let error = qbo_e2e::refused(&mut client, &format!("SELECT * FROM raw.qb_verify('invoices', {RANGE})"));
    assert_eq!(error.sqlstate, "57014");
    assert!(began.elapsed() < seconds(10));
    db.sim.clear_faults();
    wait_until("the errand ends", seconds(20), || {
        db.number("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'qbo_raw errand' AND datname = current_database()") == 0
    });
    // A run that is queued while an errand has the connection is worked on afterwards.
    db.sim.fault(When::Statement("COUNT(*)".to_owned()), Fault::Stall(seconds(1)));
    let seen = db.sim.request_count();
    let run = std::thread::scope(|scope| {
        let asking = scope.spawn(|| db.rows(&format!("SELECT * FROM raw.qb_plan('invoices', {RANGE}, 100)")));
        wait_until("the errand asks", seconds(30), || db.sim.request_count() > seen);
        let run = db.queue("invoices");
        asking.join().unwrap();
        run
    });
    assert_eq!(db.ended(run), "success");
}

#[test]
fn who_is_terminated_has_no_answer_any_more() {
    let db = company();
    db.sim.fault(When::Always, Fault::Stall(seconds(30)));
    let mut client = db.client();
    let asker: i32 = client.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0);
    let errands = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'qbo_raw errand' AND datname = current_database()";
    std::thread::scope(|scope| {
        let asking = scope
            .spawn(|| client.batch_execute(&format!("SELECT * FROM raw.qb_plan('invoices', {RANGE}, 1)")));
        wait_until("the errand asks", seconds(20), || db.sim.request_count() > 0);
        db.exec(&format!("SELECT pg_terminate_backend({asker})"));
        assert!(asking.join().unwrap().is_err());
    });
    wait_until("the errand ends", seconds(10), || db.number(errands) == 0);
}

#[test]
fn a_question_waits_for_the_moment_that_a_connection_is_still_held() {
    let db = company();
    let mut holder = db.client();
    holder
        .batch_execute("SELECT pg_advisory_lock(x'71626f01'::int, connection_id) FROM raw.qb_config")
        .unwrap();
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| db.rows(&format!("SELECT * FROM raw.qb_plan('invoices', {RANGE}, 100)")));
        let errands = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'qbo_raw errand' AND datname = current_database()";
        wait_until("the errand is there", seconds(30), || db.number(errands) > 0);
        holder.batch_execute("SELECT pg_advisory_unlock_all()").unwrap();
        assert_eq!(asking.join().unwrap().len(), 1);
    });
}

/// A record that was rejected in a long window is rejected in a short one too: fetching again cures what the count says.
#[test]
fn rejects_count_as_held_in_whatever_windows_they_come() {
    let db = company();
    let id = db.sim.ids("Invoice")[7].clone();
    let text = db.sim.record("Invoice", &id).unwrap().replacen("{", "{\"Bad\":\"\\u0000\",", 1);
    assert!(db.sim.patch("Invoice", &id, &text));
    let of = |chunk: i64| db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, {chunk})"));
    for chunk in [92, 31, 7, 1, 31] {
        let run = of(chunk);
        assert_eq!(db.ended(run), "success");
        assert_eq!(db.of_run(run, "source_count = stored_count"), "t", "chunk_days {chunk}");
        let differ =
            format!("SELECT * FROM raw.qb_verify('invoices', {RANGE}, {chunk}) WHERE verdict <> 'same'");
        assert!(db.rows(&differ).is_empty(), "chunk_days {chunk}");
    }
    assert_eq!(db.number("SELECT count(*) FROM raw.qb_rejects"), 1);
}

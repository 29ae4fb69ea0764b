//! What is refused, how it is said, and what is done once however often it is asked.

use qbo_e2e::{Database, RANGE, refused, rows, seconds};
use qbo_sim::{Fault, When};
use std::time::Duration;

#[test]
fn arguments_out_of_their_range_are_named() {
    let db = Database::new();
    let mut client = db.client();
    // Arguments, SQLSTATE, part of the message, part of DETAIL or HINT.
    let wrong = [
        ("NULL, '2025-07-01', '2025-07-02'", "22004", "entity must not be null", "raw.qb_entities"),
        ("'invoices', NULL, '2025-07-02'", "22004", "start_date must not be null", "'2025-09-30'"),
        ("'invoices', '2025-07-01', NULL", "22004", "end_date must not be null", "'2025-09-30'"),
        ("'invoices', '2025-07-01', '2025-07-02', NULL", "22004", "chunk_days must not be null", "Leave"),
        (
            "'invoices', '2025-07-01', '2025-07-02', page_size => NULL",
            "22004",
            "page_size must not be null",
            "",
        ),
        (
            "'invoices', '2025-07-01', '2025-07-02', window_on => NULL",
            "22004",
            "window_on must not be null",
            "",
        ),
        (
            "'invoices', '2025-07-01', '2025-07-02', connection => NULL",
            "22004",
            "connection must not be null",
            "",
        ),
        (
            "'invocies', '2025-07-01', '2025-07-02'",
            "22023",
            "unknown entity \"invocies\"",
            "Did you mean 'invoices'?",
        ),
        ("'', '2025-07-01', '2025-07-02'", "22023", "unknown entity", "raw.qb_entities"),
        ("'Invoices; DROP TABLE x', '2025-07-01', '2025-07-02'", "22023", "unknown entity", ""),
        ("repeat('🧾', 5000), '2025-07-01', '2025-07-02'", "22023", "unknown entity", ""),
        (
            "'invoices', '2025-07-02', '2025-07-01'",
            "22023",
            "end_date 2025-07-01 is before start_date 2025-07-02",
            "Both days",
        ),
        ("'invoices', '1989-12-31', '2025-07-01'", "22023", "start_date is 1989-12-31", "1990-01-01"),
        ("'invoices', '0001-01-01', '2025-07-01'", "22023", "start_date is", "1990-01-01"),
        ("'invoices', '4713-01-01 BC', '2025-07-01'", "22023", "start_date is", "1990-01-01"),
        ("'invoices', '2025-07-01', '2999-01-01'", "22023", "end_date is 2999-01-01", "two days from now"),
        ("'invoices', '2025-07-01', '5874897-12-31'", "22023", "end_date is", "1990-01-01"),
        ("'invoices', '-infinity', '2025-07-01'", "22023", "start_date is -infinity", "1990-01-01"),
        ("'invoices', '2025-07-01', 'infinity'", "22023", "end_date is infinity", "1990-01-01"),
        ("'invoices', '2025-07-01', '2025-07-02', 0", "22023", "chunk_days is 0", "1 or more"),
        ("'invoices', '2025-07-01', '2025-07-02', -7", "22023", "chunk_days is -7", "1 or more"),
        ("'invoices', '2025-07-01', '2025-07-02', 7, 0", "22023", "page_size is 0", "1 to 1000"),
        ("'invoices', '2025-07-01', '2025-07-02', 7, 1001", "22023", "page_size is 1001", "1 to 1000"),
        (
            "'invoices', '2025-07-01', '2025-07-02', window_on => 'deleted'",
            "22023",
            "window_on is \"deleted\"",
            "'updated' or 'created'",
        ),
        (
            "'invoices', '2025-07-01', '2025-07-02', execution_date => 'infinity'",
            "22023",
            "execution_date is infinity",
            "finite",
        ),
        (
            "'invoices', '2025-07-01', '2025-07-02', execution_date => '0044-03-15 BC'",
            "22023",
            "execution_date is 0044-03-15",
            "from 1990-01-01",
        ),
        (
            "'invoices', '2025-07-01', '2025-07-02', execution_date => '20250-07-02'",
            "22023",
            "execution_date is 20250-07-02",
            "two days from now",
        ),
        (
            "'invoices', '2025-07-01', '2025-07-02', connection => 'nobody'",
            "22023",
            "connection \"nobody\" does not exist",
            "raw.qb_connect",
        ),
    ];
    for (arguments, sqlstate, message, advice) in wrong {
        let error = refused(&mut client, &format!("SELECT raw.qb_backfill({arguments})"));
        assert_eq!(error.sqlstate, sqlstate, "{arguments}: {error:?}");
        assert!(error.message.contains(message), "{arguments}: {error:?}");
        assert!(format!("{} {}", error.detail, error.hint).contains(advice), "{arguments}: {error:?}");
    }
    assert_eq!(db.number("SELECT count(*) FROM raw.qb_run"), 0);
    assert_eq!(db.value("SELECT to_regclass('raw.qb_invoices')"), "", "no table was made");
    assert_eq!(db.sim.request_count(), 0);
    for call in ["raw.qb_cancel(NULL)", "raw.qb_cancel(4711)"] {
        assert!(
            ["22004", "22023"].contains(&refused(&mut client, &format!("SELECT {call}")).sqlstate.as_str())
        );
    }
    assert_eq!(refused(&mut client, "SELECT raw.qb_check(NULL)").sqlstate, "22004");
    // What had nothing to do, such as qb_retry_failed, gives NULL.
    client.batch_execute("CALL raw.qb_wait(NULL)").unwrap();
    assert_eq!(refused(&mut client, "CALL raw.qb_wait(4711)").sqlstate, "22023");
}

#[test]
fn every_spelling_of_an_entity_is_the_same_entity() {
    let db = Database::new();
    for spelling in ["invoices", " INVOICES ", "Invoice", "invoice"] {
        let run = db.number(&format!("SELECT raw.qb_backfill('{spelling}', '2025-07-01', '2025-07-01')"));
        assert_eq!(db.of_run(run, "entity"), "invoices");
        assert_eq!(db.ended(run), "success");
    }
    assert_eq!(
        db.number("SELECT count(*) FROM pg_class WHERE relname LIKE 'qb_invoice%' AND relkind = 'r'"),
        1
    );
}

#[test]
fn the_same_live_run_is_joined() {
    let db = Database::new();
    db.sim.fault(When::Always, Fault::Stall(Duration::from_secs(3)));
    let first = db.queue("invoices");
    let (mut client, heard) = db.listening();
    let second = rows(&mut client, &format!("SELECT raw.qb_backfill('invoices', {RANGE})")).unwrap();
    assert_eq!(second[0][0], first.to_string());
    let said = format!("NOTICE: run {first} already does this");
    assert_eq!(*heard.lock().unwrap(), std::slice::from_ref(&said));
    heard.lock().unwrap().clear();
    let third = format!("SELECT raw.qb_backfill('invoices', {RANGE}, execution_date => '2025-10-01')");
    assert_eq!(rows(&mut client, &third).unwrap()[0][0], first.to_string());
    assert_eq!(*heard.lock().unwrap(), [said + ", with another execution_date"]);
    let other = db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, 8)"));
    assert_ne!(other, first);
    db.exec(&format!("SELECT raw.qb_cancel({first}), raw.qb_cancel({other})"));
    db.ended(first);
    db.ended(other);
    assert_ne!(db.queue("invoices"), first, "a finished run is not joined");
}

#[test]
fn what_was_queued_is_said_and_what_was_cut_too() {
    let db = Database::new();
    db.exec("UPDATE raw.qb_config SET page_size = 200");
    let (mut client, heard) = db.listening();
    let calls = [
        ("SELECT raw.qb_backfill('items', '2025-07-01', '2025-07-10', page_size => 200)", "2 windows", false),
        ("SELECT raw.qb_backfill('items', '2025-07-01', '2025-07-10', page_size => 201)", "2 windows", true),
        (
            "SELECT raw.qb_backfill_windows('items', ARRAY[tstzrange('2025-08-05Z', '2025-08-12Z')], 1000)",
            "1 window",
            true,
        ),
    ];
    for (call, windows, cut) in calls {
        let run = rows(&mut client, call).unwrap()[0][0].clone();
        let said = std::mem::take(&mut *heard.lock().unwrap());
        assert_eq!(said.last(), Some(&format!("NOTICE: run {run} of items: {windows}")), "{call}");
        assert_eq!(
            said.len() == 2 && said[0].contains("than the 200 of connection"),
            cut,
            "{call}: {said:?}"
        );
        let run = run.parse().unwrap();
        assert_eq!((db.ended(run).as_str(), db.of_run(run, "page_size").as_str()), ("success", "200"));
    }
}

#[test]
fn a_doctor_comes_before_the_first_connection() {
    let db = Database::new();
    db.exec("DELETE FROM raw.qb_config");
    let found = db.rows("SELECT subject, ok FROM raw.qb_check()");
    assert_eq!(found, [["server", "t"], ["worker slots", "t"], ["connection", "f"]]);
}

#[test]
fn a_rollback_sends_no_request() {
    let db = Database::new();
    let mut client = db.client();
    client
        .batch_execute(&format!("BEGIN; SELECT raw.qb_backfill('invoices', {RANGE}); SELECT pg_sleep(0.5)"))
        .unwrap();
    assert!(!db.has_worker(), "nothing starts before the commit");
    client.batch_execute("ROLLBACK").unwrap();
    client
        .batch_execute(&format!(
            "DO $$ BEGIN PERFORM raw.qb_backfill('invoices', {}); RAISE EXCEPTION 'no'; EXCEPTION WHEN OTHERS THEN NULL; END $$",
            RANGE
        ))
        .unwrap();
    std::thread::sleep(seconds(1));
    assert_eq!(db.sim.request_count() + db.sim.token_requests(), 0);
    assert_eq!(db.number("SELECT count(*) FROM raw.qb_run"), 0);
}

#[test]
fn work_begins_when_the_caller_commits() {
    let db = Database::new();
    let mut client = db.client();
    client.batch_execute("BEGIN").unwrap();
    let run = rows(&mut client, &format!("SELECT raw.qb_backfill('items', {RANGE})")).unwrap()[0][0].clone();
    std::thread::sleep(seconds(1));
    assert_eq!(db.sim.request_count(), 0);
    client.batch_execute("COMMIT").unwrap();
    assert_eq!(db.ended(run.parse().unwrap()), "success");
}

#[test]
fn a_read_only_session_and_a_switched_off_server_say_so() {
    let db = Database::new();
    let call = format!("SELECT raw.qb_backfill('items', {RANGE})");
    for call in [call.as_str(), "SELECT raw.qb_cancel(1)", "SELECT raw.qb_purge_reports('1 year')"] {
        let error = db.refused(&format!("BEGIN READ ONLY; {call}"));
        assert_eq!((error.sqlstate.as_str(), error.hint.is_empty()), ("25006", false));
        assert_eq!(error.message, "nothing can be written: the transaction is read-only", "{call}");
    }
    db.set("qbo_raw.enabled", "off");
    let error = db.refused(&call);
    assert_eq!(error.sqlstate, "55000");
    assert!(error.hint.contains("restored copy") && error.hint.contains("pg_reload_conf"), "{error:?}");
    db.exec("SELECT raw.qb_purge_reports('1 year')");
    // A schedule that came with the copy does not fail each minute.
    let (mut client, heard) = db.listening();
    assert_eq!(rows(&mut client, "SELECT raw.qb_tick()").unwrap(), [["0"]]);
    assert_eq!(*heard.lock().unwrap(), ["NOTICE: qbo_raw.enabled is off: no worker is started"]);
}

#[test]
fn a_connection_without_credentials_says_which_is_missing() {
    let db = Database::new();
    db.exec("UPDATE raw.qb_config SET refresh_token = NULL");
    let error = db.refused(&format!("SELECT raw.qb_backfill('items', {RANGE})"));
    assert_eq!(error.sqlstate, "55000");
    assert_eq!(error.message, "connection \"default\" has no refresh_token");
    // A client that cannot show every character is told the same.
    let mut client = db.client();
    client.batch_execute("SET client_encoding = 'LATIN1'").unwrap();
    assert_eq!(refused(&mut client, &format!("SELECT raw.qb_backfill('items', {RANGE})")), error);
}

#[test]
fn wrong_credentials_are_refused_without_being_repeated() {
    let db = Database::new();
    let secret = "this is a secret with blanks";
    for arguments in [
        format!("'12', 'id', '{secret}', 'token'"),
        format!("'{secret}', 'id', 'secret', 'token'"),
        format!("'12', 'id', 'secret', 'token', '{secret}'"),
        format!("'12', 'id', 'secret', 'token', connection => '{secret}'"),
        format!("'12', 'id', 'secret', '{secret}'"),
        "'12', 'id', 'secret', 'token', target_schema => 'pg_catalog'".to_owned(),
        "'12', NULL, 'secret', 'token', connection => 'fresh'".to_owned(),
        "NULL, 'id', 'secret', 'token', connection => 'fresh'".to_owned(),
    ] {
        let error = db.refused(&format!("SELECT raw.qb_connect({arguments})"));
        assert!(error.sqlstate.starts_with("22"), "{error:?}");
        assert!(!format!("{error:?}").contains(secret), "{error:?}");
        assert!(!error.hint.is_empty(), "{error:?}");
    }
    let error = db.refused(&format!(
        "INSERT INTO raw.qb_config (connection, client_secret) VALUES ('other', '{secret}')"
    ));
    assert!(!format!("{error:?}").contains(secret), "{error:?}");
}

#[test]
fn what_would_fail_later_or_overflow_is_refused_at_once() {
    let db = Database::new();
    // Stands for pg_cron.
    db.exec(
        "CREATE SCHEMA cron; CREATE TABLE cron.job (jobid int DEFAULT 1, jobname text, schedule text, command text);
         CREATE FUNCTION cron.schedule(text, text, text) RETURNS bigint LANGUAGE sql AS
           $$ INSERT INTO cron.job (jobname, schedule, command) VALUES ($1, $2, $3) RETURNING jobid $$",
    );
    let once = "qb_schedule_once(now() + interval '1 hour', 'items', '2025-07-01', '2025-07-02'";
    let mut wrong = vec![
        (
            "qb_backfill_windows('items', ARRAY[tstzrange('2025-07-01Z', '2025-07-02Z', '[]')])".to_owned(),
            "windows is [",
        ),
        (
            "qb_backfill_windows('items', ARRAY[tstzrange('2025-07-01Z', '2025-07-03Z'), tstzrange('2025-07-02Z', '2025-07-04Z')])"
                .to_owned(),
            "2025-07-03T00:00:00+00:00) and [2025-07-02T00:00:00+00:00",
        ),
        ("qb_fill_gaps('items', '2025-07-01', '2025-07-02', page_size => 0)".to_owned(), "page_size is 0"),
        ("qb_retry_failed('items', 1001)".to_owned(), "page_size is 1001"),
        ("qb_connect(target_schema => '')".to_owned(), "target_schema does not have the form"),
        (
            "qb_backfill('items', '2025-07-01', '2025-07-02', execution_date => '294276-12-31')".to_owned(),
            "execution_date is 294276-12-31",
        ),
        ("qb_authorize_url('https://appcenter.intuit.com@127.0.0.1/')".to_owned(), "redirect_uri is"),
        ("qb_check(repeat('x', 1000000))".to_owned(), "xxx\" does not exist"),
        ("qb_schedule_once('294276-12-31', 'items', '2025-07-01', '2025-07-02')".to_owned(), "run_at is"),
    ];
    for (argument, message) in [
        ("chunk_days => 0", "chunk_days is 0"),
        ("page_size => 5000", "page_size is 5000"),
        ("window_on => 'deleted'", "window_on is 'deleted'"),
        ("connection => 'nobody'", "connection \"nobody\" does not exist"),
        ("execution_date => 'infinity'", "execution_date is infinity"),
        ("execution_date => '20250-07-02'", "execution_date is 20250-07-02"),
    ] {
        wrong.push((format!("{once}, {argument})"), message));
    }
    wrong.push((once.replace("'2025-07-02'", "'2199-01-01')"), "end_date is 2199-01-01"));
    for (call, message) in wrong {
        let error = db.refused(&format!("SELECT raw.{call}"));
        assert_eq!(error.sqlstate, "22023", "{call}: {error:?}");
        assert!(error.message.contains(message) && error.message.len() < 200, "{call}: {error:?}");
    }
    // The moment is said in UTC, whatever the session's zone is.
    let (mut client, heard) = db.listening();
    let tomorrow = "date_trunc('day', now(), 'UTC') + interval '1 day 30 seconds'";
    let once = format!("SELECT raw.qb_schedule_once({tomorrow}, 'Item', '2025-07-01', '2025-07-02')");
    client.batch_execute(&format!("SET timezone = 'Asia/Tokyo'; {once}")).unwrap();
    let said = heard.lock().unwrap().join(" ");
    assert!(said.contains("job 1 loads items at 20") && said.ends_with(" 00:01:00+00"), "{said}");
    db.exec("DELETE FROM cron.job");
    // Days to come are no gap, and the year may be a mistake.
    let (mut client, heard) = db.listening();
    client.batch_execute("SELECT raw.qb_fill_gaps('items', '2099-07-01', '2099-07-02')").unwrap();
    assert!(
        heard.lock().unwrap().iter().any(|line| line.contains("from 2099-07-01 on is over")),
        "{heard:?}"
    );
    assert_eq!(db.number("SELECT count(*) FROM cron.job"), 0);
    assert_eq!(db.number("SELECT count(*) FROM raw.qb_run"), 0);
    // What is only shown, or only waited for, has no bounds to overflow.
    for (call, shown) in [
        (
            "qb_purge_reports('178000000 years')",
            "0 report rows and 0 runs deleted; what is covered stays as it was",
        ),
        ("_qb_bar(9223372036854775807, 9223372036854775807, 3)", "███"),
        ("_qb_clock('-Infinity')", "0:00"),
        ("_qb_clock('NaN')", "11574 days"),
    ] {
        assert_eq!(db.value(&format!("SELECT raw.{call}")), shown, "{call}");
    }
    let run = db.backfill("items");
    db.exec(&format!("CALL raw.qb_wait({run}, '178000000 years')"));
}

#[test]
fn an_error_is_not_buried_under_a_query() {
    let db = Database::new();
    let mut client = db.client();
    let range = "'2025-07-01', '2025-07-02'";
    for call in [
        format!("qb_coverage('invoces', {range})"),
        format!("qb_coverage('invoices', {range}, connection => 'acne')"),
        format!("qb_gaps('invoces', {range})"),
        "qb_gaps('invoices', connection => 'acne')".to_owned(),
        format!("qb_fill_gaps('invoces', {range})"),
        "qb_retry_failed('invoices', connection => 'acne')".to_owned(),
        "qb_connect('12 34', 'id', 'secret', 'token')".to_owned(),
        "qb_connect(environment => 'test')".to_owned(),
    ] {
        let error = client.batch_execute(&format!("SELECT * FROM raw.{call}")).unwrap_err();
        let error = error.as_db_error().unwrap();
        let context = error.where_().unwrap_or_default();
        assert!(context.lines().count() <= 2, "{call}: {error}\n{context}");
    }
}

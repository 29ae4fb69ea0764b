//! Tokens: renewed in time, once, and never lost.

use crate::launcher::{hold_back, let_go};
use qbo_e2e::{Database, RANGE, is_alive, seconds, wait_until};
use qbo_sim::{Fault, Options, TokenEvent, TokenMode, When};
use std::time::{Duration, Instant};

pub fn redemptions(db: &Database) -> usize {
    db.sim.token_log().iter().filter(|event| matches!(event, TokenEvent::Redeemed(_))).count()
}

pub fn stored_is_newest(db: &Database) {
    let (.., newest) = db.sim.credentials();
    assert_eq!(db.value("SELECT refresh_token FROM raw.qb_config"), newest);
}

#[test]
fn an_access_token_that_ends_in_mid_run_is_renewed_once() {
    let db = Database::with(Options { latency: Duration::from_millis(100), ..Options::default() });
    hold_back(&db);
    let run = db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, 1)"));
    wait_until("some windows are stored", seconds(20), || {
        db.of_run(run, "windows_done").parse::<i32>().unwrap() > 10
    });
    db.sim.rotate_next();
    db.sim.expire_access_tokens();
    let_go(&db);
    assert_eq!(db.ended(run), "success");
    db.check_equal("invoices", "Invoice");
    assert_eq!(redemptions(&db), 2, "one at the start, one when it ended: {:?}", db.sim.token_log());
    stored_is_newest(&db);
    let refused = db.sim.requests().iter().filter(|request| request.status == 401).count();
    assert!((1..=4).contains(&refused), "{refused} requests were refused, at most one a thread");
}

#[test]
fn thirty_two_sessions_at_once_redeem_one_token() {
    for mode in [TokenMode::Strict, TokenMode::Family] {
        let db = Database::with(Options { tokens: mode, ..Options::default() });
        std::thread::scope(|scope| {
            for session in 0..32 {
                let db = &db;
                scope.spawn(move || {
                    let entity = ["invoices", "customers", "items"][session % 3];
                    db.number(&format!("SELECT raw.qb_backfill('{entity}', {RANGE}, {})", 7 + session / 3))
                });
            }
        });
        wait_until("all runs end", seconds(300), || {
            db.number("SELECT count(*) FROM raw.qb_run WHERE status IN ('queued', 'running')") == 0
        });
        assert_eq!(db.rows("SELECT status, count(*) FROM raw.qb_run GROUP BY 1"), [["success", "32"]]);
        assert_eq!(redemptions(&db), 1, "{mode:?}: {:?}", db.sim.token_log());
        stored_is_newest(&db);
    }
}

#[test]
fn a_token_that_is_refused_blocks_the_run_and_is_not_tried_again() {
    let db = Database::new();
    db.sim.revoke_tokens();
    let run = db.queue("invoices");
    assert_eq!(db.ended(run), "blocked_auth");
    assert_eq!(db.of_run(run, "error_code"), "needs_reauth");
    assert!(db.of_run(run, "error_hint").contains("raw.qb_connect"));
    assert_eq!(db.value("SELECT auth_state FROM raw.qb_config"), "needs_reauth");
    assert_ne!(
        db.value("SELECT refresh_token FROM raw.qb_config"),
        "",
        "the token stays: an outage can look the same"
    );
    let asked = db.sim.token_requests();
    assert_eq!(asked, 1);
    let again = db.queue("invoices");
    assert_eq!(db.ended(again), "blocked_auth");
    assert_eq!(db.sim.token_requests(), asked, "no further call");
    assert_eq!(db.sim.request_count(), 0);
}

#[test]
fn a_wrong_client_is_told_from_a_wrong_token() {
    let db = Database::new();
    db.exec("UPDATE raw.qb_config SET client_secret = 'wrong'");
    let run = db.queue("invoices");
    assert_eq!(db.ended(run), "blocked_auth");
    assert_eq!(db.of_run(run, "error_code"), "bad_client");
    // New credentials by hand: a new generation, and everything is well.
    db.connect_company();
    db.backfill("invoices");
}

#[test]
fn a_secret_that_is_rotated_during_a_run_is_the_one_it_renews_with() {
    let db = Database::new();
    db.sim.fault_times(When::Nth(4), Fault::Stall(seconds(60)), 1);
    let run = db.queue("invoices");
    wait_until("it asks", seconds(30), || db.sim.request_count() >= 4);
    db.sim.set_client_secret("theNextSecretOfTheApp");
    db.exec("SELECT raw.qb_connect(client_secret => 'theNextSecretOfTheApp')");
    db.sim.expire_access_tokens();
    db.sim.release();
    assert_eq!(db.ended(run), "success", "{}", db.of_run(run, "error_message"));
    assert_eq!(db.value("SELECT auth_state FROM raw.qb_config"), "ok");
    db.check_equal("invoices", "Invoice");
}

#[test]
fn what_was_refused_is_tried_again_when_somebody_says_that_it_is_right() {
    let db = Database::new();
    let (realm, id, secret, _) = db.sim.credentials();
    db.sim.set_client_secret("notYetTheSecretThatWeHave");
    let run = db.queue("items");
    assert_eq!(
        (db.ended(run).as_str(), db.of_run(run, "error_code").as_str()),
        ("blocked_auth", "bad_client")
    );
    db.sim.set_client_secret(&secret);
    let state = "SELECT auth_state, coalesce(last_error, '') FROM raw.qb_config";
    // What does not touch the client says nothing about it.
    db.exec(&format!("SELECT raw.qb_connect(realm_id => '{realm}')"));
    assert_eq!(db.rows(state)[0][0], "bad_client");
    assert_ne!(db.rows(state)[0][1], "");
    db.exec(&format!("SELECT raw.qb_connect(client_id => '{id}', client_secret => '{secret}')"));
    assert_eq!(db.rows(state), [["ok", ""]]);
    db.exec(&format!("SELECT raw.qb_resume({run})"));
    assert_eq!(db.ended(run), "success", "{}", db.of_run(run, "error_message"));

    db.exec("UPDATE raw.qb_config SET access_token = NULL, access_expires_at = NULL");
    db.sim.fault_times(When::Token, Fault::status(400, r#"{"error":"invalid_grant"}"#), 1);
    let run = db.queue("terms");
    assert_eq!(
        (db.ended(run).as_str(), db.of_run(run, "error_code").as_str()),
        ("blocked_auth", "needs_reauth")
    );
    // The secret is not what was refused.
    db.exec(&format!("SELECT raw.qb_connect(client_secret => '{secret}')"));
    assert_eq!(db.rows(state), [["needs_reauth", "Intuit rejected the refresh token"]]);
    let token = db.value("SELECT refresh_token FROM raw.qb_config");
    db.exec(&format!("SELECT raw.qb_connect(refresh_token => '{token}')"));
    assert_eq!(db.rows(state), [["ok", ""]]);
    db.exec(&format!("SELECT raw.qb_resume({run})"));
    assert_eq!(db.ended(run), "success", "{}", db.of_run(run, "error_message"));
}

#[test]
fn an_answer_that_is_lost_is_asked_for_again_with_the_same_token() {
    for (mode, status) in
        [(TokenMode::Lazy, "success"), (TokenMode::Grace, "success"), (TokenMode::Strict, "blocked_auth")]
    {
        let db = Database::with(Options { tokens: mode, ..Options::default() });
        db.sim.fault_times(When::Token, Fault::LoseAnswer, 1);
        let run = db.queue("items");
        assert_eq!(db.ended(run), status, "{mode:?}: {}", db.of_run(run, "error_message"));
        let flagged = db.value("SELECT auth_state FROM raw.qb_config") == "needs_reauth";
        assert_eq!(flagged, status != "success", "{mode:?}: a token that is lost is flagged");
    }
}

#[test]
fn an_outage_of_the_token_service_keeps_the_token() {
    let db = Database::new();
    let before = db.value("SELECT refresh_token FROM raw.qb_config");
    db.sim.fault_times(When::Token, Fault::named("503").unwrap(), 2);
    db.backfill("items");
    assert_eq!(db.value("SELECT refresh_token FROM raw.qb_config"), before);
    assert_eq!(db.sim.token_requests(), 1, "the two that failed were not counted by the service itself");
}

#[test]
fn a_grant_that_cannot_be_a_token_is_no_answer_and_holds_nobody_up() {
    let long = "x".repeat(5_000);
    for (access, refresh) in [
        ("at", "RT1-with\\na-line"),
        ("at", "RT1-with\\u0000nothing"),
        ("at", "RT1 with blanks"),
        ("at", "RT1-wïth"),
        ("at", &long),
        ("at-with\\r\\nX-Header: 1", "RT1-good"),
        ("at-with\\u0000nothing", "RT1-good"),
    ] {
        let db = Database::new();
        let before = db.value("SELECT refresh_token FROM raw.qb_config");
        let grant = format!(r#"{{"access_token":"{access}","refresh_token":"{refresh}","expires_in":3600}}"#);
        db.sim.fault_times(When::Token, Fault::status(200, &grant), 1);
        db.backfill("items");
        assert_eq!(db.value("SELECT refresh_token FROM raw.qb_config"), before, "{grant:.80}");
        assert_eq!(db.sim.token_requests(), 1, "{grant:.80}");
    }
}

#[test]
fn a_token_that_a_person_writes_during_a_refresh_stays() {
    let db = Database::new();
    db.sim.fault_times(When::Token, Fault::Stall(Duration::from_secs(2)), 1);
    let run = db.queue("items");
    wait_until("the refresh is under way", seconds(30), || {
        db.value("SELECT auth_state FROM raw.qb_config") == "refreshing"
    });
    db.exec("UPDATE raw.qb_config SET refresh_token = 'written-by-a-person'");
    db.ended(run);
    assert_eq!(db.value("SELECT refresh_token FROM raw.qb_config"), "written-by-a-person");
}

/// Rotating the secret while a token is on its way must not cost the token.
#[test]
fn a_secret_that_is_rotated_during_a_refresh_does_not_lose_the_token() {
    let db = Database::with(Options { tokens: TokenMode::Strict, ..Options::default() });
    db.sim.rotate_next();
    db.sim.fault_times(When::Token, Fault::Stall(seconds(60)), 1);
    let run = db.queue("items");
    wait_until("the token is being spent", seconds(30), || db.sim.token_calls() > 0);
    db.exec("SELECT raw.qb_connect(client_secret => 'another')");
    db.sim.release();
    assert_eq!(db.ended(run), "success", "{}", db.of_run(run, "error_message"));
    stored_is_newest(&db);
}

#[test]
fn a_companys_401_for_ever_ends_the_run_soon() {
    let db = Database::new();
    db.sim.fault(When::Always, Fault::named("401").unwrap());
    let run = db.queue("invoices");
    assert_eq!(db.ended(run), "failed");
    assert_eq!(db.of_run(run, "error_code"), "unauthorized");
    assert!(db.sim.request_count() <= 3, "{} requests", db.sim.request_count());
    assert!(redemptions(&db) <= 2, "{:?}", db.sim.token_log());
    let told = format!(
        "{} {}",
        db.of_run(run, "error_message"),
        db.rows("SELECT error_message FROM raw.backfill_report_invoices").concat().concat()
    );
    assert!(!told.contains("the-token-itself") || told.contains("Token expired"), "{told}");
}

/// A worker that was told to end while it had spent a token, which a lock keeps it from storing, for so long; and how long
/// that put the end off.
fn told_to_end_with_a_token_in_hand(db: &Database, locked: Duration) -> Duration {
    db.sim.fault_times(When::Token, Fault::Stall(seconds(60)), 1);
    let mut holder = db.client();
    db.queue("items");
    // By then the connection says that it is being refreshed.
    wait_until("the refresh is under way", seconds(30), || db.sim.token_calls() > 0);
    let began = Instant::now();
    let mut lock = holder.transaction().unwrap();
    lock.batch_execute("LOCK TABLE raw.qb_config").unwrap();
    let worker = db.worker();
    db.exec(&format!("SELECT pg_terminate_backend({worker})"));
    db.sim.release();
    let until = Instant::now() + locked;
    while is_alive(worker) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(lock);
    wait_until("the worker is gone", seconds(30), || !is_alive(worker));
    began.elapsed()
}

#[test]
fn a_token_that_cannot_be_stored_puts_the_end_off_ten_seconds_at_most() {
    let db = Database::new();
    let took = told_to_end_with_a_token_in_hand(&db, seconds(20));
    // The lock stays for twenty.
    assert!(took < seconds(18), "{took:?}");
    let held = db.value("SELECT clock_timestamp() - refresh_started_at FROM raw.qb_config");
    assert!(held.as_str() > "00:00:09", "{held}");
    // It is known what may have happened, and the token before the one that was lost still works with Intuit.
    assert_eq!(db.value("SELECT auth_state FROM raw.qb_config"), "refreshing");
    assert_eq!(db.number("SELECT raw.qb_tick()"), 1);
}

#[test]
fn a_token_is_stored_before_the_end_as_soon_as_a_lock_is_gone() {
    let db = Database::new();
    let took = told_to_end_with_a_token_in_hand(&db, seconds(3));
    // And not only when it would have had to end in any case, after ten.
    assert!(took > seconds(3) && took < seconds(9), "{took:?}");
    assert_eq!(db.value("SELECT auth_state FROM raw.qb_config"), "ok");
    stored_is_newest(&db);
}

#[test]
fn a_connection_that_is_deleted_under_its_run_ends_it() {
    // Without a token there is nothing to go on with; with one the run needs the row no more.
    for (endpoint, status) in [(When::Token, "blocked_auth"), (When::Always, "success")] {
        let db = Database::new();
        db.sim.fault_times(endpoint.clone(), Fault::Stall(seconds(60)), 1);
        let run = db.queue("invoices");
        wait_until("it waits for an answer", seconds(30), || match endpoint {
            When::Token => db.sim.token_calls() > 0,
            _ => db.sim.request_count() > 0,
        });
        db.exec("DELETE FROM raw.qb_config");
        db.sim.release();
        assert_eq!(db.ended(run), status, "{endpoint:?}: {}", db.of_run(run, "error_message"));
        wait_until("the worker left", seconds(30), || !db.has_worker());
    }
}

#[test]
fn a_token_that_comes_when_the_extension_was_dropped_keeps_nobody() {
    let db = Database::new();
    db.sim.fault_times(When::Token, Fault::Stall(seconds(60)), 1);
    db.queue("items");
    wait_until("it waits for a token", seconds(30), || db.sim.token_calls() > 0);
    let worker = db.worker();
    db.exec("DROP EXTENSION qbo_raw");
    db.sim.release();
    wait_until("the worker is gone", seconds(30), || !is_alive(worker));
    let log = db.log();
    let said: Vec<&str> = log.lines().filter(|line| line.contains(&format!("[{worker}]"))).collect();
    assert!(said.iter().any(|line| line.contains("the extension was dropped")), "{said:#?}");
    assert!(!said.iter().any(|line| line.contains("could not be stored yet")), "{said:#?}");
}

#[test]
fn a_consent_for_a_connection_that_was_deleted_says_so() {
    let db = Database::new();
    let callback = db.consent("default");
    db.sim.fault_times(When::Token, Fault::Stall(seconds(60)), 1);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| db.refused(&format!("SELECT raw.qb_authorize('{callback}')")));
        wait_until("the code is on its way", seconds(30), || db.sim.token_calls() > 0);
        db.exec("DELETE FROM raw.qb_config");
        db.sim.release();
        let error = asking.join().unwrap();
        assert_eq!(error.sqlstate, "22023", "{error:?}");
        assert!(error.message.contains("default"), "{error:?}");
    });
}

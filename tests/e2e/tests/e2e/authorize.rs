//! The life of an authorization in SQL: consent, rotation of the secret, disconnecting, and tokens that nobody uses.

use qbo_e2e::{Database, Server, seconds, wait_until};
use qbo_sim::{Fault, Options, TokenEvent, When};

/// A database whose connection has the keys of the app and nothing else.
fn unauthorized(db: &Database) {
    let (_, id, secret, _) = db.sim.credentials();
    db.exec("DELETE FROM raw.qb_config");
    let line = db.value(&format!("SELECT raw.qb_connect(client_id => '{id}', client_secret => '{secret}')"));
    assert!(line.contains("now authorize it: SELECT raw.qb_authorize_url("), "{line}");
}

#[test]
fn a_company_is_connected_by_its_consent() {
    let db = Database::new();
    unauthorized(&db);
    let error = db.refused("SELECT raw.qb_backfill('items', '2025-07-01', '2025-09-30')");
    assert_eq!(error.sqlstate, "55000");
    assert!(error.hint.contains("raw.qb_authorize_url"), "{error:?}");
    let callback = db.consent("default");
    let line = db.value(&format!("SELECT raw.qb_authorize('{callback}')"));
    let (realm, ..) = db.sim.credentials();
    assert_eq!(line, format!("connection default is authorized for company {realm}"));
    assert_eq!(
        db.rows("SELECT realm_id, auth_state, access_token IS NOT NULL, refresh_expires_at > now() + interval '90 days',
                        refresh_hard_expires_at > now() + interval '4 years', consent_state IS NULL FROM raw.qb_config"),
        [[realm.as_str(), "ok", "t", "t", "t", "t"]]
    );
    db.backfill("items");
    // It works once.
    let error = db.refused(&format!("SELECT raw.qb_authorize('{callback}')"));
    assert_eq!(error.sqlstate, "28000");
    assert!(error.message.contains("used already") && error.hint.contains("qb_authorize_url"), "{error:?}");
}

#[test]
fn a_consent_outlives_the_transaction_that_took_it() {
    let db = Database::new();
    unauthorized(&db);
    let callback = db.consent("default");
    let mut client = db.client();
    client.batch_execute(&format!("BEGIN; SELECT raw.qb_authorize('{callback}'); ROLLBACK")).unwrap();
    let (.., token) = db.sim.credentials();
    assert_eq!(
        db.value("SELECT refresh_token FROM raw.qb_config"),
        token,
        "the code is spent: its token must be kept"
    );
}

#[test]
fn a_consent_that_is_not_ours_is_refused_before_its_code_is_spent() {
    let db = Database::new();
    unauthorized(&db);
    let callback = db.consent("default");
    let calls = db.sim.token_calls();
    let state = callback.split("state=").nth(1).unwrap().split('&').next().unwrap();
    let other = callback.replace(state, "AAAAAAAAAAAAAAAAAAAAAA");
    let code = callback.split("code=").nth(1).unwrap().split('&').next().unwrap();
    let wrong = [
        (other, "state"),
        (callback.replace("state=", "nothing="), "no state"),
        (callback.replace("code=", "nothing="), "no code"),
        (callback.replace("realmId=", "realmId=x"), "no realmId"),
        (format!("{callback}&code=again"), "twice"),
        ("https://books.example/back?error=access_denied&state=x".to_owned(), "Cancel"),
        ("https://books.example/back?error=invalid_scope&state=x".to_owned(), "error"),
        (String::new(), "no code"),
        ("x".repeat(100_000), "no code"),
    ];
    for (address, says) in wrong {
        let error = db.refused(&format!("SELECT raw.qb_authorize('{address}')"));
        assert_eq!(error.sqlstate, "28000", "{error:?}");
        assert!(error.message.contains(says), "{says}: {error:?}");
        assert!(!format!("{error:?}").contains(code), "the code is repeated: {error:?}");
    }
    assert_eq!(db.refused("SELECT raw.qb_authorize(NULL)").sqlstate, "22004");
    // An hour later it is void as well.
    db.exec("UPDATE raw.qb_config SET consent_expires_at = now()");
    assert_eq!(db.refused(&format!("SELECT raw.qb_authorize('{callback}')")).sqlstate, "28000");
    db.exec("UPDATE raw.qb_config SET consent_expires_at = now() + interval '1 minute'");
    assert_eq!(db.sim.token_calls(), calls, "nothing was sent to Intuit");
    // Only what stands behind the question mark will do, with blanks around it.
    let query = callback.split('?').nth(1).unwrap();
    db.exec(&format!("SELECT raw.qb_authorize('  {query} ')"));
}

#[test]
fn another_company_does_not_slip_into_the_tables_of_one() {
    let db = Database::new();
    let other = Database::with(Options { realm: "9130000000000000001".to_owned(), ..Options::default() });
    let run = db.backfill("items");
    assert!(run > 0);
    // Whoever clicks chooses the wrong company on Intuit's page.
    let callback = db.consent("default");
    let realm = db.sim.credentials().0;
    let error = db
        .refused(&format!("SELECT raw.qb_authorize('{}')", callback.replace(&realm, "9130000000000000001")));
    assert_eq!(error.sqlstate, "28000");
    assert!(error.message.contains("it is for company 9130000000000000001"), "{error:?}");
    // Or a DBA mistypes.
    let (realm, id, secret, token) = other.sim.credentials();
    let error = db.refused(&format!("SELECT raw.qb_connect('{realm}', '{id}', '{secret}', '{token}')"));
    assert_eq!(error.sqlstate, "55000");
    assert!(error.hint.contains("its own schema"), "{error:?}");
    // Twice the same company would be loaded twice.
    let (realm, ..) = db.sim.credentials();
    db.exec("SELECT raw.qb_connect(client_id => 'x', client_secret => 'y', connection => 'second')");
    db.exec(&format!(
        "UPDATE raw.qb_config SET client_id = '{id}', client_secret = '{secret}' WHERE connection = 'second'"
    ));
    let callback = db.consent("second");
    assert!(callback.contains(&realm));
    let error = db.refused(&format!("SELECT raw.qb_authorize('{callback}')"));
    assert!(error.message.contains("is connected already, as \"default\""), "{error:?}");
}

#[test]
fn an_intuit_that_says_no_leaves_everything_as_it_was() {
    let db = Database::new();
    db.backfill("items");
    let kept = "SELECT realm_id, refresh_token, token_generation, auth_state FROM raw.qb_config";
    let before = db.rows(kept);
    for (fault, says) in [
        (Fault::status(400, r#"{"error":"invalid_grant"}"#), "Intuit refuses the code"),
        (Fault::status(401, r#"{"error":"invalid_client"}"#), "client id or secret"),
        (Fault::named("503").unwrap(), "did not answer as it should"),
        (Fault::named("reset").unwrap(), "did not answer as it should"),
        (Fault::status(200, r#"{"access_token":"only","expires_in":3600}"#), "no refresh token"),
    ] {
        let callback = db.consent("default");
        db.sim.fault_times(When::Token, fault, 1);
        let error = db.refused(&format!("SELECT raw.qb_authorize('{callback}')"));
        assert_eq!(error.sqlstate, "28000");
        assert!(error.message.contains(says) && error.hint.contains("new URL"), "{says}: {error:?}");
        db.sim.clear_faults();
        assert_eq!(db.rows(kept), before);
    }
}

#[test]
fn the_client_secret_is_rotated_without_a_new_consent() {
    let db = Database::new();
    db.backfill("items");
    let before = db.rows("SELECT realm_id, refresh_token, target_schema, environment FROM raw.qb_config");
    let line = db.value("SELECT raw.qb_connect(client_secret => 'wrong-for-now')");
    assert!(line.contains("is set: realm"), "{line}");
    assert_eq!(
        db.rows("SELECT realm_id, refresh_token, target_schema, environment FROM raw.qb_config"),
        before
    );
    let run = db.queue("items");
    assert_eq!(db.ended(run), "blocked_auth");
    assert_eq!(
        db.rows("SELECT attention FROM raw.qb_secrets WHERE name = 'client_secret'"),
        [["Intuit refuses it: raw.qb_connect"]]
    );
    let (_, _, secret, _) = db.sim.credentials();
    db.exec(&format!("SELECT raw.qb_connect(client_secret => '{secret}')"));
    db.exec(&format!("SELECT raw.qb_resume({run})"));
    assert_eq!(db.ended(run), "success");
}

#[test]
fn disconnecting_revokes_at_intuit_and_forgets_here() {
    let db = Database::new();
    db.backfill("items");
    db.sim.fault_times(When::Token, Fault::named("503").unwrap(), 1);
    db.sim.set_down(true);
    let error = db.refused("SELECT raw.qb_disconnect()");
    assert_eq!(error.sqlstate, "08006");
    assert!(error.hint.contains("as they were"), "{error:?}");
    assert_eq!(db.value("SELECT refresh_token IS NOT NULL FROM raw.qb_config"), "t");
    db.sim.set_down(false);
    db.sim.clear_faults();
    assert!(db.value("SELECT raw.qb_disconnect()").contains("is disconnected"));
    assert!(db.sim.token_log().iter().any(|event| matches!(event, TokenEvent::Revoked)));
    assert_eq!(
        db.rows("SELECT refresh_token, access_token, auth_state FROM raw.qb_config"),
        [["", "", "needs_reauth"]]
    );
    assert!(db.value("SELECT raw.qb_disconnect()").contains("no authorization to give back"));
    assert_eq!(db.refused("SELECT raw.qb_disconnect('nobody')").sqlstate, "22023");
    assert_eq!(db.number("SELECT count(*) FROM raw.qb_items"), 40, "the data stay");
    db.authorize();
    db.backfill("items");
}

#[test]
fn a_tick_renews_a_token_that_nobody_uses() {
    let db = Database::new();
    db.backfill("items");
    wait_until("the worker left", seconds(30), || !db.has_worker());
    assert_eq!(db.number("SELECT raw.qb_tick()"), 0, "nothing to do");
    let redeemed = db.sim.redemptions();
    let used = "refreshed_at = now() - interval '25 hours'";
    db.exec(&format!("UPDATE raw.qb_config SET refresh_expires_at = now() + interval '49 days', {used}"));
    assert_eq!(db.number("SELECT raw.qb_tick()"), 1);
    wait_until("it is renewed", seconds(30), || db.sim.redemptions() == redeemed + 1);
    wait_until("and stored", seconds(30), || {
        db.value("SELECT refresh_expires_at > now() + interval '90 days' FROM raw.qb_config") == "t"
    });
    wait_until("the worker left", seconds(30), || !db.has_worker());
    assert_eq!(db.number("SELECT raw.qb_tick()"), 0, "once is enough");

    // An outage is not asked again at every tick.
    db.sim.fault(When::Token, Fault::named("400").unwrap_or_else(|| Fault::status(400, "{}")));
    db.exec(&format!("UPDATE raw.qb_config SET refresh_expires_at = now() + interval '3 days', {used}"));
    assert_eq!(
        db.value("SELECT attention FROM raw.qb_secrets WHERE name = 'refresh_token'"),
        "ends in 2 days unless it is used: does raw.qb_tick run?"
    );
    assert_eq!(db.number("SELECT raw.qb_tick()"), 1);
    wait_until("the worker left", seconds(40), || {
        db.value("SELECT refresh_started_at IS NOT NULL FROM raw.qb_config") == "t" && !db.has_worker()
    });
    assert_eq!(db.number("SELECT raw.qb_tick()"), 0);
    db.exec("UPDATE raw.qb_config SET refresh_started_at = now() - interval '61 minutes'");
    db.sim.clear_faults();
    assert_eq!(db.number("SELECT raw.qb_tick()"), 1);
    wait_until("it is renewed", seconds(30), || {
        db.value("SELECT refresh_expires_at > now() + interval '90 days' FROM raw.qb_config") == "t"
    });
    db.exec("UPDATE raw.qb_config SET refresh_hard_expires_at = now() + interval '10 days 1 hour'");
    assert_eq!(
        db.value("SELECT attention FROM raw.qb_secrets WHERE name = 'refresh_token'"),
        "ends for good in 10 days: authorize the company again, raw.qb_authorize_url"
    );
}

#[test]
fn a_token_that_stays_near_its_end_is_renewed_once_a_day() {
    let server = Server::private("");
    let db = Database::on(&server, Options::default());
    db.backfill("items");
    wait_until("the worker left", seconds(30), || !db.has_worker());
    // As an answer does that names no end, or one that is cut off by the end for good.
    db.exec(
        "CREATE SCHEMA near;
         CREATE FUNCTION near.stays() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN NEW.refresh_expires_at := now() + interval '7 days'; RETURN NEW; END $$;
         CREATE TRIGGER z BEFORE UPDATE ON raw.qb_config FOR EACH ROW EXECUTE FUNCTION near.stays();
         UPDATE raw.qb_config SET refreshed_at = now() - interval '25 hours'",
    );
    let redeemed = db.sim.redemptions();
    assert_eq!(db.number("SELECT raw.qb_tick()"), 1);
    wait_until("it is renewed", seconds(30), || db.sim.redemptions() > redeemed);
    wait_until("the worker left", seconds(30), || !db.has_worker());
    assert_eq!(db.number("SELECT raw.qb_tick()"), 0);
    assert_eq!(db.sim.redemptions(), redeemed + 1);
}

#[test]
fn nobody_but_whom_a_superuser_chose_may_authorize() {
    let server = Server::private("");
    let db = Database::on(&server, Options::default());
    server.sql(
        "postgres",
        "CREATE ROLE operates LOGIN; GRANT qbo_raw_operator TO operates; CREATE ROLE trusted LOGIN",
    );
    for call in ["raw.qb_authorize_url('https://x.example')", "raw.qb_authorize('x')", "raw.qb_disconnect()"]
    {
        let error = qbo_e2e::refused(&mut db.client_as("operates"), &format!("SELECT {call}"));
        assert_eq!(error.sqlstate, "42501", "{call}");
    }
    db.exec(
        "GRANT USAGE ON SCHEMA raw TO trusted;
         GRANT EXECUTE ON FUNCTION raw.qb_authorize_url, raw.qb_authorize, raw.qb_disconnect TO trusted",
    );
    let mut trusted = db.client_as("trusted");
    let url = qbo_e2e::rows(&mut trusted, "SELECT raw.qb_authorize_url('https://x.example')").unwrap();
    assert!(url[0][0].contains("client_id="), "{url:?}");
    assert!(qbo_e2e::refused(&mut trusted, "SELECT raw.qb_authorize('x')").sqlstate == "28000");
    for (redirect, says) in [
        ("http://x.example", "https"),
        ("https://x.example/#here", "https"),
        ("javascript:alert(1)", "https"),
        ("", "https"),
    ] {
        let error = qbo_e2e::refused(&mut trusted, &format!("SELECT raw.qb_authorize_url('{redirect}')"));
        assert_eq!(error.sqlstate, "22023");
        assert!(error.detail.contains(says), "{error:?}");
    }
    qbo_e2e::rows(&mut trusted, "SELECT raw.qb_authorize_url('http://localhost:8080/cb')").unwrap();
}

#[test]
fn who_was_lent_qb_connect_opens_no_schema_of_a_superuser() {
    let server = Server::private("");
    let db = Database::on(&server, Options::default());
    server.sql("postgres", "CREATE ROLE trusted LOGIN");
    db.exec(
        "GRANT USAGE ON SCHEMA raw TO trusted; GRANT EXECUTE ON FUNCTION raw.qb_connect TO trusted;
         CREATE SCHEMA closed; CREATE SCHEMA hers AUTHORIZATION qbo_raw_owner",
    );
    let connect = |name: &str, place: &str| {
        format!(
            "SELECT raw.qb_connect('913000000000000{name}', 'id', 'secret', connection => 'c{name}', target_schema => {place})"
        )
    };
    let mut trusted = db.client_as("trusted");
    let error = qbo_e2e::refused(&mut trusted, &connect("1", "'closed'"));
    assert_eq!(error.sqlstate, "42501");
    assert!(error.hint.contains("Leave target_schema out"), "{error:?}");
    assert_eq!(db.value("SELECT has_schema_privilege('qbo_raw_reader', 'closed', 'USAGE')"), "f");
    trusted.batch_execute(&connect("2", "'hers'")).unwrap();
    trusted.batch_execute(&connect("3", "NULL")).unwrap();
    // A superuser may, and then the other goes on using it.
    db.exec(&connect("1", "'closed'"));
    trusted.batch_execute(&connect("1", "'closed'")).unwrap();
}

#[test]
fn a_new_secret_makes_no_rejected_token_good() {
    let db = Database::new();
    db.exec("UPDATE raw.qb_config SET auth_state = 'needs_reauth'");
    let state = |change: &str| {
        db.exec(&format!("SELECT raw.qb_connect({change})"));
        db.value("SELECT auth_state FROM raw.qb_config")
    };
    let (_, id, secret, token) = db.sim.credentials();
    assert_eq!(state("client_secret => 'another'"), "needs_reauth");
    // But somebody may have named the wrong client, or say that the token is good.
    assert_eq!(state(&format!("client_id => '{id}x'")), "ok");
    db.exec("UPDATE raw.qb_config SET auth_state = 'needs_reauth'");
    assert_eq!(
        state(&format!("client_id => '{id}', client_secret => '{secret}', refresh_token => '{token}'")),
        "ok"
    );
    db.backfill("items");
}

//! OAuth2: consent, codes, tokens and what becomes of old ones.

use crate::client::{Answer, Client, counts, read};
use qbo_sim::{Options, TokenEvent, TokenMode, fingerprint};
use std::time::Duration;

fn with(tokens: TokenMode) -> Client {
    Client::new(Options { tokens, ..counts(&[("Invoice", 3)]) })
}

fn refresh_token(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["refresh_token"].as_str().unwrap().to_owned()
}

fn is_refused(answer: &Answer) -> bool {
    answer.status == 400 && answer.json()["error"] == "invalid_grant"
}

#[test]
fn a_token_answer_has_what_intuits_has() {
    let client = with(TokenMode::Lazy);
    let answer = client.refresh(&client.refresh_token());
    let json = answer.json();
    assert_eq!(json["token_type"], "bearer");
    assert_eq!(json["expires_in"], 3600);
    assert_eq!(json["x_refresh_token_expires_in"], 8_726_400);
    assert_eq!(json["x_refresh_token_hard_expires_in"], 157_680_000, "asked for by a header");
    let access = json["access_token"].as_str().unwrap();
    assert!(
        access.len() > 500 && access.len() <= 4_096 && json["refresh_token"].as_str().unwrap().len() <= 512
    );
    let plain = client.agent.post(format!("{}/oauth2/v1/tokens/bearer", client.url()));
    let (id, secret, token) = (client.client_id(), client.client_secret(), client.refresh_token());
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", &token),
        ("client_id", &id),
        ("client_secret", &secret),
    ];
    let plain = read(plain.send_form(form).unwrap()).unwrap();
    assert_eq!(plain.status, 200, "client_secret_post is advertised too");
    assert!(plain.json().get("x_refresh_token_hard_expires_in").is_none());
}

#[test]
fn lazy_gives_the_same_token_until_a_rotation_is_due_and_then_the_old_one_is_dead() {
    let client = with(TokenMode::Lazy);
    let first = client.refresh_token();
    assert_eq!(refresh_token(&client.refresh(&first)), first);
    client.rotate_next();
    let second = refresh_token(&client.refresh(&first));
    assert_ne!(second, first);
    assert!(is_refused(&client.refresh(&first)));
    assert_eq!(refresh_token(&client.refresh(&second)), second);
}

#[test]
fn strict_changes_the_token_each_time_and_the_old_one_is_dead_at_once() {
    let client = with(TokenMode::Strict);
    let first = client.refresh_token();
    let second = refresh_token(&client.refresh(&first));
    assert_ne!(second, first);
    assert!(is_refused(&client.refresh(&first)));
    assert_eq!(client.refresh(&second).status, 200, "others are not touched by that");
}

#[test]
fn grace_leaves_the_token_before_good_for_a_while() {
    let client = with(TokenMode::Grace);
    let first = client.refresh_token();
    let second = refresh_token(&client.refresh(&first));
    assert_eq!(refresh_token(&client.refresh(&first)), second, "the one before gives the newest");
    let third = refresh_token(&client.refresh(&second));
    assert!(is_refused(&client.refresh(&first)), "the one before that is dead");
    assert_eq!(client.refresh(&third).status, 200);
    let short = Client::new(Options { tokens: TokenMode::Grace, grace: Duration::ZERO, ..counts(&[]) });
    let first = short.refresh_token();
    assert_eq!(short.refresh(&first).status, 200);
    assert!(is_refused(&short.refresh(&first)), "the while is over");
}

#[test]
fn family_revokes_everything_when_an_old_token_is_used() {
    let client = with(TokenMode::Family);
    let first = client.refresh_token();
    let second = refresh_token(&client.refresh(&first));
    assert_eq!(client.query("SELECT * FROM Invoice").status, 200);
    assert!(is_refused(&client.refresh(&first)));
    assert!(is_refused(&client.refresh(&second)));
    assert_eq!(client.query("SELECT * FROM Invoice").status, 401);
    assert!(client.token_log().contains(&TokenEvent::Revoked));
}

#[test]
fn every_token_issued_and_redeemed_is_remembered() {
    let client = with(TokenMode::Strict);
    let second = client.refresh_token();
    client.refresh(&second);
    client.refresh("nonsense");
    let log = client.token_log();
    assert_eq!(client.redemptions(), 2);
    assert!(log.contains(&TokenEvent::Redeemed(second.clone())) && log.contains(&TokenEvent::Issued(second)));
    assert!(log.contains(&TokenEvent::Rejected("nonsense".to_owned())));
    assert!(log.contains(&TokenEvent::AccessIssued(client.token.clone())));
    assert_eq!(client.token_calls(), 3);
    client.query("SELECT * FROM Invoice");
    assert_eq!(client.requests()[0].token_fingerprint, fingerprint(&client.token));
}

#[test]
fn a_wrong_client_is_401_and_a_wrong_grant_400() {
    let client = with(TokenMode::Lazy);
    let token = client.refresh_token();
    let wrong =
        client.token_call("not the secret", &[("grant_type", "refresh_token"), ("refresh_token", &token)]);
    assert_eq!((wrong.status, wrong.body.as_str()), (401, "{\"error\":\"invalid_client\"}"));
    let bad = client.refresh("RT1-nonsense");
    assert_eq!(bad.status, 400);
    assert_eq!(
        bad.body,
        "{\"error_description\":\"Incorrect or invalid refresh token\",\"error\":\"invalid_grant\"}"
    );
    let other = client.token_call(&client.client_secret(), &[("grant_type", "password")]);
    assert_eq!((other.status, other.body.as_str()), (400, "{\"error\":\"unsupported_grant_type\"}"));
}

#[test]
fn an_access_token_that_ran_out_is_401_3200_and_echoed() {
    let client =
        Client::new(Options { access_token_ttl: Duration::from_secs(5), ..counts(&[("Invoice", 3)]) });
    assert_eq!(client.query("SELECT * FROM Invoice").status, 200);
    std::thread::sleep(Duration::from_millis(5_020));
    let late = client.query("SELECT * FROM Invoice");
    assert_eq!(late.status, 401);
    assert_eq!(late.header("www-authenticate"), "Bearer realm=\"Intuit\", error=\"invalid_token\"");
    let error = &late.json()["fault"]["error"][0];
    assert_eq!(error["code"], "3200");
    assert_eq!(error["detail"], format!("Token expired: {}", client.token));
    assert!(late.json()["time"].is_number(), "the gateway writes epoch milliseconds");
    let mut nobody = client;
    nobody.token = String::new();
    let malformed = nobody.query("SELECT * FROM Invoice").json()["fault"]["error"][0]["detail"].clone();
    assert_eq!(malformed, "Malformed bearer token: too short or too long");
}

fn consent(client: &Client, more: &str) -> Answer {
    client.get(&format!(
        "{}/connect/oauth2?client_id={}&scope=com.intuit.quickbooks.accounting&response_type=code&redirect_uri=http%3A%2F%2Flocalhost%3A9%2Fback{more}",
        client.url(),
        client.client_id()
    ))
}

fn field(url: &str, name: &str) -> String {
    let pairs = url.split('?').nth(1).unwrap().split('&').map(|pair| pair.split_once('=').unwrap());
    pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).unwrap_or_default()
}

#[test]
fn consent_sends_back_a_code_the_state_and_the_realm_and_the_code_works_once() {
    let client = with(TokenMode::Strict);
    let answer = consent(&client, "&state=xyz%2F1");
    assert_eq!(answer.status, 302);
    let to = answer.header("location").to_owned();
    assert!(to.starts_with("http://localhost:9/back?"), "{to}");
    assert_eq!((field(&to, "state").as_str(), field(&to, "realmId")), ("xyz%2F1", client.realm()));
    let code = field(&to, "code");
    let exchange = |redirect: &str| {
        let form = [("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", redirect)];
        client.token_call(&client.client_secret(), &form)
    };
    assert!(is_refused(&exchange("http://localhost:9/other")));
    let old = client.refresh_token();
    let granted = refresh_token(&exchange("http://localhost:9/back"));
    assert!(is_refused(&client.refresh(&old)), "connecting again makes earlier tokens void");
    assert!(is_refused(&exchange("http://localhost:9/back")));
    assert!(is_refused(&client.refresh(&granted)), "a second exchange revokes the tokens of the first");
}

#[test]
fn consent_can_be_denied_and_needs_its_fields() {
    let client = with(TokenMode::Lazy);
    let denied = consent(&client, "&state=1&decision=deny");
    assert_eq!(field(denied.header("location"), "error"), "access_denied");
    assert_eq!(consent(&client, "").status, 400, "state is required");
    let url = format!("{}/connect/oauth2?client_id=other&response_type=code&state=1", client.url());
    assert_eq!(client.get(&url).status, 400);
    let page = client
        .agent
        .get(format!("{}/connect/oauth2?client_id={}&scope=com.intuit.quickbooks.accounting&response_type=code&state=1&redirect_uri=http://localhost/", client.url(), client.client_id()))
        .header("Accept", "text/html,*/*")
        .call();
    let page = read(page.unwrap()).unwrap();
    assert_eq!(page.status, 200);
    assert!(
        page.body.contains("decision=allow") && page.body.contains(&client.realm()),
        "a browser gets a page"
    );
}

#[test]
fn a_revoked_token_is_dead() {
    let client = with(TokenMode::Lazy);
    let token = client.refresh_token();
    let revoke = |token: &str| {
        let basic = crate::client::base64(&format!("{}:{}", client.client_id(), client.client_secret()));
        let request = client.agent.post(format!("{}/v2/oauth2/tokens/revoke", client.url()));
        let request =
            request.header("Authorization", format!("Basic {basic}")).content_type("application/json");
        request.send(format!("{{\"token\":\"{token}\"}}")).unwrap().status().as_u16()
    };
    assert_eq!(revoke("unknown"), 400);
    assert_eq!(revoke(&token), 200);
    assert!(is_refused(&client.refresh(&token)));
    assert_eq!(client.query("SELECT * FROM Invoice").status, 401);
}

#[test]
fn discovery_tells_where_everything_is() {
    let client = with(TokenMode::Lazy);
    let json = client.get(&format!("{}/.well-known/openid_configuration", client.url())).json();
    assert_eq!(json["token_endpoint"], format!("{}/oauth2/v1/tokens/bearer", client.url()));
}

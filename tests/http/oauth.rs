//! Spending a refresh token: what is sent, and what each answer means for it.

use crate::bench::{agent_for, settings, simulator};
use crate::script::{Script, Trap};
use qbo_raw::domain::secret::Secret;
use qbo_raw::domain::token::{Grant, TokenAnswer};
use qbo_raw::http::oauth;
use qbo_sim::{Fault, TokenMode, When};
use std::time::{Duration, Instant};

fn spend(url: &str) -> TokenAnswer {
    let (agent, hosts) = agent_for(url, &settings());
    oauth::refresh(&agent, &hosts.oauth, "the-client", &Secret::new("the-secret"), &Secret::new("RT1-old"))
}

fn answer(status: &str, body: &str) -> TokenAnswer {
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    spend(&Script::closing(answer).url)
}

fn grant(body: &str) -> Grant {
    match answer("200 OK", body) {
        TokenAnswer::Granted(grant) => grant,
        other => panic!("{body}: {other:?}"),
    }
}

#[test]
fn the_request_is_what_intuit_documents() {
    let server = Script::closing("HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\n\r\n");
    spend(&server.url);
    let requests = server.requests();
    let (head, body) = requests[0].split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /oauth2/v1/tokens/bearer HTTP/1.1\r\n"), "{head}");
    let head = head.to_ascii_lowercase();
    for header in [
        "accept: application/json",
        "content-type: application/x-www-form-urlencoded",
        // the-client:the-secret
        "authorization: basic dghllwnsawvuddp0agutc2vjcmv0",
        "x-include-refresh-token-hard-expires-in: true",
        "user-agent: qbo_raw/",
    ] {
        assert!(head.contains(header), "{header} in {head}");
    }
    assert_eq!(body, "grant_type=refresh_token&refresh_token=RT1-old");
    assert_eq!(requests.len(), 1, "nobody repeats it but the protocol");
}

#[test]
fn a_grant_is_read_whole_and_leniently() {
    let whole = grant(
        r#"{"token_type":"bearer","expires_in":3600,"refresh_token":"RT1-new","x_refresh_token_expires_in":8726400,
            "x_refresh_token_hard_expires_in":157680000,"access_token":"at","id_token":"x"}"#,
    );
    assert_eq!((whole.access.expose(), whole.refresh.as_ref().unwrap().expose()), ("at", "RT1-new"));
    assert_eq!(whole.expires_in, Duration::from_secs(3_600));
    assert_eq!(whole.refresh_expires_in, Some(Duration::from_secs(8_726_400)));
    assert_eq!(whole.refresh_hard_expires_in, Some(Duration::from_secs(157_680_000)));

    for (expires_in, seconds) in [
        ("\"3600\"", 3_600),
        ("\" 1800 \"", 1_800),
        ("1800", 1_800),
        ("0", 60),
        ("-1", 60),
        ("1", 60),
        ("1000000000000", 3_600),
        ("99999999999999999999999", 60),
        ("null", 60),
        ("\"soon\"", 60),
        ("[]", 60),
    ] {
        let body = format!(
            r#"{{"access_token":"at","expires_in":{expires_in},"x_refresh_token_expires_in":{expires_in}}}"#
        );
        assert_eq!(grant(&body).expires_in, Duration::from_secs(seconds), "{expires_in}");
    }
    for body in [
        r#"{"access_token":"at"}"#,
        r#"{"access_token":"at","refresh_token":null}"#,
        r#"{"access_token":"at","refresh_token":""}"#,
    ] {
        assert!(grant(body).refresh.is_none(), "{body}: the old token stays");
    }
    let long = "x".repeat(100_000);
    assert_eq!(grant(&format!(r#"{{"access_token":"{long}"}}"#)).access.expose(), long);
}

#[test]
fn only_intuit_saying_so_is_a_rejection() {
    assert!(matches!(
        answer("400 Bad Request", r#"{"error":"invalid_grant"}"#),
        TokenAnswer::InvalidGrant { .. }
    ));
    match answer("400 Bad Request", r#"{"error_description":"Token invalid","error":"invalid_grant"}"#) {
        TokenAnswer::InvalidGrant { description } => assert_eq!(description, "Token invalid"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        answer("401 Unauthorized", r#"{"error":"invalid_client"}"#),
        TokenAnswer::InvalidClient { .. }
    ));
    for (status, body) in [
        ("200 OK", ""),
        ("200 OK", "<html><title>We'll be back soon</title></html>"),
        ("200 OK", r#"{"access_token":"at""#),
        ("200 OK", r#"{"refresh_token":"RT1-new","expires_in":3600}"#),
        ("200 OK", r#"{"access_token":""}"#),
        // What can be neither sent nor stored.
        ("200 OK", r#"{"access_token":"a\r\nX-Other: b","refresh_token":"RT1-new"}"#),
        ("200 OK", r#"{"access_token":"a\u0000b","refresh_token":"RT1-new"}"#),
        ("200 OK", r#"{"access_token":"a b"}"#),
        ("200 OK", r#"{"access_token":"at","refresh_token":"RT1\nnew"}"#),
        ("200 OK", r#"{"access_token":"at","refresh_token":"RT1\u0000new"}"#),
        ("200 OK", r#"{"access_token":"at","refresh_token":"RT1-n\u00e9w"}"#),
        ("200 OK", r#"{"access_token":"at","refresh_token":" "}"#),
        ("200 OK", &format!(r#"{{"access_token":"at","refresh_token":"{}"}}"#, "x".repeat(4_097))),
        ("302 Found", ""),
        ("400 Bad Request", "<html></html>"),
        ("400 Bad Request", r#"{"error":"temporarily_unavailable"}"#),
        ("401 Unauthorized", ""),
        ("429 Too Many Requests", r#"{"error":"invalid_grant"}"#),
        ("500 Oops", r#"{"error":"invalid_grant"}"#),
        ("503 Unavailable", r#"{"access_token":"at"}"#),
    ] {
        let answer = answer(status, body);
        assert!(matches!(answer, TokenAnswer::Unknown { .. }), "{status} {body:.80}: {answer:?}");
        assert!(!format!("{answer:?}").contains("RT1"), "{answer:?}");
    }
    let longest = "!".repeat(4_096);
    let body = format!(r#"{{"access_token":"~{longest}","refresh_token":"{longest}"}}"#).replace('!', "#");
    assert_eq!(grant(&body).refresh.unwrap().expose().len(), 4_096);
}

#[test]
fn no_answer_leaves_the_outcome_open() {
    for broken in
        ["", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"access_token\":\"at\"", "what?\r\n\r\n"]
    {
        let answer = spend(&Script::closing(broken).url);
        assert!(matches!(answer, TokenAnswer::Unknown { .. }), "{broken:?}: {answer:?}");
    }
    let nobody = Trap::set().url();
    assert!(matches!(spend(&nobody), TokenAnswer::Unknown { .. }));
}

#[test]
fn a_redirect_does_not_take_the_secret_along() {
    let trap = Trap::set();
    for status in [302, 307, 308] {
        let server = Script::closing(format!(
            "HTTP/1.1 {status} Moved\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n",
            trap.url()
        ));
        assert!(matches!(spend(&server.url), TokenAnswer::Unknown { .. }));
    }
    assert!(!trap.caught());
}

#[test]
fn a_stall_ends_within_ten_seconds() {
    let server = Script::holding("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{");
    let (agent, hosts) = agent_for(
        &server.url,
        &qbo_raw::http::agent::Settings { request_timeout: Duration::from_secs(60), ..settings() },
    );
    let start = Instant::now();
    let answer = oauth::refresh(&agent, &hosts.oauth, "c", &Secret::new("s"), &Secret::new("r"));
    assert!(matches!(answer, TokenAnswer::Unknown { .. }), "{answer:?}");
    let took = start.elapsed();
    assert!(took > Duration::from_secs(9) && took < Duration::from_secs(30), "{took:?}");
}

#[test]
fn the_simulator_grants_rotates_and_rejects() {
    let sim = simulator(|options| options.tokens = TokenMode::Strict);
    let (agent, hosts) = agent_for(sim.url(), &settings());
    let (_, id, secret, first) = sim.credentials();
    let refresh = |token: &str| {
        oauth::refresh(&agent, &hosts.oauth, &id, &Secret::new(secret.as_str()), &Secret::new(token))
    };
    let TokenAnswer::Granted(grant) = refresh(&first) else { panic!("the first token is good") };
    let next = grant.refresh.unwrap();
    assert_ne!(next.expose(), first);
    assert!(grant.refresh_hard_expires_in.is_some());
    assert!(matches!(refresh(&first), TokenAnswer::InvalidGrant { .. }));

    sim.fault_times(When::Token, Fault::LoseAnswer, 1);
    assert!(matches!(refresh(next.expose()), TokenAnswer::Unknown { .. }));
    let wrong = oauth::refresh(&agent, &hosts.oauth, &id, &Secret::new("wrong"), &next);
    assert!(matches!(wrong, TokenAnswer::InvalidClient { .. }), "{wrong:?}");
}

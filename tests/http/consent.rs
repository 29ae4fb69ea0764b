//! A consent at the token endpoint: the page to open, the code redeemed, the authorization given back.

use crate::bench::{agent_for, settings};
use crate::script::{Script, Trap};
use qbo_raw::domain::secret::Secret;
use qbo_raw::domain::token::TokenAnswer;
use qbo_raw::http::oauth;

const BACK: &str = "https://example.com/back?x=1";

/// A server that gives this answer to every request.
fn server(status: &str, body: &str) -> Script {
    Script::closing(format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}

fn exchange(url: &str, redirect: &str) -> TokenAnswer {
    let (agent, hosts) = agent_for(url, &settings());
    let (secret, code) = (Secret::new("the-secret"), Secret::new("the+code"));
    oauth::exchange(&agent, &hosts.oauth, "the-client", &secret, &code, redirect)
}

fn revoke(url: &str) -> Result<(), String> {
    let (agent, hosts) = agent_for(url, &settings());
    oauth::revoke(&agent, &hosts.oauth, "the:client", &Secret::new("the secret"), &Secret::new("RT1-\"old\""))
}

#[test]
fn the_page_of_a_consent_is_what_intuit_documents() {
    let (url, state) = oauth::consent_url("https://example.com", "the-client", BACK).unwrap();
    for part in [
        "https://example.com/connect/oauth2?",
        "response_type=code",
        "client_id=the-client",
        "redirect_uri=https%3A%2F%2Fexample.com%2Fback%3Fx%3D1",
        "scope=com.intuit.quickbooks.accounting",
        &format!("state={state}"),
    ] {
        assert!(url.contains(part), "{part} in {url}");
    }
    assert!(state.len() >= 32, "{state}");
    let (_, other) = oauth::consent_url("https://example.com", "the-client", BACK).unwrap();
    assert_ne!(state, other, "each is for once");
    assert!(oauth::consent_url("no address", "the-client", BACK).is_err());
    assert!(oauth::consent_url("https://example.com", "the-client", "no address").is_err());
}

#[test]
fn a_code_is_redeemed_for_both_tokens_or_for_none() {
    let both = server("200 OK", r#"{"access_token":"at","refresh_token":"RT1-new","expires_in":3600}"#);
    match exchange(&both.url, BACK) {
        TokenAnswer::Granted(grant) => assert_eq!(grant.refresh.unwrap().expose(), "RT1-new"),
        other => panic!("{other:?}"),
    }
    let (head, body) =
        both.requests()[0].split_once("\r\n\r\n").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    assert!(head.starts_with("POST /oauth2/v1/tokens/bearer HTTP/1.1\r\n"), "{head}");
    for part in [
        "grant_type=authorization_code",
        "code=the%2Bcode",
        "redirect_uri=https%3A%2F%2Fexample.com%2Fback%3Fx%3D1",
    ] {
        assert!(body.contains(part), "{part} in {body}");
    }
    match exchange(&server("200 OK", r#"{"access_token":"at","expires_in":3600}"#).url, BACK) {
        TokenAnswer::Unknown { message } => assert_eq!(message, "the answer has no refresh token"),
        other => panic!("{other:?}"),
    }
    let refused = server("400 Bad Request", r#"{"error":"invalid_grant"}"#);
    assert!(matches!(exchange(&refused.url, BACK), TokenAnswer::InvalidGrant { .. }));
}

#[test]
fn an_address_that_is_none_reaches_nobody() {
    let trap = Trap::set();
    assert!(matches!(exchange(&trap.url(), "no address"), TokenAnswer::Unknown { .. }));
    assert!(!trap.caught());
    let (agent, _) = agent_for(&trap.url(), &settings());
    let word = Secret::new("word");
    assert!(matches!(oauth::refresh(&agent, "no address", "c", &word, &word), TokenAnswer::Unknown { .. }));
    assert!(matches!(
        oauth::exchange(&agent, "no address", "c", &word, &word, BACK),
        TokenAnswer::Unknown { .. }
    ));
}

#[test]
fn a_token_that_is_given_back_is_void_or_somebody_says_why() {
    let good = server("200 OK", "");
    assert_eq!(revoke(&good.url), Ok(()));
    let requests = good.requests();
    let (head, body) = requests[0].split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /v2/oauth2/tokens/revoke HTTP/1.1\r\n"), "{head}");
    // the%3Aclient:the+secret
    assert!(
        head.to_ascii_lowercase().contains("authorization: basic dghljtnby2xpzw50onrozstzzwnyzxq="),
        "{head}"
    );
    assert_eq!(body, r#"{"token":"RT1-\"old\""}"#);
    assert_eq!(revoke(&server("400 Bad Request", "").url), Ok(()), "Intuit does not know it any more");
    for (status, said) in
        [("401 No", "client id or secret"), ("302 Found", "status 302"), ("503 No", "status 503")]
    {
        let why = revoke(&server(status, "").url).unwrap_err();
        assert!(why.contains(said) && !why.contains("RT1"), "{why}");
    }
    assert!(revoke(&Trap::set().url().replace("127.0.0.1", "127.0.0.2")).is_err(), "nobody is there");
}

//! What is sent, and where it does not go.

use crate::bench::{agent_for, ask, settings};
use crate::script::{Script, Trap};
use qbo_raw::error::Error;
use qbo_raw::http::agent::{self, Environment, Hosts, Settings};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nintuit_tid: 1-abc\r\nRetry-After: 7\r\n\r\n{}";

#[test]
fn a_request_is_what_intuit_documents() {
    let server = Script::closing(OK);
    let reply = ask(&server.url, &settings()).unwrap();
    assert_eq!((reply.status, reply.body.as_slice()), (200, b"{}".as_slice()));
    assert_eq!(reply.intuit_tid.as_deref(), Some("1-abc"));
    assert_eq!(reply.retry_after.as_deref(), Some("7"));

    let requests = server.requests();
    let (head, body) = requests[0].split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "SELECT * FROM Invoice");
    let mut lines = head.lines();
    assert_eq!(lines.next(), Some("POST /v3/company/4620816365002384750/query?minorversion=75 HTTP/1.1"));
    let mut headers: Vec<_> =
        lines.map(str::to_ascii_lowercase).filter(|line| !line.starts_with("host:")).collect();
    headers.sort();
    let agent = format!("user-agent: qbo_raw/{} (postgresql extension)", env!("CARGO_PKG_VERSION"));
    assert_eq!(
        headers,
        [
            "accept-encoding: gzip",
            "accept: application/json",
            "authorization: bearer a-token",
            "content-length: 21",
            "content-type: application/text",
            &agent,
        ]
    );
}

#[test]
fn a_redirect_is_an_answer_and_nothing_follows_it() {
    for status in [301, 302, 303, 307, 308] {
        let trap = Trap::set();
        for body in ["", "moved"] {
            let answer = format!(
                "HTTP/1.1 {status} Moved\r\nLocation: {}/elsewhere\r\nContent-Length: {}\r\n\r\n{body}",
                trap.url(),
                body.len()
            );
            let server = Script::closing(answer);
            let reply = ask(&server.url, &settings()).unwrap();
            assert_eq!(reply.status, status);
            assert_eq!(server.requests().len(), 1);
        }
        assert!(!trap.caught(), "status {status} was followed");
    }
}

#[test]
fn a_transaction_id_as_long_as_a_book_is_left_out() {
    let answer =
        format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nintuit_tid: {}\r\n\r\n{{}}", "x".repeat(5_000));
    assert_eq!(ask(&Script::closing(answer).url, &settings()).unwrap().intuit_tid, None);
}

#[test]
fn a_token_cannot_add_a_header() {
    let server = Script::closing(OK);
    let (agent, hosts) = agent_for(&server.url, &settings());
    let token = qbo_raw::domain::secret::Secret::new("a\r\nX-Other: b");
    let lost = qbo_raw::http::api::query(&agent, &hosts.api, "1", &token, "SELECT", 1_000).unwrap_err();
    assert!(!lost.message.contains("X-Other"), "{}", lost.message);
    assert!(server.requests().is_empty());
}

#[test]
fn plain_http_is_refused_by_the_agent_as_well() {
    let server = Script::closing(OK);
    let hosts = Hosts::new(Environment::Production, None, None).unwrap();
    let agent = agent::agent(&settings(), &hosts).unwrap();
    assert!(agent.get(&server.url).call().is_err());
    assert!(server.requests().is_empty());
}

#[test]
fn a_setting_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty.pem");
    std::fs::write(&empty, "nothing in it").unwrap();
    let hosts = Hosts::new(Environment::Production, None, None).unwrap();
    for (settings, wanted) in [
        (Settings { ca_file: Some("/nowhere/ca.pem".to_owned()), ..settings() }, "qbo_raw.ca_file"),
        (Settings { ca_file: Some(empty.display().to_string()), ..settings() }, "qbo_raw.ca_file"),
        (Settings { proxy: Some("word://example.com:1".to_owned()), ..settings() }, "qbo_raw.proxy"),
        (Settings { proxy: Some("socks5://example.com:1".to_owned()), ..settings() }, "qbo_raw.proxy"),
    ] {
        match agent::agent(&settings, &hosts) {
            Err(Error::Setting { setting, problem }) => {
                assert_eq!(setting, wanted);
                assert!(!problem.contains("word"), "{problem}");
            }
            other => panic!("{other:?}"),
        }
    }
}

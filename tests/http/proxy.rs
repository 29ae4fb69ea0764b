//! Proxies: the one that is set, never one from the environment.

use crate::bench::{ask, settings};
use crate::script::{Script, Trap};
use qbo_raw::http::agent::Settings;
use std::process::Command;

const CHILD: &str = "QBO_RAW_TEST_URL";

/// The environment of a process can only be set safely from outside: the test runs itself once more as a child.
#[test]
fn variables_of_the_environment_are_ignored() {
    if let Ok(url) = std::env::var(CHILD) {
        assert_eq!(ask(&url, &settings()).unwrap().status, 200);
        return;
    }
    let server = Script::closing("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
    let trap = Trap::set();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "proxy::variables_of_the_environment_are_ignored"]).env(CHILD, &server.url);
    for variable in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "all_proxy", "https_proxy", "http_proxy"] {
        child.env(variable, trap.url());
    }
    let output = child.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(server.requests().len(), 1);
    assert!(!trap.caught());
}

#[test]
fn the_one_that_is_set_is_used() {
    let server = Script::closing("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
    let proxy = Script::closing("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
    let lost = ask(&server.url, &Settings { proxy: Some(proxy.url.clone()), ..settings() }).unwrap_err();
    assert_eq!(lost.kind, qbo_raw::domain::fetch::LostKind::Connect, "{}", lost.message);
    assert!(proxy.requests()[0].starts_with("CONNECT 127.0.0.1"), "{:?}", proxy.requests());
    assert!(!proxy.requests()[0].contains("a-token"));
    assert!(server.requests().is_empty());
}

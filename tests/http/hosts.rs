//! Where tokens may go.

use qbo_raw::http::agent::{Environment, Hosts};

fn api(url: &str) -> Result<Hosts, qbo_raw::error::Error> {
    Hosts::new(Environment::Production, Some(url), None)
}

#[test]
fn intuits_hosts_are_compiled_in() {
    let production = Hosts::new(Environment::Production, None, None).unwrap();
    assert_eq!(production.api, "https://quickbooks.api.intuit.com");
    assert_eq!(production.oauth, "https://oauth.platform.intuit.com");
    let sandbox = Hosts::new(Environment::Sandbox, None, None).unwrap();
    assert_eq!(sandbox.api, "https://sandbox-quickbooks.api.intuit.com");
    assert_eq!(sandbox.oauth, production.oauth);
    assert!(production.is_intuit() && sandbox.is_intuit());
}

#[test]
fn another_host_is_https_or_this_machine() {
    for url in [
        "https://proxy.example.com",
        "https://proxy.example.com:8443/",
        "https://simulator:8017",
        "https://my_host",
        "https://203.0.113.7",
        "https://[2001:db8::1]:8443",
        "http://127.0.0.1:8017",
        "http://127.8.9.10",
        "http://[::1]:8017",
        "http://localhost:8017",
    ] {
        assert_eq!(api(url).unwrap().api, url.trim_end_matches('/'), "{url}");
    }
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let long = format!("https://{}.example.com", "a".repeat(8_192));
    for url in [
        "",
        "https://",
        "https:///path",
        "https://:443",
        "quickbooks.api.intuit.com",
        "file:///etc/passwd",
        "gopher://127.0.0.1",
        "ftp://example.com",
        "HTTPS://example.com",
        "http://quickbooks.api.intuit.com",
        "http://example.com",
        "http://10.0.0.1",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "http://[::ffff:127.0.0.1]",
        "https://quickbooks.api.intuit.com@127.0.0.1/",
        "https://user:word@example.com",
        "https://example.com/path",
        "https://example.com?query",
        "https://example.com#fragment",
        "https://example.com\\@127.0.0.1",
        "https://example.com%2f",
        "https://example.com.",
        "https://example..com",
        "https://.example.com",
        "https://exa mple.com",
        "https://example.com\t",
        "https://example.com\r\nHost: other",
        " https://example.com",
        "https://exämple.com",
        "https://example.com:",
        "https://example.com:0",
        "https://example.com:65536",
        "https://example.com:+443",
        "https://example.com:44a",
        "https://example.com:1:2",
        "https://2130706433",
        "https://0x7f000001",
        "https://0177.0.0.1",
        "https://127.1",
        "https://1.2.3.4.5",
        "https://[::1",
        "https://[::1]x",
        "https://[fe80::1%25eth0]",
        "https://ex[ample.com",
        "https://[example.com]",
        "https://169.254.169.254",
        "https://[::ffff:169.254.169.254]",
        "https://[fe80::1]",
        "https://0.0.0.0",
        "https://[::]",
        "https://224.0.0.1",
        "https://255.255.255.255",
        long.as_str(),
    ] {
        let refused = api(url).map(|hosts| hosts.api).expect_err(url);
        assert_eq!(refused.sqlstate(), "22023", "{url}");
        let oauth = Hosts::new(Environment::Production, None, Some(url)).expect_err(url);
        assert!(oauth.to_string().contains("qbo_raw.oauth_base_url"), "{oauth}");
    }
}

#[test]
fn intuits_limits_cannot_be_spelled_away() {
    for url in [
        "https://quickbooks.api.intuit.com",
        "https://quickbooks.api.intuit.com:443",
        "https://QuickBooks.API.Intuit.com",
        "https://sandbox-quickbooks.api.intuit.com/",
    ] {
        assert!(api(url).unwrap().is_intuit(), "{url}");
    }
    for url in ["https://notintuit.com", "https://intuit.com.example.com", "http://127.0.0.1:1"] {
        assert!(!api(url).unwrap().is_intuit(), "{url}");
    }
}

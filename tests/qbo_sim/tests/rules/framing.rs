//! Faults on the wire, byte by byte.

use crate::client::{Client, agent};
use qbo_sim::{Fault, Place, When};
use std::io::ErrorKind;

fn strike(fault: Fault, headers: &str) -> (Client, Vec<u8>, std::io::Result<()>) {
    let client = Client::company(&[("Invoice", 30)]);
    client.fault(When::Always, fault);
    let (bytes, end) = client.raw(&client.bytes(headers));
    (client, bytes, end)
}

fn named(name: &str) -> Fault {
    Fault::named(name).unwrap()
}

/// Head and body.
fn split(bytes: &[u8]) -> (String, Vec<u8>) {
    let at = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head");
    (String::from_utf8(bytes[..at].to_vec()).unwrap(), bytes[at + 4..].to_vec())
}

fn is_reset(end: &std::io::Result<()>) -> bool {
    matches!(end, Err(error) if error.kind() == ErrorKind::ConnectionReset)
}

#[test]
fn a_reset_comes_where_it_is_told_to() {
    let (client, bytes, end) = strike(Fault::Reset, "");
    assert!(bytes.is_empty() && is_reset(&end), "{end:?}");
    assert_eq!(client.requests()[0].status, 0);
    let (_, bytes, end) = strike(Fault::ResetAt(Place::StatusLine), "");
    assert!(is_reset(&end));
    assert_eq!(bytes, b"HTTP/1.1 200");
    let (_, bytes, end) = strike(Fault::ResetAt(Place::Headers), "");
    assert!(is_reset(&end));
    assert!(bytes.starts_with(b"HTTP/1.1 200 OK\r\n") && !bytes.windows(4).any(|four| four == b"\r\n\r\n"));
    let (client, bytes, end) = strike(Fault::ResetInBody(100), "");
    assert!(is_reset(&end));
    assert_eq!(split(&bytes).1.len(), 100);
    assert!(!client.requests()[0].whole);
    let (client, bytes, end) = strike(Fault::ResetAt(Place::End), "");
    assert!(is_reset(&end));
    assert!(bytes.ends_with(b"\r\n0\r\n\r\n"));
    assert!(client.requests()[0].whole);
    let (_, bytes, end) = strike(Fault::LoseAnswer, "");
    assert!(bytes.is_empty() && is_reset(&end));
}

#[test]
fn truncated_and_wrong_lengths_are_as_told() {
    let (client, bytes, end) = strike(Fault::Truncate(500), "");
    assert!(end.is_ok(), "closed in good order");
    assert_eq!(split(&bytes).1.len(), 500);
    assert!(!client.requests()[0].whole);
    for (name, off) in [("length:100", 100), ("length:-100", -100)] {
        let (_, bytes, end) = strike(named(name), "");
        let (head, body) = split(&bytes);
        let length: i64 =
            head.split("Content-Length: ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
        assert_eq!(length, body.len() as i64 + off);
        assert!(end.is_ok() && body.ends_with(b"}"));
    }
    let (_, bytes, _) = strike(named("two-lengths"), "");
    assert_eq!(split(&bytes).0.matches("Content-Length").count(), 2);
    let (_, bytes, _) = strike(named("length-and-chunks"), "");
    let (head, body) = split(&bytes);
    assert!(
        head.contains("Content-Length")
            && head.contains("Transfer-Encoding: chunked")
            && body.ends_with(b"0\r\n\r\n")
    );
    let (_, bytes, _) = strike(named("bad-chunk"), "");
    assert!(split(&bytes).1.starts_with(b"xyz\r\n"));
    let (client, bytes, end) = strike(named("no-last-chunk"), "");
    assert!(end.is_ok() && !bytes.ends_with(b"0\r\n\r\n") && bytes.ends_with(b"}\r\n"));
    assert!(!client.requests()[0].whole);
    let (_, bytes, end) = strike(named("until-close"), "");
    let (head, body) = split(&bytes);
    assert!(
        !head.contains("Content-Length") && !head.contains("chunked") && body.ends_with(b"}") && end.is_ok()
    );
}

#[test]
fn a_good_answer_can_be_followed_by_the_end_of_the_connection() {
    let (client, bytes, end) = strike(named("close-idle"), "");
    assert!(bytes.ends_with(b"0\r\n\r\n") && end.is_ok());
    assert!(!split(&bytes).0.to_lowercase().contains("connection: close"), "it is not announced");
    assert!(client.requests()[0].whole);
}

#[test]
fn bad_compression_is_bad_and_a_bomb_is_small() {
    for name in ["bad-gzip", "short-gzip", "bad-gzip-sum"] {
        let client = Client::company(&[("Invoice", 30)]);
        client.fault(When::Always, named(name));
        assert!(client.try_query("SELECT * FROM Invoice").is_err(), "{name}");
    }
    let (_, bytes, _) = strike(Fault::GzipBomb(8 << 20), "Connection: close\r\n");
    assert!(bytes.len() < 100_000, "{}", bytes.len());
    let client = Client::company(&[]);
    client.fault(When::Always, Fault::GzipBomb((8 << 20) + 5));
    assert_eq!(client.query("SELECT * FROM Invoice").body.len(), (8 << 20) + 5);
}

#[test]
fn heads_can_be_no_good_http() {
    for (name, start) in [
        ("http-0.9", "{\"QueryResponse\""),
        ("http-1.0", "HTTP/1.0 200 OK"),
        ("http-2", "PRI * HTTP/2.0"),
        ("early-hints", "HTTP/1.1 103"),
    ] {
        let (_, bytes, _) = strike(named(name), "");
        assert!(bytes.starts_with(start.as_bytes()), "{name}");
    }
    for (name, least) in [("many-headers", 100_000), ("huge-header", 100_000), ("garbage", 4_000)] {
        let client = Client::company(&[]);
        client.fault(When::Always, named(name));
        assert!(client.raw(&client.bytes("")).0.len() > least);
        assert!(client.try_query("SELECT * FROM Invoice").is_err(), "{name}");
    }
}

#[test]
fn bytes_come_one_by_one_or_late() {
    let client = Client::company(&[]);
    client.fault(When::Always, named("slow:0.001"));
    let start = std::time::Instant::now();
    assert_eq!(client.query("SELECT COUNT(*) FROM Invoice").status, 200);
    assert!(start.elapsed().as_millis() > 300);
    client.clear_faults();
    client.fault(When::Always, named("stall-in-body:5"));
    let start = std::time::Instant::now();
    let answer =
        agent(None).post(client.path("query")).header("Authorization", format!("Bearer {}", client.token));
    let answer = answer
        .header("Accept", "application/json")
        .content_type("application/text")
        .send("SELECT COUNT(*) FROM Invoice")
        .unwrap();
    assert!(start.elapsed().as_millis() < 4_500, "the head comes at once");
    assert!(crate::client::read(answer).unwrap().body.contains("totalCount"));
    assert!(start.elapsed().as_millis() >= 5_000);
}

//! HTTP/1.1 as the simulator speaks it.

use crate::client::Client;
use qbo_sim::{Fault, When};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

#[test]
fn one_connection_carries_many_requests_even_sent_at_once() {
    let client = Client::company(&[("Invoice", 30)]);
    let (one, last) = (client.bytes(""), client.bytes("Connection: close\r\n"));
    let (bytes, end) = client.raw(&format!("{one}{one}{last}"));
    assert!(end.is_ok());
    assert_eq!(String::from_utf8_lossy(&bytes).matches("HTTP/1.1 200 OK").count(), 3);
    assert_eq!(client.request_count(), 3);
}

#[test]
fn who_left_before_a_request_was_taken_in_is_known_to_have_left() {
    let client = Client::company(&[("Invoice", 30)]);
    client.fault(When::Nth(1), Fault::Stall(Duration::from_secs(60)));
    let mut socket = TcpStream::connect(client.url().split("//").nth(1).unwrap()).unwrap();
    let one = client.bytes("");
    socket.write_all(format!("{one}{one}").as_bytes()).unwrap();
    let began = Instant::now();
    while client.request_count() < 1 {
        assert!(began.elapsed() < Duration::from_secs(15));
        std::thread::yield_now();
    }
    socket.shutdown(std::net::Shutdown::Write).unwrap();
    client.release();
    socket.read_to_end(&mut Vec::new()).unwrap();
    let abandoned: Vec<bool> = client.requests().iter().map(|request| request.abandoned).collect();
    assert_eq!(abandoned, [false, true]);
    assert_eq!((client.requests_after(0).len(), client.requests_after(1).len()), (1, 0));
}

#[test]
fn gzip_comes_when_it_is_accepted_and_only_then() {
    let client = Client::company(&[("Invoice", 30)]);
    let ask = |headers: &str| client.raw(&client.bytes(&format!("Connection: close\r\n{headers}"))).0;
    let (plain, packed) = (ask(""), ask("Accept-Encoding: deflate, gzip;q=0.5\r\n"));
    let head = |bytes: &[u8]| String::from_utf8_lossy(bytes).split("\r\n\r\n").next().unwrap().to_owned();
    assert!(!head(&plain).contains("gzip") && head(&packed).contains("Content-Encoding: gzip"));
    assert!(packed.len() * 2 < plain.len());
    assert!(!head(&ask("Accept-Encoding: gzip;q=0\r\n")).contains("gzip"));
    let answer = client.query("SELECT * FROM Invoice ORDERBY Id MAXRESULTS 5");
    assert_eq!(answer.ids("Invoice"), ["1", "2", "3", "4", "5"], "and is unpacked by ureq");
}

#[test]
fn answers_are_chunked_and_faults_have_a_length() {
    let client = Client::company(&[("Invoice", 30)]);
    let (bytes, _) = client.raw(&client.bytes("Connection: close\r\n"));
    let end = |bytes: &[u8], end: &[u8]| bytes.windows(end.len()).position(|some| some == end).unwrap();
    let (head, body) = bytes.split_at(end(&bytes, b"\r\n\r\n") + 4);
    let head = String::from_utf8_lossy(head);
    assert!(head.contains("Transfer-Encoding: chunked") && !head.contains("Content-Length"));
    let (size, rest) = body.split_at(end(body, b"\r\n"));
    let size = usize::from_str_radix(std::str::from_utf8(size).unwrap(), 16).unwrap();
    assert_eq!(&rest[2 + size..][..2], b"\r\n");
    assert!(bytes.ends_with(b"\r\n0\r\n\r\n"));
    let fault = client.query("SELECT * FROM Custmoer");
    assert_eq!(fault.header("transfer-encoding"), "");
}

#[test]
fn a_chunked_request_and_expect_are_understood() {
    let client = Client::company(&[("Invoice", 30)]);
    let head = client.bytes("Expect: 100-continue\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n");
    let head = head.split("\r\n\r\n").next().unwrap().replace("Content-Length", "X-Length");
    let request =
        format!("{head}\r\n\r\n7\r\nSELECT \r\n1d;x=y\r\nCOUNT(*) FROM Invoice        \r\n0\r\n\r\n");
    let text = String::from_utf8(client.raw(&request).0).unwrap();
    assert!(text.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK"), "{text}");
    assert!(text.contains("{\"totalCount\":30}"), "{text}");
}

#[test]
fn an_old_client_gets_a_length_and_the_end_of_the_connection() {
    let client = Client::company(&[("Invoice", 30)]);
    let (bytes, end) = client.raw(&client.bytes("").replace("HTTP/1.1", "HTTP/1.0"));
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.contains("Content-Length: ") && !text.contains("chunked") && end.is_ok());
}

#[test]
fn what_is_no_request_is_refused() {
    let client = Client::company(&[]);
    let status = |request: &str| String::from_utf8_lossy(&client.raw(request).0)[9..12].to_owned();
    assert_eq!(status("nonsense\r\n\r\n"), "400");
    assert_eq!(status(&format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(100_000))), "431");
    assert_eq!(status("GET /nothing HTTP/1.1\r\nConnection: close\r\n\r\n"), "404");
    assert_eq!(client.request_count(), 0);
}

#[test]
fn dropping_the_simulator_ends_idle_connections_and_the_port() {
    let client = Client::company(&[]);
    let address = client.url().split("//").nth(1).unwrap().to_owned();
    let mut idle = TcpStream::connect(&address).unwrap();
    idle.write_all(b"GET /half").unwrap();
    idle.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let start = Instant::now();
    drop(client);
    assert_eq!(idle.read(&mut [0]).unwrap_or(0), 0);
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(TcpStream::connect(&address).is_err());
}

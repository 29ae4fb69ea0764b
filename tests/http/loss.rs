//! Answers that do not come whole: each kind told apart, and a half body never taken for a page.

use crate::bench::{Bench, Setup, ask, settings, simulator, windows};
use crate::script::Script;
use qbo_raw::domain::fetch::LostKind;
use qbo_raw::http::agent::Settings;
use qbo_sim::{Fault, When};
use std::net::TcpListener;
use std::time::{Duration, Instant};

/// A gzip body of `{"QueryResponse":{}}`.
const GZIP: &[u8] = &[
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0xff, 0xab, 0x56, 0x0a, 0x2c, 0x4d, 0x2d, 0xaa,
    0x0c, 0x4a, 0x2d, 0x2e, 0xc8, 0xcf, 0x2b, 0x4e, 0x55, 0xb2, 0xaa, 0xae, 0xad, 0x05, 0x00, 0x26, 0x8d,
    0x72, 0xa1, 0x14, 0x00, 0x00, 0x00,
];

fn gzip(body: &[u8], claimed: usize) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {claimed}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

fn lost_to(answer: impl Into<Vec<u8>>) -> qbo_raw::domain::fetch::Lost {
    ask(&Script::closing(answer).url, &settings()).expect_err("an answer came")
}

#[test]
fn the_sample_is_good() {
    let reply = ask(&Script::closing(gzip(GZIP, GZIP.len())).url, &settings()).unwrap();
    assert_eq!(reply.body, b"{\"QueryResponse\":{}}");
}

#[test]
fn a_broken_connection_is_a_reset_wherever_it_breaks() {
    for answer in [
        "",
        "HTTP/1.1 2",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n{\"QueryResponse\":{}}",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n14\r\n{\"QueryResponse\":{}}\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n{\"QueryResponse\":{}}",
    ] {
        let lost = lost_to(answer);
        assert_eq!(lost.kind, LostKind::Reset, "{answer:?}: {}", lost.message);
    }
    // The same inside compressed data: the connection broke, the data is not to blame.
    for keep in [0, 5, 20, GZIP.len() - 1] {
        let lost = lost_to(gzip(&GZIP[..keep], GZIP.len()));
        assert_eq!(lost.kind, LostKind::Reset, "{keep} bytes: {}", lost.message);
    }
}

#[test]
fn damaged_compression_is_told_from_a_broken_connection() {
    let mut wrong_sum = GZIP.to_vec();
    let sum = GZIP.len() - 8;
    wrong_sum[sum] ^= 0xff;
    let mut wrong_data = GZIP.to_vec();
    wrong_data[12] ^= 0xff;
    for body in [&GZIP[..20], &GZIP[..GZIP.len() - 2], b"this is no gzip data", &wrong_sum, &wrong_data] {
        let lost = lost_to(gzip(body, body.len()));
        assert_eq!(lost.kind, LostKind::Encoding, "{}", lost.message);
    }
}

#[test]
fn what_is_not_http_is_a_protocol_error() {
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X-A: b\r\n".repeat(10_000));
    let long = format!("HTTP/1.1 200 OK\r\nX-A: {}\r\n\r\n", "b".repeat(100_000));
    for answer in [
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/1.1 abc\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n0\r\n\r\n",
        &many,
        &long,
    ] {
        let lost = lost_to(answer);
        assert_eq!(lost.kind, LostKind::Protocol, "{:.40}: {}", answer, lost.message);
    }
}

#[test]
fn nobody_there_is_no_connection() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let lost = ask(&format!("http://{port}"), &settings()).unwrap_err();
    assert_eq!(lost.kind, LostKind::Connect, "{}", lost.message);
    assert!(lost.message.contains("refused"), "{}", lost.message);
}

#[test]
fn a_name_that_nobody_knows_is_an_error_of_dns() {
    let lost = ask("https://no-such-host.invalid", &settings()).unwrap_err();
    assert_eq!(lost.kind, LostKind::Dns, "{}", lost.message);
}

#[test]
fn a_stall_ends_with_the_time_of_the_request() {
    let short = Settings { request_timeout: Duration::from_millis(300), ..settings() };
    for answer in [
        "",
        "HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 40\r\n\r\n\x1f",
    ] {
        let server = Script::holding(answer);
        let start = Instant::now();
        let lost = ask(&server.url, &short).unwrap_err();
        assert_eq!(lost.kind, LostKind::Timeout, "{answer:?}: {}", lost.message);
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    }
}

#[test]
fn a_byte_now_and_then_does_not_extend_the_time() {
    let sim = simulator(|_| {});
    sim.fault(When::Always, Fault::Slow(Duration::from_millis(50)));
    let start = Instant::now();
    let lost =
        ask(sim.url(), &Settings { request_timeout: Duration::from_millis(400), ..settings() }).unwrap_err();
    assert_eq!(lost.kind, LostKind::Timeout, "{}", lost.message);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn the_limit_of_a_body_is_exact_and_counts_what_is_unpacked() {
    let answer = gzip(GZIP, GZIP.len());
    let limit = |bytes| Settings { max_body_size: bytes, ..settings() };
    assert_eq!(ask(&Script::closing(answer.as_slice()).url, &limit(20)).unwrap().body.len(), 20);
    for bytes in [19, 1] {
        let lost = ask(&Script::closing(answer.as_slice()).url, &limit(bytes)).unwrap_err();
        assert_eq!(lost.kind, LostKind::TooLarge, "{}", lost.message);
        assert!(lost.message.contains("qbo_raw.max_body_size"));
    }
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let sim = simulator(|_| {});
    sim.fault(When::Always, Fault::GzipBomb(1 << 30));
    let before = peak_memory();
    let start = Instant::now();
    let lost = ask(
        sim.url(),
        &Settings { max_body_size: 1 << 20, request_timeout: Duration::from_secs(60), ..settings() },
    );
    let lost = lost.unwrap_err();
    assert_eq!(lost.kind, LostKind::TooLarge, "{}", lost.message);
    assert!(peak_memory() - before < 256 << 20, "{} bytes more", peak_memory() - before);
    assert!(start.elapsed() < Duration::from_secs(60));
}

fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// What passes by itself, as the simulator names it.
const SPOILED: &[&str] = &[
    "reset",
    "reset-status",
    "reset-headers",
    "reset-in-body:300",
    "truncate:300",
    "length:100",
    "bad-chunk",
    "no-last-chunk",
    "short-gzip",
    "bad-gzip",
    "bad-gzip-sum",
    "close-idle",
    "lose-answer",
    "empty",
    "html",
    "bad-json",
    "garbage",
    "http-0.9",
    "http-2",
    "many-headers",
    "huge-header",
    "bad-header",
    "500",
    "502",
    "503",
    "504",
    "stall:0.05",
    "stall-in-body:0.05",
];

#[test]
fn a_window_survives_every_loss_that_passes() {
    let truth = {
        let sim = simulator(|_| {});
        Bench::start(&sim, Setup::default()).fetch(&windows(1, 14))[&0].ids()
    };
    assert!(truth.len() > 50, "{}", truth.len());
    for name in SPOILED {
        for nth in [1, 2, 3] {
            let sim = simulator(|_| {});
            sim.fault_times(When::Nth(nth), Fault::named(name).unwrap(), 1);
            let setup = Setup { page_size: 30, ..Setup::default() };
            let outcomes = Bench::start(&sim, setup).fetch(&windows(1, 14));
            assert_eq!(outcomes[&0].ids(), truth, "{name} at request {nth}");
        }
    }
}

#[test]
fn a_loss_that_stays_fails_the_window_by_its_name() {
    for (name, code, requests) in [
        ("reset", "connection_reset", 4),
        ("reset-in-body:300", "connection_reset", 4),
        ("truncate:300", "connection_reset", 4),
        ("empty", "empty_body", 4),
        ("html", "not_json", 4),
        ("bad-json", "bad_json", 2),
        ("bad-gzip", "bad_encoding", 4),
        ("503", "http_503", 4),
        ("redirect:https://example.com/", "unexpected_redirect", 1),
        ("403", "forbidden", 1),
        // 100 records, 50, 25, 12, 6, 3, 1.
        ("gzip-bomb:20000000", "body_too_large", 7),
    ] {
        let sim = simulator(|_| {});
        sim.fault(When::Always, Fault::named(name).unwrap());
        let outcomes = Bench::start(&sim, Setup::default()).fetch(&windows(1, 14));
        let failure = outcomes[&0].failure();
        assert_eq!((failure.code.as_str(), sim.request_count()), (code, requests), "{name}: {failure:?}");
        assert_eq!(u64::from(failure.counters.requests), sim.request_count(), "{name}");
    }
}

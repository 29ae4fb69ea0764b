//! Answers that do not come whole: each kind told apart, and a half body never taken for a page.

use crate::bench::{Bench, SOON, Setup, ask, lasted, settings, simulator, windows};
use crate::script::Script;
use qbo_raw::domain::entity::Entity;
use qbo_raw::domain::fetch::LostKind;
use qbo_raw::domain::page;
use qbo_raw::http::agent::Settings;
use qbo_sim::{Fault, When};
use std::io::Write;
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
fn an_encoding_that_nobody_asked_for_is_no_page() {
    let invoices = Entity::find("invoices").unwrap();
    for encoding in ["br", "deflate", "zstd", "compress", "gzip, gzip", "gzip, br", "x", "identity, x"] {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {}\r\n\r\n",
            GZIP.len()
        );
        match ask(&Script::closing([head.as_bytes(), GZIP].concat()).url, &settings()) {
            Ok(reply) => assert!(page::read(invoices, reply.body).is_err(), "{encoding}"),
            Err(lost) => assert_eq!(lost.kind, LostKind::Encoding, "{encoding}: {}", lost.message),
        }
    }
    // What is not encoded may say so.
    let plain =
        "HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Length: 20\r\n\r\n{\"QueryResponse\":{}}";
    assert!(page::read(invoices, ask(&Script::closing(plain).url, &settings()).unwrap().body).is_ok());
}

#[test]
fn a_change_of_protocol_is_no_answer() {
    let short = Settings { request_timeout: Duration::from_millis(300), ..settings() };
    for answer in [
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 199 Whatever\r\n\r\n",
    ] {
        let start = Instant::now();
        match ask(&Script::holding(answer).url, &short) {
            Ok(reply) => assert!(reply.status != 200, "{answer}"),
            Err(lost) => assert!(lost.kind != LostKind::TooLarge, "{answer}: {}", lost.message),
        }
        assert!(start.elapsed() < SOON, "{answer}");
    }
}

#[test]
fn headers_that_are_no_text_are_left_out() {
    let answer = b"HTTP/1.1 503 Busy\r\nRetry-After: \xff\r\nintuit_tid: \xe9\r\nDate: \x80\r\nContent-Length: 0\r\n\r\n";
    let reply = ask(&Script::closing(&answer[..]).url, &settings()).unwrap();
    assert_eq!((reply.status, reply.retry_after, reply.intuit_tid, reply.date), (503, None, None, None));
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
fn what_is_odd_and_right_is_an_answer() {
    for name in ["http-1.0", "early-hints"] {
        let sim = simulator(|_| {});
        sim.fault(When::Always, Fault::named(name).unwrap());
        let reply = ask(sim.url(), &settings()).unwrap();
        assert_eq!((reply.status, reply.body.as_slice()), (200, &b"{\"QueryResponse\":{}}"[..]), "{name}");
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
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    }
}

/// Answers that never end: what comes first, and what comes again and again, a little at a time.
pub const TRICKLES: &[(&str, &[u8])] = &[
    ("", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    ("HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
    ("HTTP/1.1 200 OK\r\nX-A: ", b"b"),
    ("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b" "),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X-A: b\r\n"),
    // An empty block of deflate: bytes come, and nothing comes of them.
    (GZIP_HEAD, b"\x00\x00\x00\xff\xff"),
    ("HTTP/1.1 200 OK\r\n\r\n", b" "),
];

const GZIP_HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n";

/// A server that trickles like that.
pub fn trickling(first: &'static str, drop: &'static [u8]) -> Script {
    Script::talking(move |_, socket| {
        let head: &[u8] = if first == GZIP_HEAD { &GZIP[..10] } else { b"" };
        let mut alive = socket.write_all(&[first.as_bytes(), head].concat()).is_ok();
        while alive {
            alive = socket.write_all(drop).is_ok();
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    })
}

#[test]
fn an_answer_that_trickles_does_not_extend_the_time() {
    let short = Settings { request_timeout: Duration::from_millis(400), ..settings() };
    for (first, drop) in TRICKLES {
        let server = trickling(first, drop);
        let start = Instant::now();
        let lost = ask(&server.url, &short).expect_err(first);
        let took = start.elapsed();
        assert!(took < SOON, "{first:?} {drop:?}: {took:?}");
        // What no HTTP can be is said before the time is up.
        let time = lost.kind == LostKind::Timeout && lasted(took, short.request_timeout);
        assert!(time || lost.kind == LostKind::Protocol, "{first:?} {drop:?}: {lost:?}");
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
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
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
    "reset-end",
    "truncate:300",
    "length:100",
    "length:-100",
    "two-lengths",
    "length-and-chunks",
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
    "until-close",
    "many-headers",
    "huge-header",
    "bad-header",
    "204",
    "206",
    "999",
    "bom",
    "trailing-garbage",
    "two-documents",
    "invalid-utf8",
    "utf-16",
    "429",
    "200-throttle",
    "401",
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
        ("redirect-308:https://example.com/", "unexpected_redirect", 1),
        ("304", "unexpected_redirect", 1),
        ("403", "forbidden", 1),
        ("204", "not_json", 4),
        ("206", "not_json", 4),
        ("999", "http_999", 4),
        ("length:-100", "bad_encoding", 4),
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

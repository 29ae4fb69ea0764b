//! Stopping: at once for who stops and for the threads, whatever they wait for.

use crate::bench::{Bench, Setup, settings, simulator, until, windows};
use crate::loss::{TRICKLES, trickling};
use crate::script::{Deaf, Script};
use qbo_raw::domain::retry::Backoff;
use qbo_raw::domain::secret::Secret;
use qbo_raw::domain::token::Token;
use qbo_raw::http::agent::Settings;
use qbo_raw::http::pool::Message;
use qbo_sim::{Fault, When};
use std::net::TcpListener;
use std::time::{Duration, Instant};

/// At once, on a busy machine too. Whatever else the threads would wait for lasts 20 seconds and more.
const AT_ONCE: Duration = Duration::from_secs(6);

fn give(bench: &Bench) {
    let access = Secret::new("a-token");
    bench.pool.give_token(Token { generation: 1, access, valid_for: Duration::from_secs(3_600) });
}

/// Stops the pool: who stops does not wait, nobody is woken any more, and the threads end in time.
fn stop(what: &str, bench: Bench, within: Duration) {
    let Bench { pool, threads, woken, .. } = bench;
    while woken.try_recv().is_ok() {}
    assert!(threads.strong_count() > 0, "{what}: there is no thread");
    let start = Instant::now();
    drop(pool);
    assert!(start.elapsed() < AT_ONCE, "{what}: stopping took {:?}", start.elapsed());
    let took = until(what, || threads.strong_count() == 0);
    assert!(took < within, "{what}: the threads took {took:?}");
    assert!(woken.try_recv().is_err(), "{what}: somebody was woken by a stopped pool");
}

fn patient() -> Setup {
    let settings = Settings {
        request_timeout: Duration::from_secs(60),
        connect_timeout: Duration::from_secs(20),
        ..settings()
    };
    Setup { settings, backoff: Backoff { retries: 5, base: Duration::from_secs(30) }, ..Setup::default() }
}

#[test]
fn threads_without_work_go() {
    let sim = simulator(|_| {});
    let bench = Bench::start(&sim, patient());
    std::thread::sleep(Duration::from_millis(50));
    stop("idle", bench, AT_ONCE);
}

#[test]
fn threads_that_wait_for_a_token_go() {
    let sim = simulator(|_| {});
    let bench = Bench::start(&sim, patient());
    bench.submit(&windows(4, 7));
    assert!(matches!(bench.next(crate::bench::LONG), Some(Message::TokenWanted { .. })));
    std::thread::sleep(Duration::from_millis(50));
    stop("token", bench, AT_ONCE);
    assert_eq!(sim.request_count(), 0);
}

#[test]
fn threads_at_the_gate_go() {
    let sim = simulator(|_| {});
    let mut recent = [0; 60];
    recent[0] = 10;
    let bench = Bench::start(&sim, Setup { pace: (10, 10), recent, ..patient() });
    give(&bench);
    bench.submit(&windows(4, 7));
    std::thread::sleep(Duration::from_millis(100));
    stop("gate", bench, AT_ONCE);
    assert_eq!(sim.request_count(), 0);
}

#[test]
fn threads_that_wait_before_a_repetition_go() {
    let sim = simulator(|_| {});
    sim.fault(When::Always, Fault::named("503").unwrap());
    let bench = Bench::start(&sim, patient());
    give(&bench);
    bench.submit(&windows(4, 7));
    until("all have failed once", || sim.requests().len() == 4);
    std::thread::sleep(Duration::from_millis(50));
    stop("back-off", bench, AT_ONCE);
    assert_eq!(sim.request_count(), 4);
}

#[test]
fn a_request_that_stalls_is_cut_off() {
    for answer in [
        "",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"QueryResponse\":{",
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n\x1f\r\n",
        // Without a length the end of the connection is the end of the body: even then nothing is reported.
        "HTTP/1.1 200 OK\r\n\r\n{\"QueryResponse\":{}}",
    ] {
        let server = Script::holding(answer);
        let bench = Bench::at(&server.url, None, patient());
        give(&bench);
        bench.submit(&windows(4, 7));
        until("all have asked", || server.requests().len() == 4);
        std::thread::sleep(Duration::from_millis(50));
        stop(answer, bench, AT_ONCE);
    }
}

#[test]
fn an_answer_that_trickles_is_cut_off() {
    for (first, drop) in TRICKLES {
        let server = trickling(first, drop);
        let bench = Bench::at(&server.url, None, patient());
        give(&bench);
        bench.submit(&windows(4, 7));
        until("all have asked", || server.requests().len() == 4);
        std::thread::sleep(Duration::from_millis(50));
        stop(&format!("{first:?} {drop:?}"), bench, AT_ONCE);
    }
}

#[test]
fn a_handshake_that_stalls_is_cut_off() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let bench = Bench::at(&format!("https://{}", silent.local_addr().unwrap()), None, patient());
    give(&bench);
    bench.submit(&windows(4, 7));
    std::thread::sleep(Duration::from_millis(200));
    stop("handshake", bench, AT_ONCE);
}

#[test]
fn a_connection_that_is_not_taken_holds_nobody_up() {
    let deaf = Deaf::at("127.0.0.1:0");
    let settings = Settings { connect_timeout: Duration::from_secs(8), ..settings() };
    let bench = Bench::at(&format!("http://{}", deaf.address), None, Setup { settings, ..patient() });
    give(&bench);
    bench.submit(&windows(4, 7));
    std::thread::sleep(Duration::from_millis(300));
    // Nothing interrupts connect(): the threads are left behind and end by themselves with the time to connect.
    stop("connect", bench, Duration::from_secs(14));
}

#[test]
fn a_pool_that_was_stopped_says_nothing_to_the_next_one() {
    let sim = simulator(|_| {});
    for _ in 0..20 {
        sim.clear_faults();
        sim.fault_times(When::Always, Fault::Stall(Duration::from_millis(30)), 4);
        let old = Bench::start(&sim, Setup::default());
        let mut new = Bench::start(&sim, Setup { lanes: 1, ..Setup::default() });
        let token = new.renew();
        old.pool.give_token(token);
        old.submit(&windows(4, 7));
        std::thread::sleep(Duration::from_millis(fastrand::u64(0..60)));
        drop(old.pool);
        let outcomes = new.fetch(&windows(1, 7));
        assert_eq!(outcomes.keys().copied().collect::<Vec<_>>(), [0]);
        assert!(!outcomes[&0].ids().is_empty());
        until("the old threads", || old.threads.strong_count() == 0);
    }
}

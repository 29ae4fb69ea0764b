//! TLS: nothing leaves before the other side is known.

use crate::bench::{Bench, LONG, SOON, Setup, ask, settings, simulator, windows};
use qbo_raw::domain::fetch::LostKind;
use qbo_raw::http::agent::Settings;
use qbo_sim::{Certificate, Sim};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

fn trusting(sim: &Sim) -> Settings {
    Settings { ca_file: sim.ca_file().map(|path| path.display().to_string()), ..settings() }
}

#[test]
fn windows_come_over_tls_when_the_authority_is_named() {
    for certificate in [Certificate::Good, Certificate::Intermediate] {
        let sim = simulator(|options| (options.tls, options.certificate) = (true, certificate));
        assert!(sim.url().starts_with("https://"));
        let mut bench = Bench::start(&sim, Setup { settings: trusting(&sim), ..Setup::default() });
        let outcomes = bench.fetch(&windows(3, 7));
        let came = outcomes.values().map(|outcome| outcome.ids().len()).sum::<usize>();
        assert!(came > 50, "{certificate:?}: {came}");
    }
}

#[test]
fn an_unknown_authority_gets_nothing_and_is_asked_three_times_at_most() {
    let sim = simulator(|options| options.tls = true);
    let mut bench = Bench::start(&sim, Setup { lanes: 1, ..Setup::default() });
    let token = qbo_raw::domain::token::Token {
        generation: 1,
        access: qbo_raw::domain::secret::Secret::new("a-token"),
        valid_for: Duration::from_secs(3_600),
    };
    bench.pool.give_token(token);
    let outcomes = bench.fetch(&windows(1, 7));
    let failure = outcomes[&0].failure();
    assert_eq!(failure.code, "tls_error");
    assert!(failure.hint.as_deref().unwrap_or_default().contains("qbo_raw.ca_file"));
    assert_eq!(failure.counters.requests, 3);
    assert_eq!((sim.request_count(), sim.token_requests()), (0, 0), "something was sent");
}

#[test]
fn nothing_is_sent_to_a_server_that_cannot_be_trusted() {
    for certificate in Certificate::BAD {
        let sim = simulator(|options| (options.tls, options.certificate) = (true, certificate));
        let lost = ask(sim.url(), &trusting(&sim)).expect_err("an answer came");
        // That a certificate of ours is wanted is said after the handshake, in TLS 1.3: a broken connection by then.
        let broken = certificate == Certificate::ClientWanted && lost.kind == LostKind::Reset;
        assert!(lost.kind == LostKind::Tls || broken, "{certificate:?}: {lost:?}");
        assert_eq!(sim.request_count(), 0, "{certificate:?}");
    }
}

#[test]
fn plain_text_on_the_port_of_tls_is_an_error_of_tls() {
    let sim = simulator(|_| {});
    let url = sim.url().replace("http://", "https://");
    let server = crate::script::Script::closing("HTTP/1.1 400 Bad Request\r\n\r\n");
    for url in [url, server.url.replace("http://", "https://")] {
        let lost = ask(&url, &settings()).unwrap_err();
        assert!(matches!(lost.kind, LostKind::Tls | LostKind::Connect | LostKind::Reset), "{lost:?}");
    }
    assert_eq!(sim.request_count(), 0);
}

#[test]
fn older_versions_of_tls_are_not_spoken() {
    for version in [[3, 0], [3, 1], [3, 2]] {
        // A hello of the server (RFC 5246, section 7.4.1.3) that is good but for the version; and an alert that says the same.
        let mut hello = [2, 0, 0, 38].to_vec();
        hello.extend(version);
        hello.extend([7; 32]);
        hello.extend([0, 0xc0, 0x2f, 0]);
        for (kind, content) in [(22, hello), (21, vec![2, 70])] {
            let record = [&[kind, version[0], version[1], 0, content.len() as u8], &content[..]].concat();
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("https://{}", listener.local_addr().unwrap());
            let server = std::thread::spawn(move || {
                let (mut socket, _) = listener.accept().unwrap();
                let mut said = vec![0; 5];
                socket.read_exact(&mut said).unwrap();
                said.resize(5 + usize::from(said[3]) * 256 + usize::from(said[4]), 0);
                socket.read_exact(&mut said[5..]).unwrap();
                socket.write_all(&record).unwrap();
                socket.read_to_end(&mut said).unwrap();
                said
            });
            let lost = ask(&url, &settings()).expect_err("an answer came");
            assert_eq!(lost.kind, LostKind::Tls, "{version:?}: {}", lost.message);
            let said = server.join().unwrap();
            let token = said.windows(7).any(|bytes| bytes == b"a-token");
            assert!(said[0] == 22 && !token, "a hello, and nothing secret: {said:?}");
        }
    }
}

#[test]
fn a_handshake_that_stalls_ends_with_the_time_to_connect() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", silent.local_addr().unwrap());
    let start = Instant::now();
    let settings =
        Settings { connect_timeout: Duration::from_millis(200), request_timeout: LONG, ..settings() };
    let lost = ask(&url, &settings).unwrap_err();
    assert_eq!(lost.kind, LostKind::Connect, "{}", lost.message);
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

//! The way to QuickBooks: names that are not resolved, addresses where nobody answers, a network that goes away. Names need
//! a resolver of the test's own: such a test runs itself again in a network that nobody else is in.

use crate::bench::{Bench, LONG, SOON, Setup, agent_for, ask, lasted, settings, simulator, until, windows};
use crate::script::{Deaf, Script, until_closed};
use qbo_raw::domain::fetch::{Lost, LostKind};
use qbo_raw::domain::secret::Secret;
use qbo_raw::domain::token::{Token, TokenAnswer};
use qbo_raw::http::agent::Settings;
use qbo_raw::http::oauth;
use qbo_sim::Sim;
use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(400);

/// Time to connect for who shall succeed.
const PATIENT: Duration = Duration::from_secs(10);

/// Times that tell a limit of connecting from all others.
fn short() -> Settings {
    Settings { connect_timeout: SHORT, request_timeout: LONG, ..settings() }
}

/// The loss, and how long it took.
fn lose(url: &str) -> (Lost, Duration) {
    let start = Instant::now();
    let lost = ask(url, &short()).expect_err("an answer came");
    (lost, start.elapsed())
}

#[test]
fn an_address_that_drops_everything_takes_the_time_to_connect() {
    let deaf = Deaf::at("127.0.0.1:0");
    let url = format!("http://{}", deaf.address);
    let (lost, took) = lose(&url);
    assert_eq!(lost.kind, LostKind::Connect, "{}", lost.message);
    assert!(lasted(took, SHORT) && took < SOON, "{took:?}");

    let start = Instant::now();
    let (agent, hosts) = agent_for(&url, &short());
    let answer = oauth::refresh(&agent, &hosts.oauth, "c", &Secret::new("s"), &Secret::new("r"));
    assert!(matches!(answer, TokenAnswer::Unknown { .. }), "{answer:?}");
    // The whole call has ten seconds.
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());

    // A window: every try takes that long, and there are four.
    let start = Instant::now();
    let bench = Bench::at(&url, None, Setup { settings: short(), renews: false, ..Setup::default() });
    bench.pool.give_token(Token { generation: 1, access: Secret::new("t"), valid_for: LONG });
    let mut bench = bench;
    let outcomes = bench.fetch(&windows(1, 7));
    let failure = outcomes[&0].failure();
    assert_eq!((failure.code.as_str(), failure.counters.requests), ("connection_failed", 4));
    assert!(failure.message.contains("cannot be reached") && failure.hint.is_some(), "{failure:?}");
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

/// Set where the test has its network.
const INSIDE: &str = "QBO_RAW_OWN_NETWORK";

/// Runs a test in a network of its own, with a name server on 127.0.0.1 that the test provides. Where the system allows no such
/// network the test says so and nothing else.
fn alone(name: &str, test: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return test();
    }
    let private = |arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--net", "--mount", "--"]).args(arguments);
        command
    };
    if !private(&["ip", "link", "set", "lo", "up"]).status().is_ok_and(|status| status.success()) {
        eprintln!("{name}: not tried, there are no private networks here");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    // The resolver itself gives up long after all times to connect.
    std::fs::write(dir.path().join("resolv.conf"), "nameserver 127.0.0.1\noptions timeout:10 attempts:2\n")
        .unwrap();
    std::fs::write(dir.path().join("nsswitch.conf"), "hosts: dns\n").unwrap();
    let script = "ip link set lo up
        for file in resolv.conf nsswitch.conf; do
            [ ! -e /etc/$file ] || mount --bind \"$0/$file\" \"$(readlink -f /etc/$file)\"
        done
        exec \"$@\"";
    let program = std::env::current_exe().unwrap();
    let ended = private(&["sh", "-ec", script])
        .arg(dir.path())
        .arg(program)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = [ended.stdout, ended.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(ended.status.success() && said.contains("1 passed"), "{said}");
}

/// What a name server says of every name.
#[derive(Clone, Copy)]
enum Zone {
    /// This response code, and no address.
    Code(u8),
    Addresses(Option<Ipv4Addr>, Option<Ipv6Addr>),
    Silent,
    Garbage,
}

const TYPE_A: u8 = 1;
const TYPE_AAAA: u8 = 28;

/// Starts the name server; it lives as long as the process.
fn name_server(zone: Zone) {
    let socket = UdpSocket::bind("127.0.0.1:53").unwrap();
    std::thread::spawn(move || {
        let mut packet = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut packet) {
            if let Some(answer) = zone.answer(&packet[..length]) {
                let _ = socket.send_to(&answer, from);
            }
        }
    });
}

impl Zone {
    /// RFC 1035, section 4.
    fn answer(self, query: &[u8]) -> Option<Vec<u8>> {
        let end = 12 + query[12..].iter().position(|byte| *byte == 0)? + 5;
        let question = &query[12..end];
        let kind = question[question.len() - 3];
        let (code, address): (u8, Option<Vec<u8>>) = match self {
            Zone::Silent => return None,
            Zone::Garbage => return Some([&query[..2], &[0xff; 60]].concat()),
            Zone::Code(code) => (code, None),
            Zone::Addresses(v4, _) if kind == TYPE_A => (0, v4.map(|v4| v4.octets().to_vec())),
            Zone::Addresses(_, v6) if kind == TYPE_AAAA => (0, v6.map(|v6| v6.octets().to_vec())),
            Zone::Addresses(..) => (0, None),
        };
        let mut answer = query[..2].to_vec();
        answer.extend([0x81, 0x80 | code, 0, 1, 0, u8::from(address.is_some()), 0, 0, 0, 0]);
        answer.extend(question);
        if let Some(address) = address {
            answer.extend([0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 60, 0, address.len() as u8]);
            answer.extend(address);
        }
        Some(answer)
    }
}

fn a_name_is_lost(zone: Zone, at_least: Duration) {
    name_server(zone);
    let (lost, took) = lose("https://quickbooks.example");
    assert_eq!(lost.kind, LostKind::Dns, "{}", lost.message);
    assert!(lost.message.contains("cannot be resolved"), "{}", lost.message);
    assert!(lasted(took, at_least) && took < SOON, "{took:?}");
}

#[test]
fn a_name_that_does_not_exist() {
    alone("connect::a_name_that_does_not_exist", || a_name_is_lost(Zone::Code(3), Duration::ZERO));
}

#[test]
fn a_name_without_an_address() {
    alone("connect::a_name_without_an_address", || {
        a_name_is_lost(Zone::Addresses(None, None), Duration::ZERO)
    });
}

#[test]
fn a_name_server_that_fails() {
    alone("connect::a_name_server_that_fails", || a_name_is_lost(Zone::Code(2), Duration::ZERO));
}

#[test]
fn a_name_server_that_says_nothing_takes_the_time_to_connect() {
    let name = "connect::a_name_server_that_says_nothing_takes_the_time_to_connect";
    alone(name, || a_name_is_lost(Zone::Silent, SHORT));
}

#[test]
fn a_name_server_that_babbles_takes_the_time_to_connect_at_most() {
    let name = "connect::a_name_server_that_babbles_takes_the_time_to_connect_at_most";
    alone(name, || {
        name_server(Zone::Garbage);
        let (lost, took) = lose("https://quickbooks.example");
        assert_eq!(lost.kind, LostKind::Dns, "{}", lost.message);
        assert!(took < SOON, "{took:?}");
    });
}

#[test]
fn a_name_server_that_says_nothing_does_not_hold_up_a_stop() {
    alone("connect::a_name_server_that_says_nothing_does_not_hold_up_a_stop", || {
        name_server(Zone::Silent);
        let settings = Settings { connect_timeout: Duration::from_secs(6), ..short() };
        let bench = Bench::at("https://quickbooks.example", None, Setup { settings, ..Setup::default() });
        bench.pool.give_token(Token { generation: 1, access: Secret::new("t"), valid_for: LONG });
        bench.submit(&windows(4, 7));
        until("all are under way", || bench.pool.sent() == 4);
        let Bench { pool, threads, .. } = bench;
        let start = Instant::now();
        drop(pool);
        // The threads themselves take as long as a connection may.
        assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
        let took = until("the threads end", || threads.strong_count() == 0);
        assert!(took < Duration::from_secs(11), "once, not twice: {took:?}");
    });
}

/// A simulator under a name that its certificate has.
fn under_a_name() -> (Sim, String, Settings) {
    let sim = simulator(|options| options.tls = true);
    let url = sim.url().replace("127.0.0.1", "simulator");
    let ca_file = sim.ca_file().map(|path| path.display().to_string());
    (sim, url, Settings { ca_file, connect_timeout: PATIENT, ..short() })
}

#[test]
fn a_name_with_the_wrong_address() {
    alone("connect::a_name_with_the_wrong_address", || {
        name_server(Zone::Addresses(Some(Ipv4Addr::new(127, 9, 9, 9)), None));
        let (sim, url, settings) = under_a_name();
        let lost = ask(&url, &settings).unwrap_err();
        assert_eq!(lost.kind, LostKind::Connect, "{}", lost.message);
        assert_eq!(sim.request_count(), 0);
    });
}

const BOTH: Zone = Zone::Addresses(Some(Ipv4Addr::LOCALHOST), Some(Ipv6Addr::LOCALHOST));

#[test]
fn an_ipv6_address_that_refuses_is_passed_over() {
    alone("connect::an_ipv6_address_that_refuses_is_passed_over", || {
        name_server(BOTH);
        let (sim, url, settings) = under_a_name();
        let reply = ask(&url, &settings).unwrap();
        assert_eq!((reply.status, sim.request_count()), (401, 1), "the token is any token");
    });
}

#[test]
fn an_ipv6_address_that_is_dead_is_passed_over_in_time() {
    alone("connect::an_ipv6_address_that_is_dead_is_passed_over_in_time", || {
        name_server(BOTH);
        let (sim, url, settings) = under_a_name();
        let port = url.rsplit(':').next().unwrap();
        let _deaf = Deaf::at(&format!("[::1]:{port}"));
        let start = Instant::now();
        let reply = ask(&url, &settings).unwrap();
        assert_eq!((reply.status, sim.request_count()), (401, 1));
        let took = start.elapsed();
        // The first of two addresses gets two thirds of the time.
        assert!(took > PATIENT / 2 && took < 2 * PATIENT, "{took:?}");
    });
}

/// Nothing passes any more, in either direction, and nobody is told.
fn cut_the_network() {
    let cut = Command::new("ip").args(["link", "set", "lo", "down"]).status().unwrap();
    assert!(cut.success());
}

#[test]
fn a_network_that_goes_away_ends_with_the_time_of_the_request() {
    alone("connect::a_network_that_goes_away_ends_with_the_time_of_the_request", || {
        let (asked, heard) = channel();
        let server = Script::talking(move |_, socket| {
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n{\"QueryResponse\"");
            let _ = asked.send(());
            until_closed(socket);
            false
        });
        let url = server.url.clone();
        let settings = Settings { request_timeout: Duration::from_secs(5), ..settings() };
        let start = Instant::now();
        let asking = std::thread::spawn(move || ask(&url, &settings));
        heard.recv_timeout(LONG).unwrap();
        cut_the_network();
        let lost = asking.join().unwrap().unwrap_err();
        assert_eq!(lost.kind, LostKind::Timeout, "{}", lost.message);
        assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
        // And then there is no way to anybody.
        let (lost, took) = lose(&server.url);
        assert_eq!(lost.kind, LostKind::Connect, "{}", lost.message);
        assert!(took < SOON, "{took:?}");
    });
}

#[test]
fn nobody_listens_on_either_address_of_this_machine() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let lost = ask(&format!("http://localhost:{port}"), &settings()).expect_err("an answer came");
    assert_eq!(lost.kind, LostKind::Connect, "{}", lost.message);
    assert!(lost.message.contains("refused"), "{}", lost.message);
}

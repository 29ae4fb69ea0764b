//! Connections that are used again: what is left of one answer is never taken for the next, and a connection that died
//! meanwhile costs a request at most.

use crate::bench::{Bench, LONG, REALM, Setup, agent_for, settings, windows};
use crate::script::{Script, Turn, until_closed};
use qbo_raw::domain::fetch::{Lost, LostKind, Reply};
use qbo_raw::domain::secret::Secret;
use qbo_raw::domain::token::Token;
use qbo_raw::http::agent::{Hosts, Settings};
use qbo_raw::http::api;
use socket2::SockRef;
use std::io::Write;
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;
use ureq::Agent;

/// One agent, as a thread has it.
struct Asker(Agent, Hosts, Settings);

impl Asker {
    fn new(server: &Script, settings: Settings) -> Asker {
        let (agent, hosts) = agent_for(&server.url, &settings);
        Asker(agent, hosts, settings)
    }

    fn ask(&self) -> Result<Reply, Lost> {
        let Asker(agent, hosts, settings) = self;
        api::query(agent, &hosts.api, REALM, &Secret::new("a-token"), "SELECT", settings.max_body_size)
    }
}

fn good(turn: &Turn) -> String {
    let body = format!("{} of {}", turn.request, turn.connection);
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn say(socket: &mut TcpStream, answer: impl AsRef<[u8]>) -> bool {
    socket.write_all(answer.as_ref()).is_ok()
}

fn body(answer: Result<Reply, Lost>) -> String {
    String::from_utf8(answer.expect("an answer").body).unwrap()
}

#[test]
fn a_good_connection_is_used_again() {
    let server = Script::talking(|turn, socket| say(socket, good(&turn)));
    let asker = Asker::new(&server, settings());
    for request in 1..=5 {
        assert_eq!(body(asker.ask()), format!("{request} of 1"));
    }
    assert_eq!(server.connections(), 1);
}

const SMUGGLED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled";

#[test]
fn what_is_left_behind_an_answer_is_not_the_next_one() {
    for first in [
        // The length is too small.
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfirst",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 4000\r\n\r\nfirst",
        "HTTP/1.1 200 OK\r\nContent-Length: 4000\r\nContent-Length: 5\r\n\r\nfirst",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nfirst",
        "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nfirst",
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551617\r\n\r\nfirst",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nfirst",
        // Answers that have no body, and one all the same.
        "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nfirst",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nfirst",
        "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nfirst",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nfirst",
        "HTTP/1.1 307 Elsewhere\r\nLocation: /\r\nContent-Length: 5\r\n\r\nfirst",
        "HTTP/1.1 500 Oops\r\nContent-Length: 5\r\n\r\nfirst",
    ] {
        // What is left comes with the answer, or later.
        for later in [false, true] {
            let (went_on, go_on) = channel();
            let (left_behind, left) = channel();
            let go_on = Mutex::new(go_on);
            let server = Script::talking(move |turn, socket| match turn.connection {
                1 if turn.request == 1 && !later => say(socket, format!("{first}{SMUGGLED}")),
                1 if turn.request == 1 => {
                    say(socket, first);
                    let _ = go_on.lock().unwrap().recv_timeout(LONG);
                    let alive = say(socket, SMUGGLED);
                    let _ = left_behind.send(());
                    alive
                }
                _ => say(socket, good(&turn)),
            });
            let asker = Asker::new(&server, settings());
            let answer = asker.ask();
            if let Ok(reply) = &answer {
                let body = String::from_utf8_lossy(&reply.body);
                assert!("first".starts_with(&*body), "{first:?}, later: {later}: {body}");
            }
            if later {
                went_on.send(()).unwrap();
                left.recv_timeout(LONG).unwrap();
            }
            for request in 1..=2 {
                assert_eq!(body(asker.ask()), format!("{request} of 2"), "{first:?}, later: {later}");
            }
        }
    }
}

#[test]
fn the_rest_of_an_answer_that_was_given_up_is_not_the_next_one() {
    // The good request has that time too.
    let small = Settings { request_timeout: Duration::from_secs(5), max_body_size: 1_000, ..settings() };
    // Too slow; too large.
    for (begin, rest, kind) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst", "first".to_owned(), LostKind::Timeout),
        ("HTTP/1.1 200 OK\r\nContent-Le", "ngth: 5\r\n\r\nfirst".to_owned(), LostKind::Timeout),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n", "x".repeat(2_000), LostKind::TooLarge),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            format!("7d0\r\n{}\r\n0\r\n\r\n", "x".repeat(2_000)),
            LostKind::TooLarge,
        ),
    ] {
        let (ended, end) = channel();
        let end = Mutex::new(end);
        let slow = kind == LostKind::Timeout;
        let server = Script::talking(move |turn, socket| {
            if turn.connection > 1 {
                return say(socket, good(&turn));
            }
            say(socket, begin);
            if slow {
                let _ = end.lock().unwrap().recv_timeout(LONG);
            }
            say(socket, format!("{rest}{SMUGGLED}"))
        });
        let asker = Asker::new(&server, small.clone());
        let lost = asker.ask().unwrap_err();
        assert_eq!(lost.kind, kind, "{begin:?}: {}", lost.message);
        let _ = ended.send(());
        assert_eq!(body(asker.ask()), "1 of 2", "{begin:?}");
    }
}

#[test]
fn a_connection_closed_between_two_requests_is_not_noticed() {
    for reset in [false, true] {
        let server = Script::talking(move |turn, socket| {
            say(socket, good(&turn));
            if turn.connection == 1 && reset {
                SockRef::from(&*socket).set_linger(Some(Duration::ZERO)).unwrap();
            }
            turn.connection > 1
        });
        let asker = Asker::new(&server, settings());
        // With a reset what was sent may be lost on its way.
        let first = asker.ask();
        assert!(reset || first.is_ok(), "{first:?}");
        crate::bench::until("the connection is closed", || server.closed() == 1);
        let answer = asker.ask().expect("the closed connection was used");
        assert!(answer.body.ends_with(b" of 2"), "{answer:?}");
    }
}

/// A pool of one thread against a server, with a token for it.
fn bench(server: &Script, settings: Settings) -> Bench {
    let bench = Bench::at(&server.url, None, Setup { lanes: 1, settings, renews: false, ..Setup::default() });
    let access = Secret::new("a-token");
    bench.pool.give_token(Token { generation: 1, access, valid_for: Duration::from_secs(3_600) });
    bench
}

fn empty_page(socket: &mut TcpStream) -> bool {
    say(socket, "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{\"QueryResponse\":{}}")
}

#[test]
fn a_connection_that_died_costs_one_request() {
    // The other side is gone without a word, closes when it is asked, or resets.
    type Death = fn(&mut TcpStream);
    let deaths: [(&str, Death); 3] = [
        ("silent", until_closed),
        ("closed", |_| {}),
        ("reset", |socket| SockRef::from(&*socket).set_linger(Some(Duration::ZERO)).unwrap()),
    ];
    for (how, die) in deaths {
        let server = Script::talking(move |turn, socket| {
            if turn.connection == 1 && turn.request > 1 {
                die(socket);
                return false;
            }
            empty_page(socket)
        });
        // The good requests have that time too.
        let settings = Settings { request_timeout: Duration::from_secs(5), ..settings() };
        let outcomes = bench(&server, settings).fetch(&windows(3, 7));
        let mut costs: Vec<_> = outcomes
            .values()
            .map(|outcome| match outcome {
                crate::bench::Outcome::Fetched { counters, .. } => (counters.requests, counters.retries),
                crate::bench::Outcome::Failed(failure) => panic!("{how}: {failure:?}"),
            })
            .collect();
        // Which of the later two meets the dead one is up to who of the threads is first.
        costs.sort_unstable();
        assert_eq!(costs, [(1, 0), (1, 0), (2, 1)], "{how}");
        assert_eq!(server.connections(), 2, "{how}");
    }
}

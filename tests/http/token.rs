//! The dance for a token: many threads want one, the owner is asked once.

use crate::bench::{Bench, Outcome, Setup, simulator, windows};
use qbo_raw::domain::fault::{Failure, Scope};
use qbo_raw::domain::pace::Pacer;
use qbo_raw::domain::secret::Secret;
use qbo_raw::domain::token::Token;
use qbo_raw::http::pool::Message;
use qbo_raw::http::shared::{Nothing, Shared};
use qbo_sim::{Fault, When};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

fn token(generation: u64, valid_for: u64) -> Token {
    Token {
        generation,
        access: Secret::new(format!("token {generation}")),
        valid_for: Duration::from_secs(valid_for),
    }
}

fn shared() -> Arc<Shared> {
    Arc::new(Shared::new(Pacer::new(1_000_000, 1_000_000), &[0; 60], u64::MAX, 10))
}

#[test]
fn no_more_is_sent_than_the_month_has_left() {
    let shared = Shared::new(Pacer::new(1_000_000, 1_000_000), &[0; 60], 2, 10);
    shared.give_token(token(1, 3_600));
    let leave = || shared.leave(|_| panic!("there is a token"));
    assert!(leave().is_ok() && leave().is_ok());
    match leave().map(|leave| leave.generation) {
        Err(Nothing::Refused(failure)) => {
            assert_eq!((failure.code.as_str(), failure.scope), ("budget_spent", Scope::Budget));
            assert!(failure.hint.is_some_and(|hint| hint.contains("monthly_budget")));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(shared.sent(), 2);
}

#[test]
fn the_owner_is_asked_once_for_each_generation() {
    let sim = simulator(|_| {});
    let mut bench = Bench::start(&sim, Setup { lanes: 8, ..Setup::default() });
    for round in 1..=5 {
        let outcomes = bench.fetch(&windows(16, 5));
        assert!(outcomes.values().all(|outcome| matches!(outcome, Outcome::Fetched { .. })));
        assert_eq!(sim.token_requests(), round);
        sim.expire_access_tokens();
    }
    assert_eq!(bench.wanted, [None, Some(1), Some(2), Some(3), Some(4)]);
}

#[test]
fn a_thousand_rounds_of_ten_threads_ask_a_thousand_times() {
    let shared = shared();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let barrier = Arc::new(Barrier::new(10));
    let threads: Vec<_> = (0..10)
        .map(|_| {
            let (shared, asked, barrier) = (shared.clone(), asked.clone(), barrier.clone());
            std::thread::spawn(move || {
                for round in 1..=1_000 {
                    barrier.wait();
                    let leave = shared
                        .leave(|generation| {
                            asked.lock().unwrap().push(generation);
                            shared.give_token(token(round, 3_600));
                        })
                        .unwrap();
                    assert_eq!(
                        (leave.generation, leave.token.expose()),
                        (round, format!("token {round}").as_str())
                    );
                    barrier.wait();
                    shared.refuse(leave.generation);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 1_000);
    assert_eq!(asked[0], None);
    assert!(asked.iter().skip(1).zip(1..).all(|(generation, before)| *generation == Some(before)));
}

#[test]
fn a_token_is_replaced_a_twelfth_of_its_life_before_its_end() {
    let shared = shared();
    let asked = AtomicU32::new(0);
    let leave = |next: Token| {
        let want = |_| {
            asked.fetch_add(1, Ordering::SeqCst);
            shared.give_token(next.clone());
        };
        shared.leave(want).unwrap().generation
    };
    shared.give_token(Token { valid_for: Duration::from_millis(4_800), ..token(1, 0) });
    assert_eq!(leave(token(2, 3_600)), 1);
    std::thread::sleep(Duration::from_millis(4_480));
    assert_eq!(leave(token(2, 3_600)), 2);
    // An absurd life neither overflows nor is believed.
    shared.give_token(token(3, u64::MAX));
    assert_eq!((leave(token(4, 3_600)), asked.load(Ordering::SeqCst)), (3, 1));
}

#[test]
fn a_refused_token_is_not_used_again() {
    let shared = shared();
    shared.give_token(token(5, 3_600));
    assert_eq!(shared.leave(|_| panic!("there is one")).unwrap().generation, 5);
    let want = |generation| {
        assert_eq!(generation, Some(5));
        shared.give_token(token(6, 3_600));
    };
    shared.refuse(5);
    assert_eq!(shared.leave(want).unwrap().generation, 6);
    // Who is late with the same refusal finds the newer one.
    shared.refuse(5);
    assert_eq!(shared.leave(|_| panic!("there is a newer one")).unwrap().generation, 6);
}

#[test]
fn without_a_token_every_window_fails_with_the_reason() {
    let sim = simulator(|_| {});
    let mut bench = Bench::start(&sim, Setup { lanes: 4, renews: false, ..Setup::default() });
    bench.submit(&windows(4, 7));
    match bench.next(crate::bench::LONG) {
        Some(Message::TokenWanted { generation: None }) => {}
        _ => panic!("no wish for a token"),
    }
    bench.pool.no_token(Failure::new("needs_reauth", "28000", "connect it again").scope(Scope::Blocked));
    for outcome in bench.collect(4).values() {
        assert_eq!(
            (outcome.failure().code.as_str(), outcome.failure().scope),
            ("needs_reauth", Scope::Blocked)
        );
    }
    assert_eq!((bench.wanted.len(), sim.request_count()), (0, 0));
    // A token that comes after all is used.
    let late = bench.renew();
    bench.pool.give_token(late);
    assert!(matches!(bench.fetch(&windows(1, 7))[&0], Outcome::Fetched { .. }));
}

/// A token is replaced five minutes before its end: for so long the token service may be out.
#[test]
fn a_token_that_nobody_refused_outlasts_an_outage_of_the_token_service() {
    let out = || Failure::new("token_unavailable", "08006", "no answer").scope(Scope::Run).outage();
    let refused = |shared: &Shared| match shared.leave(|_| ()) {
        Err(Nothing::Refused(failure)) => failure.code,
        other => panic!("{:?}", other.map(|leave| leave.generation)),
    };
    let shared = shared();
    shared.give_token(token(0, 3_600));
    shared.no_token(out());
    assert_eq!(shared.leave(|_| panic!("there is a token")).unwrap().generation, 0);
    // At its end another one is wanted, and now there is none.
    shared.give_token(token(1, 5));
    shared.no_token(out());
    std::thread::sleep(Duration::from_millis(5_050));
    let wanted = Mutex::new(Vec::new());
    let leave = shared.leave(|generation| {
        wanted.lock().unwrap().push(generation);
        shared.no_token(out());
    });
    assert!(matches!(leave.map(|leave| leave.generation), Err(Nothing::Refused(_))));
    assert_eq!(*wanted.lock().unwrap(), [Some(1)]);

    // One that QuickBooks refused is of no use, and credentials that need a person stop everybody.
    shared.give_token(token(2, 3_600));
    shared.refuse(2);
    shared.no_token(out());
    assert_eq!(refused(&shared), "token_unavailable");
    shared.give_token(token(3, 3_600));
    shared.no_token(Failure::new("needs_reauth", "28000", "connect it again").scope(Scope::Blocked));
    assert_eq!(refused(&shared), "needs_reauth");
}

#[test]
fn no_more_requests_are_under_way_than_may_be() {
    let shared = Arc::new(Shared::new(Pacer::new(1_000_000, 1_000_000), &[0; 60], u64::MAX, 2));
    shared.give_token(token(1, 3_600));
    let (first, second) = (shared.leave(|_| ()).unwrap(), shared.leave(|_| ()).unwrap());
    let (waiting, left) = (shared.clone(), Arc::new(AtomicU32::new(0)));
    let counted = left.clone();
    let thread = std::thread::spawn(move || {
        for _ in 0..3 {
            let leave = waiting.leave(|_| ()).unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            drop(leave);
        }
    });
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!((left.load(Ordering::SeqCst), shared.sent()), (0, 2));
    // One that is back makes place for one after the other.
    drop(first);
    thread.join().unwrap();
    assert_eq!((left.load(Ordering::SeqCst), shared.sent()), (3, 5));
    drop(second);
}

#[test]
fn a_stopped_owner_leaves_nobody_waiting() {
    let shared = shared();
    let waiting = shared.clone();
    let thread = std::thread::spawn(move || matches!(waiting.leave(|_| ()), Err(Nothing::Stopped)));
    std::thread::sleep(Duration::from_millis(50));
    shared.stop();
    assert!(thread.join().unwrap());
}

#[test]
fn a_token_that_is_always_refused_costs_one_renewal_and_no_storm() {
    let sim = simulator(|_| {});
    sim.fault(When::Always, Fault::named("401").unwrap());
    let mut bench = Bench::start(&sim, Setup { lanes: 1, ..Setup::default() });
    let outcomes = bench.fetch(&windows(1, 7));
    let failure = outcomes[&0].failure();
    assert_eq!((failure.code.as_str(), failure.scope), ("unauthorized", Scope::Run));
    assert_eq!((sim.request_count(), sim.token_requests()), (2, 2));
}

#[test]
fn no_secret_leaves_a_thread_in_a_message() {
    let sim = simulator(|_| {});
    let (_, _, client_secret, _) = sim.credentials();
    for status in [400, 403, 500] {
        sim.clear_faults();
        let mut bench = Bench::start(&sim, Setup { renews: false, ..Setup::default() });
        let short = "abc-123";
        bench.pool.give_token(Token { access: Secret::new(short), ..token(1, 3_600) });
        let body = format!(
            r#"{{"Fault":{{"Error":[{{"Message":"Bearer {short} of {client_secret}","Detail":"Token expired: {short}","code":"4001"}}],"type":"X"}}}}"#
        );
        sim.fault(When::Always, Fault::status(status, &body));
        let message = bench.fetch(&windows(1, 7))[&0].failure().message.clone();
        assert!(message.contains("Token expired"), "{message}");
        assert!(!message.contains(short) && !message.contains(&client_secret), "{message}");
    }
}

//! Pacing, counted for all threads together. Who is let go is counted where that is decided, and between two moments that lie
//! around it: what is said of time then holds however late a thread of the test is.

use crate::bench::{Bench, LONG, Outcome, Setup, simulator, until, windows};
use qbo_raw::domain::pace::Pacer;
use qbo_raw::domain::secret::Secret;
use qbo_raw::domain::token::Token;
use qbo_raw::http::shared::Shared;
use qbo_sim::{Fault, Rate, When};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);

/// Threads that send as fast as they are let.
struct Crowd {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<u64>>,
}

/// How many had been let go, at a moment between these two.
struct Look {
    from: Instant,
    count: u64,
    until: Instant,
}

impl Crowd {
    fn gather(threads: usize, pacer: Pacer, recent: &[u32; 60]) -> Crowd {
        let shared = Arc::new(Shared::new(pacer, recent, u64::MAX, threads));
        let one = || {
            let shared = shared.clone();
            std::thread::spawn(move || {
                let mut let_go = 0;
                while shared.leave(|_| ()).is_ok() {
                    let_go += 1;
                    sleep(2 * MS);
                }
                let_go
            })
        };
        let threads = (0..threads).map(|_| one()).collect();
        Crowd { shared, threads }
    }

    fn start(&self) {
        let access = Secret::new("a-token");
        self.shared.give_token(Token { generation: 1, access, valid_for: Duration::from_secs(3_600) });
    }

    fn count(&self) -> u64 {
        self.shared.sent()
    }

    fn look(&self) -> Look {
        let from = Instant::now();
        let count = self.count();
        Look { from, count, until: Instant::now() }
    }

    /// Waits until nobody is let go for a while; how many had been.
    fn at_rest(&self) -> u64 {
        let begun = Instant::now();
        loop {
            let before = self.count();
            sleep(300 * MS);
            if self.count() == before {
                return before;
            }
            assert!(begun.elapsed() < LONG, "there is no pause");
        }
    }

    /// Nobody is let go any more; how many were, as they say themselves.
    fn end(self) -> u64 {
        self.shared.stop();
        self.threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    }
}

#[test]
fn no_second_sees_more_than_its_share_however_many_threads_there_are() {
    let crowd = Crowd::gather(10, Pacer::new(100_000, 20), &[0; 60]);
    let begun = Instant::now();
    crowd.start();
    let mut looks = vec![crowd.look()];
    // The share of three seconds.
    while looks.last().is_some_and(|look| look.count < 61) {
        assert!(begun.elapsed() < 10_000 * MS, "it takes too long");
        sleep(5 * MS);
        looks.push(crowd.look());
    }
    for (nth, first) in looks.iter().enumerate() {
        let second = looks[nth..].iter().take_while(|last| last.until - first.from < 1_000 * MS);
        let most = second.map(|last| last.count - first.count).max();
        // One more: a thread can be held up between its place in time and its being counted.
        assert!(most <= Some(21), "{most:?} in a second");
    }
    let shared = crowd.shared.clone();
    let let_go = crowd.end();
    assert_eq!(shared.recent().iter().map(|count| u64::from(*count)).sum::<u64>(), let_go);
}

#[test]
fn no_minute_sees_more_than_its_share_with_what_others_sent_before() {
    // 50 a minute, of which 47 were sent by a predecessor: 40 of them half a minute ago, 7 almost a minute.
    let mut recent = [0; 60];
    (recent[30], recent[55]) = (40, 7);
    let begun = Instant::now();
    let crowd = Crowd::gather(4, Pacer::new(50, 1_000), &recent);
    crowd.start();
    until("three are let go", || crowd.count() >= 3);
    assert!(begun.elapsed() < 5_000 * MS, "three were left at once");
    until("the seven oldest are over", || {
        let count = crowd.count();
        assert!(count <= 3 || begun.elapsed() >= 5_000 * MS, "only three were left, not {count}");
        count >= 10
    });
    assert!(begun.elapsed() < 15_000 * MS, "{:?}", begun.elapsed());
    sleep(500 * MS);
    assert_eq!(crowd.end(), 10);
}

#[test]
fn nothing_gathers_while_a_token_is_waited_for() {
    let crowd = Crowd::gather(10, Pacer::new(100_000, 3), &[0; 60]);
    sleep(2_500 * MS);
    assert_eq!(crowd.count(), 0);
    let begun = Instant::now();
    crowd.start();
    until("somebody is let go", || crowd.count() > 0);
    sleep(850 * MS);
    let count = crowd.count();
    // One at once, and one more with every third of a second.
    let most = 1 + begun.elapsed().as_millis() / 333;
    assert!(u128::from(count) <= most, "places had gathered during the wait: {count}, not {most}");
    assert!(crowd.end() >= count);
}

#[test]
fn a_pause_holds_for_everyone_and_only_if_it_is_meant_to() {
    for everyone in [true, false] {
        let crowd = Crowd::gather(6, Pacer::new(1_000_000, 1_000), &[0; 60]);
        crowd.start();
        until("somebody is let go", || crowd.count() > 0);
        let length = if everyone { 4_000 * MS } else { 2 * LONG };
        let (shared, (saying, said)) = (crowd.shared.clone(), channel());
        let sleeper = std::thread::spawn(move || {
            saying.send(()).unwrap();
            shared.sleep(length, everyone)
        });
        said.recv().unwrap();
        if everyone {
            let held = crowd.at_rest();
            until("they go on", || crowd.count() > held);
            assert!(sleeper.join().unwrap());
            crowd.end();
        } else {
            sleep(200 * MS);
            let before = crowd.count();
            until("the others go on meanwhile", || crowd.count() > before + 10);
            crowd.end();
            assert!(!sleeper.join().unwrap(), "it was stopped");
        }
    }
}

#[test]
fn the_longest_pause_counts() {
    let crowd = Crowd::gather(6, Pacer::new(1_000_000, 1_000), &[0; 60]);
    crowd.start();
    until("somebody is let go", || crowd.count() > 0);
    let long = crowd.shared.clone();
    let begun = Instant::now();
    let sleeper = std::thread::spawn(move || long.sleep(5_000 * MS, true));
    let held = crowd.at_rest();
    assert!(crowd.shared.sleep(100 * MS, true));
    until("somebody goes on", || crowd.count() > held);
    assert!(begun.elapsed() >= 5_000 * MS, "{:?}", begun.elapsed());
    assert!(sleeper.join().unwrap());
    crowd.end();
}

#[test]
fn intuits_own_limits_are_never_met() {
    let sim = simulator(|options| options.rate = Some(Rate::intuit()));
    // The pace of the extension. Two requests may arrive a second late, together with the eight of that one.
    let mut bench = Bench::start(&sim, Setup { lanes: 2, pace: (480, 8), ..Setup::default() });
    let outcomes = bench.fetch(&windows(20, 4));
    assert!(outcomes.values().all(|outcome| matches!(outcome, Outcome::Fetched { .. })));
    assert_eq!(sim.requests().iter().filter(|request| request.status == 429).count(), 0);
    assert_eq!(bench.pool.recent().iter().sum::<u32>() as u64, sim.request_count());
}

#[test]
fn one_429_makes_the_whole_connection_wait() {
    let sim = simulator(|_| {});
    sim.fault_times(When::Nth(12), Fault::named("429:3").unwrap(), 1);
    // Ten a second: when the pause begins, even late, there is enough left that has to wait.
    let mut bench = Bench::start(&sim, Setup { lanes: 6, pace: (1_000_000, 10), ..Setup::default() });
    let outcomes = bench.fetch(&windows(50, 2));
    assert!(outcomes.values().all(|outcome| matches!(outcome, Outcome::Fetched { .. })));
    let mut log = sim.requests();
    log.sort_by_key(|request| request.at);
    let at = log.iter().position(|request| request.status == 429).unwrap();
    let since = |earlier: &qbo_sim::Request, later: &qbo_sim::Request| {
        later.at.duration_since(earlier.at).unwrap_or_default()
    };
    // Some are on their way when it begins: one that arrives late divides it.
    let longest = log[at..].windows(2).map(|two| since(&two[0], &two[1])).max().unwrap();
    assert!(longest > 1_000 * MS, "others went on: {longest:?}");
    let again = log[at + 1..].iter().find(|request| request.statement == log[at].statement).unwrap();
    assert!(since(&log[at], again) > 2_900 * MS, "{:?}", since(&log[at], again));
}

//! Pacing, counted for all threads together.

use crate::bench::{Bench, Outcome, Setup, simulator, until, windows};
use qbo_raw::domain::pace::Pacer;
use qbo_raw::domain::secret::Secret;
use qbo_raw::domain::token::Token;
use qbo_raw::http::shared::Shared;
use qbo_sim::{Fault, Rate, When};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);

/// Threads that send as fast as they are let, and when they were let.
struct Crowd {
    shared: Arc<Shared>,
    let_go: Arc<Mutex<Vec<Instant>>>,
}

impl Crowd {
    fn gather(threads: usize, pacer: Pacer, recent: &[u32; 60]) -> Crowd {
        let crowd =
            Crowd { shared: Arc::new(Shared::new(pacer, recent, u64::MAX, threads)), let_go: Arc::default() };
        for _ in 0..threads {
            let (shared, let_go) = (crowd.shared.clone(), crowd.let_go.clone());
            std::thread::spawn(move || {
                while shared.leave(|_| ()).is_ok() {
                    let_go.lock().unwrap().push(Instant::now());
                    sleep(2 * MS);
                }
            });
        }
        crowd
    }

    fn start(&self) {
        let access = Secret::new("a-token");
        self.shared.give_token(Token { generation: 1, access, valid_for: Duration::from_secs(3_600) });
    }

    fn count(&self) -> usize {
        self.let_go.lock().unwrap().len()
    }

    /// The moments, in order, of all who were let go until now; nobody is any more.
    fn end(&self) -> Vec<Instant> {
        self.shared.stop();
        sleep(20 * MS);
        let mut moments = self.let_go.lock().unwrap().clone();
        moments.sort();
        moments
    }
}

/// The shortest time in which `most + 1` were let go: what the limit makes longer than its span. A moment is taken a little
/// after the gate, so two can seem closer than they were.
fn shortest(moments: &[Instant], most: usize) -> Duration {
    moments.windows(most + 1).map(|span| span[most] - span[0]).min().unwrap_or(Duration::MAX)
}

#[test]
fn no_second_sees_more_than_its_share_however_many_threads_there_are() {
    let crowd = Crowd::gather(10, Pacer::new(100_000, 20), &[0; 60]);
    crowd.start();
    sleep(3_500 * MS);
    let moments = crowd.end();
    let recent = crowd.shared.recent();
    assert!((61..=81).contains(&moments.len()), "{}", moments.len());
    assert!(shortest(&moments, 20) > 950 * MS, "{:?}", shortest(&moments, 20));
    assert_eq!(recent.iter().sum::<u32>() as usize, moments.len());
}

#[test]
fn no_minute_sees_more_than_its_share_with_what_others_sent_before() {
    // 50 a minute, of which 47 were sent by a predecessor: 40 of them half a minute ago, 7 almost a minute.
    let mut recent = [0; 60];
    (recent[30], recent[58]) = (40, 7);
    let crowd = Crowd::gather(4, Pacer::new(50, 1_000), &recent);
    crowd.start();
    sleep(1_000 * MS);
    assert_eq!(crowd.count(), 3, "only three were left");
    sleep(2_000 * MS);
    assert_eq!(crowd.count(), 10, "the seven oldest are over");
    assert_eq!(crowd.end().len(), 10);
}

#[test]
fn nothing_gathers_while_a_token_is_waited_for() {
    let crowd = Crowd::gather(10, Pacer::new(100_000, 3), &[0; 60]);
    sleep(2_500 * MS);
    assert_eq!(crowd.count(), 0);
    crowd.start();
    // One at once, one after a third of a second, one after two thirds.
    sleep(850 * MS);
    assert_eq!(crowd.end().len(), 3, "places had gathered during the wait");
}

#[test]
fn a_pause_holds_for_everyone_and_only_if_it_is_meant_to() {
    for (everyone, held) in [(true, true), (false, false)] {
        let crowd = Crowd::gather(6, Pacer::new(1_000_000, 1_000), &[0; 60]);
        crowd.start();
        sleep(200 * MS);
        let before = Instant::now();
        assert!(crowd.shared.sleep(900 * MS, everyone));
        let after = Instant::now();
        sleep(200 * MS);
        let moments = crowd.end();
        // A thread may have passed the gate right before the pause, and say so when it gets a processor.
        let during = moments.iter().filter(|at| **at > before + 400 * MS && **at < before + 900 * MS).count();
        assert_eq!(during == 0, held, "{during} were let go");
        assert!(moments.iter().any(|at| *at > after), "nobody goes on");
    }
}

#[test]
fn the_longest_pause_counts() {
    let crowd = Crowd::gather(2, Pacer::new(1_000_000, 1_000), &[0; 60]);
    let long = crowd.shared.clone();
    let sleeper = std::thread::spawn(move || long.sleep(900 * MS, true));
    sleep(50 * MS);
    let start = Instant::now();
    crowd.start();
    assert!(crowd.shared.sleep(100 * MS, true));
    until("somebody to go on", || crowd.count() > 0);
    assert!(start.elapsed() > 800 * MS, "{:?}", start.elapsed());
    assert!(sleeper.join().unwrap());
    crowd.end();
}

#[test]
fn intuits_own_limits_are_never_met() {
    let sim = simulator(|options| options.rate = Some(Rate::intuit()));
    // As the extension does it by default.
    let mut bench = Bench::start(&sim, Setup { lanes: 10, pace: (480, 8), ..Setup::default() });
    let outcomes = bench.fetch(&windows(20, 4));
    assert!(outcomes.values().all(|outcome| matches!(outcome, Outcome::Fetched { .. })));
    assert_eq!(sim.requests().iter().filter(|request| request.status == 429).count(), 0);
    assert_eq!(bench.pool.recent().iter().sum::<u32>() as u64, sim.request_count());
}

#[test]
fn one_429_makes_the_whole_connection_wait() {
    let sim = simulator(|options| options.latency = 10 * MS);
    sim.fault_times(When::Nth(12), Fault::named("429:2").unwrap(), 1);
    let mut bench = Bench::start(&sim, Setup { lanes: 6, ..Setup::default() });
    let outcomes = bench.fetch(&windows(40, 2));
    assert!(outcomes.values().all(|outcome| matches!(outcome, Outcome::Fetched { .. })));
    let mut log = sim.requests();
    log.sort_by_key(|request| request.at);
    let throttled = log.iter().find(|request| request.status == 429).unwrap().at;
    // Some may be on their way while it is answered.
    let during = |request: &&qbo_sim::Request| {
        request.at.duration_since(throttled).is_ok_and(|after| after > 1_000 * MS && after < 1_950 * MS)
    };
    assert_eq!(log.iter().filter(during).count(), 0);
    assert!(log.iter().filter(|request| request.at > throttled).count() > 20);
}

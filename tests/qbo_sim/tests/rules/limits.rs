//! The limits of a company.

use crate::client::{Client, counts};
use qbo_sim::{Options, Rate};
use std::time::{Duration, Instant};

fn client(per_minute: usize, per_second: usize, at_once: usize) -> Client {
    let rate = Some(Rate { per_minute, per_second, at_once });
    Client::new(Options { rate, ..counts(&[("Item", 3)]) })
}

fn statuses(client: &Client, count: usize) -> Vec<u16> {
    (0..count).map(|_| client.query("SELECT COUNT(*) FROM Item").status).collect()
}

/// The statuses of requests of one second, the only ones in it; on a busy machine that takes more than one attempt.
fn of_a_second(client: &Client, count: usize) -> Vec<u16> {
    for _ in 0..10 {
        std::thread::sleep(Duration::from_millis(1_010));
        let start = Instant::now();
        let statuses = statuses(client, count);
        if start.elapsed() < Duration::from_secs(1) {
            return statuses;
        }
    }
    panic!("{count} requests take longer than a second, ten times");
}

#[test]
fn too_many_a_minute_are_429_in_xml_without_retry_after() {
    let client = client(4, 100, 100);
    assert_eq!(statuses(&client, 4), [200; 4]);
    let answer = client.query("SELECT COUNT(*) FROM Item");
    assert_eq!((answer.status, answer.header("content-type")), (429, "application/xml"));
    assert!(answer.body.contains("<Error code=\"3001\">"), "{}", answer.body);
    assert!(answer.body.contains("message=ThrottleExceeded; errorCode=003001; statusCode=429"));
    assert_eq!(answer.header("retry-after"), "");
    assert_eq!(client.refresh(&client.refresh_token()).status, 200, "OAuth calls do not count");
}

#[test]
fn too_many_a_second_are_429_until_the_second_is_over() {
    let client = client(1_000, 3, 100);
    assert_eq!(of_a_second(&client, 5), [200, 200, 200, 429, 429]);
    assert_eq!(of_a_second(&client, 4), [200, 200, 200, 429]);
}

#[test]
fn too_many_at_once_are_429() {
    let client = client(100, 100, 2);
    // Nobody is answered before all have arrived.
    client.set_latency(Duration::from_secs(60));
    let mut all: Vec<u16> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..5).map(|_| scope.spawn(|| statuses(&client, 1)[0])).collect();
        let start = Instant::now();
        while client.request_count() < 5 && start.elapsed() < Duration::from_secs(15) {
            std::thread::yield_now();
        }
        client.release();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    all.sort_unstable();
    assert_eq!(all, [200, 200, 429, 429, 429]);
    client.set_latency(Duration::ZERO);
    assert_eq!(statuses(&client, 1), [200], "they are over");
}

#[test]
fn limits_are_off_unless_asked_for() {
    let client = Client::company(&[("Item", 3)]);
    assert_eq!(statuses(&client, 30), [200; 30]);
}

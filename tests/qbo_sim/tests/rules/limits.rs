//! The limits of a company.

use crate::client::{Client, counts};
use qbo_sim::{Options, Rate};
use std::time::Duration;

fn client(per_minute: usize, per_second: usize, at_once: usize, latency: u64) -> Client {
    let rate = Some(Rate { per_minute, per_second, at_once });
    Client::new(Options { rate, latency: Duration::from_millis(latency), ..counts(&[("Item", 3)]) })
}

fn statuses(client: &Client, count: usize) -> Vec<u16> {
    (0..count).map(|_| client.query("SELECT COUNT(*) FROM Item").status).collect()
}

#[test]
fn too_many_a_minute_are_429_in_xml_without_retry_after() {
    let client = client(4, 100, 100, 0);
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
    let client = client(100, 3, 100, 0);
    assert_eq!(statuses(&client, 5), [200, 200, 200, 429, 429]);
    std::thread::sleep(Duration::from_millis(1_010));
    assert_eq!(statuses(&client, 4), [200, 200, 200, 429]);
}

#[test]
fn too_many_at_once_are_429() {
    let client = client(100, 100, 2, 500);
    let mut all: Vec<u16> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..5).map(|_| scope.spawn(|| statuses(&client, 1)[0])).collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    all.sort_unstable();
    assert_eq!(all, [200, 200, 429, 429, 429]);
    assert_eq!(statuses(&client, 1), [200], "they are over");
}

#[test]
fn limits_are_off_unless_asked_for() {
    let client = Client::company(&[("Item", 3)]);
    assert_eq!(statuses(&client, 30), [200; 30]);
}

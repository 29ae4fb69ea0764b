//! When to try again.

use chrono::{DateTime, TimeZone, Utc};
use qbo_raw::domain::retry::{Backoff, LONGEST_RETRY_AFTER, retry_after};
use std::time::Duration;

const STANDARD: Backoff = Backoff { retries: 5, base: Duration::from_secs(2) };

#[test]
fn together_the_waits_outlast_the_minute_of_throttling() {
    let waits: Vec<_> = (0..).map_while(|n| STANDARD.wait(n, 0.0)).collect();
    assert_eq!(waits, [2, 4, 8, 16, 32].map(Duration::from_secs));
    assert_eq!(waits.iter().sum::<Duration>(), Duration::from_secs(62));
    assert_eq!(STANDARD.wait(5, 0.5), None);
}

#[test]
fn jitter_makes_a_wait_longer_by_a_quarter_at_most() {
    for n in 0..5 {
        let plain = STANDARD.wait(n, 0.0).unwrap();
        assert_eq!(STANDARD.wait(n, 1.0), Some(plain + plain / 4));
        assert_eq!(STANDARD.wait(n, 0.5), Some(plain + plain / 8));
        assert_eq!(STANDARD.wait(n, -3.0), Some(plain));
        assert_eq!(STANDARD.wait(n, f64::INFINITY), Some(plain + plain / 4));
    }
}

#[test]
fn extreme_settings_do_no_harm() {
    let none = Backoff { retries: 0, ..STANDARD };
    assert_eq!(none.wait(0, 0.0), None);
    let many = Backoff { retries: u32::MAX, base: Duration::MAX };
    for n in [0, 1, 31, 32, 33, 63, 64, u32::MAX - 1] {
        assert_eq!(many.wait(n, 0.0), Some(Duration::from_secs(300)));
    }
    assert_eq!(many.wait(u32::MAX, 0.0), None);
    let quick = Backoff { retries: u32::MAX, base: Duration::ZERO };
    assert_eq!(quick.wait(40, 1.0), Some(Duration::ZERO));
    let long = Backoff { retries: 100, base: Duration::from_secs(2) };
    for n in 8..100 {
        assert_eq!(long.wait(n, 1.0), Some(Duration::from_secs(375)));
    }
    assert_eq!(LONGEST_RETRY_AFTER, Duration::from_secs(300));
}

fn now() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2015, 10, 21, 7, 28, 0).unwrap()
}

#[test]
fn retry_after_in_seconds() {
    for (text, seconds) in [("1", 1), ("60", 60), (" 120 ", 120), ("007", 7), ("86400", 86_400)] {
        assert_eq!(retry_after(text, now()), Some(Duration::from_secs(seconds)), "{text}");
    }
}

#[test]
fn retry_after_as_a_date() {
    assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:30 GMT", now()), Some(Duration::from_secs(30)));
    assert_eq!(retry_after("Wed, 21 Oct 2015 08:28:00 GMT", now()), Some(Duration::from_secs(3_600)));
    assert_eq!(retry_after("Wed, 21 Oct 2015 09:28:10 +0200", now()), Some(Duration::from_secs(10)));
}

#[test]
fn retry_after_that_says_nothing() {
    for text in [
        "",
        " ",
        "0",
        "00",
        "-1",
        "1.5",
        "1s",
        "soon",
        "99999999999999999999999999",
        "Wed, 21 Oct 2015 07:28:00 GMT",
        "Wed, 21 Oct 2015 07:27:59 GMT",
        "Mon, 21 Oct 2015 07:28:30 GMT",
        "Wed, 99 Oct 2015 07:28:30 GMT",
        "Wed, 21 Oct 1715 07:28:30 GMT",
        "\u{661}",
        "🧾",
    ] {
        assert_eq!(retry_after(text, now()), None, "{text:?}");
    }
}

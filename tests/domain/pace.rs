//! Pacing: no minute and no second sees more than its share.

use qbo_raw::domain::pace::Pacer;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// No half-open span of this length holds more than so many of these moments, which are in order.
fn check(sent: &[Duration], most: u32, span: Duration) {
    for (from, to) in sent.iter().zip(sent.iter().skip(most as usize)) {
        assert!(*to - *from >= span, "more than {most} from {from:?} to {to:?}");
    }
}

/// Random arrivals; who has to wait comes again when told, or a little later.
fn drive(pacer: &mut Pacer, random: &mut fastrand::Rng, from: Duration, steps: usize) -> Vec<Duration> {
    let mut now = from;
    let mut sent = Vec::new();
    for _ in 0..steps {
        match pacer.try_take(now) {
            Ok(()) => {
                sent.push(now);
                if random.u8(0..4) == 0 {
                    now += ms(random.u64(0..3_000));
                }
            }
            Err(wait) => {
                assert!(!wait.is_zero() && wait <= MINUTE, "{wait:?}");
                now += if random.bool() {
                    wait
                } else {
                    Duration::from_nanos(random.u64(0..wait.as_nanos() as u64 * 2))
                };
            }
        }
    }
    sent
}

#[test]
fn random_arrivals_never_break_a_limit() {
    let mut random = fastrand::Rng::with_seed(4);
    for _ in 0..300 {
        let (per_minute, per_second) = (random.u32(1..600), random.u32(1..20));
        let mut pacer = Pacer::new(per_minute, per_second);
        let from = ms(random.u64(0..100_000));
        let sent = drive(&mut pacer, &mut random, from, 3_000);
        assert!(!sent.is_empty());
        check(&sent, per_minute, MINUTE);
        check(&sent, per_second, SECOND);
        check(&sent, 1, SECOND / per_second);
    }
}

#[test]
fn no_wait_is_too_long() {
    let mut random = fastrand::Rng::with_seed(5);
    let mut pacer = Pacer::new(40, 3);
    let mut now = SECOND;
    let mut taken = 0;
    for _ in 0..2_000 {
        match pacer.clone().try_take(now) {
            Ok(()) => {
                pacer.try_take(now).unwrap();
                taken += 1;
            }
            Err(wait) => {
                let before = now + wait - Duration::from_nanos(1);
                assert!(pacer.clone().try_take(before).is_err(), "a nanosecond sooner");
                now += wait;
                assert_eq!(pacer.clone().try_take(now), Ok(()), "as long as it takes, and no longer");
            }
        }
        now += ms(random.u64(0..50));
    }
    assert!(taken > 500);
}

#[test]
fn requests_leave_evenly() {
    let mut pacer = Pacer::new(500, 8);
    let mut now = SECOND;
    let mut waits = Vec::new();
    for _ in 0..16 {
        match pacer.try_take(now) {
            Ok(()) => waits.push(now),
            Err(wait) => {
                assert_eq!(wait, ms(125));
                now += wait;
            }
        }
    }
    assert_eq!(waits, (0..8).map(|n| SECOND + ms(125) * n).collect::<Vec<_>>());
}

#[test]
fn the_full_rate_is_reached() {
    let mut pacer = Pacer::new(500, 10);
    let mut now = Duration::ZERO;
    let mut sent = 0;
    while now < MINUTE * 10 {
        match pacer.try_take(now) {
            Ok(()) => sent += 1,
            Err(wait) => now += wait,
        }
    }
    assert_eq!(sent, 5_000);
}

#[test]
fn a_limit_of_zero_counts_as_one() {
    let mut pacer = Pacer::new(0, 0);
    assert_eq!(pacer.try_take(SECOND), Ok(()));
    assert_eq!(pacer.try_take(SECOND), Err(MINUTE));
    assert_eq!(pacer.try_take(SECOND + MINUTE), Ok(()));
}

#[test]
fn a_pause_stops_everybody_and_only_grows() {
    let mut pacer = Pacer::new(500, 10);
    pacer.pause(SECOND, ms(500));
    pacer.pause(SECOND, ms(100));
    assert_eq!(pacer.try_take(SECOND), Err(ms(500)));
    assert_eq!(pacer.try_take(ms(1_200)), Err(ms(300)));
    assert_eq!(pacer.try_take(ms(1_500)), Ok(()));
    pacer.pause(SECOND, Duration::MAX);
    assert!(pacer.try_take(MINUTE).is_err());
}

#[test]
fn what_was_sent_is_told_by_seconds() {
    let mut pacer = Pacer::new(500, 1_000);
    let now = Duration::from_secs(100);
    for age in [ms(59_999), ms(59_000), ms(2_500), ms(1_999), ms(1_000), ms(999), ms(1), ms(0)] {
        pacer.try_take(now - age).unwrap();
    }
    let recent = pacer.recent(now);
    assert_eq!((recent[0], recent[1], recent[2], recent[59]), (3, 2, 1, 2));
    assert_eq!(recent.iter().sum::<u32>(), 8);
    assert_eq!(pacer.recent(now + MINUTE), [0; 60]);
}

#[test]
fn a_successor_keeps_to_what_is_left() {
    let mut random = fastrand::Rng::with_seed(6);
    for _ in 0..300 {
        let (per_minute, per_second) = (random.u32(1..200), random.u32(1..20));
        let mut first = Pacer::new(per_minute, per_second);
        let mut sent = drive(&mut first, &mut random, MINUTE * 2, 1_000);
        // The clock of the next one starts anywhere behind the last request.
        let now = *sent.last().unwrap() + ms(random.u64(0..2_000));
        let mut second = Pacer::new(per_minute, per_second);
        second.seed(now, &first.recent(now));
        sent.extend(drive(&mut second, &mut random, now, 1_000));
        check(&sent, per_minute, MINUTE);
        check(&sent, per_second, SECOND);
    }
}

#[test]
fn a_seed_survives_its_own_telling_and_a_clock_near_its_origin() {
    let mut recent = [0; 60];
    (recent[0], recent[7], recent[59]) = (3, 2, 1);
    let now = Duration::from_secs(500);
    let mut pacer = Pacer::new(500, 10);
    pacer.seed(now, &recent);
    assert_eq!(pacer.recent(now), recent);
    // What lies before the origin counts as sent at it, so for longer than it should, never shorter.
    let mut young = Pacer::new(6, 3);
    young.seed(SECOND, &recent);
    assert_eq!(young.recent(SECOND).iter().sum::<u32>(), 6);
    assert!(young.try_take(SECOND).is_err());
    assert!(young.try_take(SECOND + MINUTE).is_ok());
}

//! Windows tile the range of a run exactly, and arguments that make no range are refused.

use super::page::listed;
use chrono::{DateTime, Days, NaiveDate, TimeDelta, Timelike, Utc};
use qbo_raw::domain::page::Row;
use qbo_raw::domain::window::{EARLIEST, Range, Window, WindowOn, listed as listed_windows};
use qbo_raw::error::Error;

fn day(year: i32, month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).unwrap()
}

fn today() -> NaiveDate {
    day(2026, 3, 15)
}

/// What must hold for the windows of any range.
fn check(first: NaiveDate, last: NaiveDate, chunk: i32) {
    let range = Range::new(first, last, chunk, today()).unwrap();
    let windows: Vec<_> = range.windows().collect();
    let what = format!("{first} to {last} by {chunk}");
    assert_eq!(windows.len(), range.len(), "{what}");
    assert_eq!(range.windows().len(), range.len(), "{what}");
    assert!(!range.is_empty());
    assert_eq!(windows[0].start.date_naive(), first, "{what}");
    assert_eq!(windows.last().unwrap().end.date_naive(), last + Days::new(1), "{what}");
    for pair in windows.windows(2) {
        assert_eq!(pair[0].end, pair[1].start, "{what}: they touch");
    }
    let chunk = TimeDelta::try_days(i64::from(chunk)).unwrap();
    for (index, window) in windows.iter().enumerate() {
        assert!(window.start < window.end, "{what}: none is empty");
        assert_eq!(window.start.num_seconds_from_midnight(), 0);
        assert_eq!(window.end.num_seconds_from_midnight(), 0);
        if index + 1 < windows.len() {
            assert_eq!(window.end - window.start, chunk, "{what}");
        } else {
            assert!(window.end - window.start <= chunk, "{what}");
        }
    }
}

#[test]
fn random_ranges_are_tiled_exactly() {
    let mut random = fastrand::Rng::with_seed(2);
    for _ in 0..5_000 {
        let first = day(1990, 1, 1) + Days::new(random.u64(0..13_200));
        let most = u64::try_from((today() + Days::new(2) - first).num_days()).unwrap();
        let last = first + Days::new(random.u64(0..=most.min(2_000)));
        let chunk = match random.u8(0..4) {
            0 => 1,
            1 => random.i32(1..32),
            2 => random.i32(1..3_000),
            _ => random.i32(1..i32::MAX),
        };
        check(first, last, chunk);
    }
}

#[test]
fn a_moment_lies_in_exactly_one_window() {
    let range = Range::new(day(2024, 2, 27), day(2024, 3, 2), 2, today()).unwrap();
    let windows: Vec<_> = range.windows().collect();
    for minute in 0..5 * 24 * 60 {
        let moment = windows[0].start + TimeDelta::try_minutes(minute).unwrap();
        let holding = windows.iter().filter(|window| window.start <= moment && moment < window.end).count();
        assert_eq!(holding, 1, "{moment}");
    }
}

/// The time of a record as a company writes it, read back from its page.
fn read(text: &str) -> Option<DateTime<Utc>> {
    match listed(&format!(r#"{{"Id":"1","MetaData":{{"LastUpdatedTime":"{text}"}}}}"#)).rows() {
        [Row::Record(record)] => record.updated,
        other => panic!("{other:?}"),
    }
}

#[test]
fn in_every_time_zone_a_record_lies_in_exactly_one_window() {
    let mut random = fastrand::Rng::with_seed(4);
    let mut looked_at = 0;
    for zone in chrono_tz::TZ_VARIANTS {
        for _ in 0..4 {
            let first = day(1990, 1, 1) + Days::new(random.u64(0..13_000));
            let last = first + Days::new(random.u64(0..200));
            let range = Range::new(first, last.min(today()), random.i32(1..40), today()).unwrap();
            let windows: Vec<_> = range.windows().collect();
            // A second around each bound; hours around midnight there, and around the changes of its clocks.
            let near = windows.iter().flat_map(|window| [-1, 0, 1].map(|second| (window.start, second)));
            let there = (0..20).map(|_| (range.whole().start, random.i64(0..200 * 86_400)));
            for (from, seconds) in near.chain(there).collect::<Vec<_>>() {
                let moment = from + TimeDelta::try_seconds(seconds).unwrap();
                let text = moment.with_timezone(&zone).to_rfc3339();
                let read = read(&text);
                assert_eq!(read, Some(moment), "{zone}: {text}");
                let holding =
                    windows.iter().filter(|window| window.start <= moment && moment < window.end).count();
                let within = range.whole().start <= moment && moment < range.whole().end;
                assert_eq!(holding, usize::from(within), "{zone}: {text} in {windows:?}");
                looked_at += 1;
            }
        }
    }
    assert!(chrono_tz::TZ_VARIANTS.len() >= 400 && looked_at > 50_000, "{looked_at}");
}

#[test]
fn windows_that_are_named_are_taken_in_order_or_refused() {
    let mut random = fastrand::Rng::with_seed(5);
    let (mut taken, mut refused) = (0, 0);
    for round in 0..20_000 {
        let start = day(2026, 1, 1).and_time(chrono::NaiveTime::MIN).and_utc();
        let given: Vec<_> = (0..random.usize(1..5))
            .map(|_| {
                let start = start + TimeDelta::try_hours(random.i64(0..48)).unwrap();
                Window { start, end: start + TimeDelta::try_hours(random.i64(-1..12)).unwrap() }
            })
            .collect();
        let overlap = |a: &Window, b: &Window| a.start < b.end && b.start < a.end;
        let good = given.iter().all(|window| window.start < window.end)
            && given.iter().enumerate().all(|(at, a)| given[at + 1..].iter().all(|b| !overlap(a, b)));
        match listed_windows(given.clone(), today()) {
            Ok(windows) => {
                taken += 1;
                let mut sorted = given.clone();
                sorted.sort();
                assert!(good && windows == sorted, "round {round}: {given:?}");
            }
            Err(error) => {
                refused += 1;
                assert!(!good && error.sqlstate() == "22023", "round {round}: {error} for {given:?}");
            }
        }
    }
    assert!(taken > 2_000 && refused > 2_000, "{taken} taken, {refused} refused");
}

#[test]
fn windows_that_nobody_can_mean_are_refused() {
    let midnight = |day: NaiveDate| day.and_time(chrono::NaiveTime::MIN).and_utc();
    let (earliest, latest) = (midnight(EARLIEST), midnight(today()) + TimeDelta::days(3));
    let (hour, moment) = (TimeDelta::hours(1), TimeDelta::milliseconds(1));
    let window = |start, end| Window { start, end };
    let asked = |windows: &[Window]| listed_windows(windows.to_vec(), today());
    let whole = [window(earliest, earliest + hour), window(latest - hour, latest)];
    assert_eq!(asked(&whole).unwrap(), whole);
    for (wrong, expected) in [
        (window(earliest - hour, earliest + hour), "windows from 1990-01-01 to "),
        (window(latest - hour, latest + TimeDelta::seconds(1)), "windows from 1990-01-01 to "),
        (window(earliest + moment, earliest + hour), "windows of whole seconds"),
        (window(earliest, earliest + hour + moment), "windows of whole seconds"),
        (window(earliest, earliest), "windows that end after they begin"),
    ] {
        match asked(&[whole[1], wrong]) {
            Err(Error::Argument { argument: "windows", expected: said, .. }) => {
                assert!(said.starts_with(expected), "{said} for {wrong:?}")
            }
            other => panic!("{other:?} for {wrong:?}"),
        }
    }
    assert!(matches!(asked(&[]), Err(Error::Argument { argument: "windows", .. })));
    let seconds = |count: i64| -> Vec<Window> {
        let at = |second| earliest + TimeDelta::seconds(second);
        (0..count).map(|second| window(at(second), at(second + 1))).collect()
    };
    assert_eq!(asked(&seconds(100_000)).unwrap().len(), 100_000);
    match asked(&seconds(100_001)) {
        Err(Error::TooManyWindows { count, limit }) => assert_eq!((count, limit), (100_001, 100_000)),
        other => panic!("{:?}", other.map(|windows| windows.len())),
    }
}

#[test]
fn days_at_the_edges() {
    check(today(), today(), 1);
    check(today() + Days::new(2), today() + Days::new(2), 7);
    check(day(1990, 1, 1), day(1990, 1, 1), i32::MAX);
    check(day(1990, 1, 1), today() + Days::new(2), 1);
    check(day(2024, 2, 28), day(2024, 3, 1), 1);
    // Summer time begins: a day is a day all the same.
    check(day(2025, 3, 29), day(2025, 3, 31), 1);
    let range = Range::new(day(2024, 1, 1), day(2024, 1, 31), 7, today()).unwrap();
    let texts: Vec<_> = range.windows().map(|w| format!("{} {}", w.start, w.end)).collect();
    assert_eq!(texts.len(), 5);
    assert_eq!(texts[0], "2024-01-01 00:00:00 UTC 2024-01-08 00:00:00 UTC");
    assert_eq!(texts[4], "2024-01-29 00:00:00 UTC 2024-02-01 00:00:00 UTC");
}

#[test]
fn windows_can_be_walked_from_any_place() {
    let range = Range::new(day(2020, 1, 1), day(2020, 12, 31), 30, today()).unwrap();
    let all: Vec<_> = range.windows().collect();
    for skip in 0..=all.len() {
        assert_eq!(range.windows().skip(skip).collect::<Vec<_>>(), all[skip..]);
    }
}

fn refused(first: NaiveDate, last: NaiveDate, chunk: i32) -> Error {
    let error = Range::new(first, last, chunk, today()).unwrap_err();
    assert_eq!(error.sqlstate(), "22023");
    error
}

#[test]
fn days_nobody_can_mean_are_refused() {
    for (first, last, wrong) in [
        (day(1989, 12, 31), today(), "start_date"),
        (day(202, 1, 1), today(), "start_date"),
        (NaiveDate::MIN, NaiveDate::MAX, "start_date"),
        (day(2026, 3, 18), day(2026, 3, 18), "start_date"),
        (day(2024, 1, 1), day(2026, 3, 18), "end_date"),
        (day(2024, 1, 1), NaiveDate::MAX, "end_date"),
        (day(2024, 1, 1), day(1989, 12, 31), "end_date"),
    ] {
        match refused(first, last, 1) {
            Error::Argument { argument, value, expected } => {
                assert_eq!(argument, wrong);
                assert_eq!(value, if wrong == "start_date" { first } else { last }.to_string());
                assert!(expected.contains("1990-01-01") && expected.contains("2026-03-17"), "{expected}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_end_is_not_before_the_start() {
    let error = refused(day(2024, 1, 2), day(2024, 1, 1), 1);
    assert!(matches!(error, Error::EndBeforeStart { .. }), "{error:?}");
    assert_eq!(error.to_string(), "end_date 2024-01-01 is before start_date 2024-01-02");
    assert!(error.hint().unwrap().contains("single day"));
}

#[test]
fn a_chunk_has_a_day() {
    for chunk in [0, -1, i32::MIN] {
        match refused(day(2024, 1, 1), day(2024, 1, 2), chunk) {
            Error::Argument { argument: "chunk_days", value, .. } => assert_eq!(value, chunk.to_string()),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn too_many_windows_are_refused() {
    // Only a day far ahead makes so many: with today's date the range is too short.
    let far = day(2290, 1, 1);
    match Range::new(day(1990, 1, 1), far, 1, far).unwrap_err() {
        Error::TooManyWindows { count, limit } => assert_eq!((count, limit), (109_574, 100_000)),
        other => panic!("{other:?}"),
    }
    assert!(Range::new(day(1990, 1, 1), far, 2, far).is_ok());
    let last = day(1990, 1, 1) + Days::new(99_999);
    assert_eq!(Range::new(day(1990, 1, 1), last, 1, last).unwrap().len(), 100_000);
    assert!(Range::new(day(1990, 1, 1), last + Days::new(1), 1, last).is_err());
}

#[test]
fn the_end_of_the_calendar_does_no_harm() {
    let range = Range::new(NaiveDate::MAX - Days::new(3), NaiveDate::MAX, 2, NaiveDate::MAX).unwrap();
    assert_eq!(range.windows().count(), 2);
}

#[test]
fn window_on_is_one_of_two_words() {
    for (word, property) in [("updated", "MetaData.LastUpdatedTime"), ("created", "MetaData.CreateTime")] {
        let on = WindowOn::parse(word).unwrap();
        assert_eq!((on.as_str(), on.property()), (word, property));
    }
    for wrong in ["", "Updated", "updated ", "changed", "🧾"] {
        let error = WindowOn::parse(wrong).unwrap_err();
        assert_eq!(error.to_string(), format!("window_on is \"{wrong}\""));
        assert_eq!(error.detail().as_deref(), Some("It must be 'updated' or 'created'."));
    }
    let long = "x".repeat(10_000);
    assert!(WindowOn::parse(&long).unwrap_err().to_string().len() < 80);
}

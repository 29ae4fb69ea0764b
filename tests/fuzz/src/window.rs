//! What must hold of windows, whatever the days, the chunk and the clock.

use crate::numbers::Numbers;
use chrono::{DateTime, Days, FixedOffset, NaiveDate, TimeDelta, Utc};
use qbo_raw::domain::entity::Entity;
use qbo_raw::domain::page::{self, Row};
use qbo_raw::domain::query::Query;
use qbo_raw::domain::window::{Range, Window, WindowOn, listed};

/// What a run may have at most.
const MOST: i64 = 100_000;

/// Days of 1990 to 2044, or of the whole calendar.
fn day(numbers: &mut Numbers, anywhere: bool) -> NaiveDate {
    let number = numbers.next(4) as i32;
    let last = NaiveDate::MAX - Days::new(4);
    if anywhere {
        return NaiveDate::from_num_days_from_ce_opt(number).unwrap_or(last).min(last);
    }
    NaiveDate::from_ymd_opt(1990, 1, 1).expect("a day") + Days::new(u64::from(number.unsigned_abs() % 20_000))
}

/// A range is refused if, and only if, it is outside of what is written down; else its windows tile it exactly.
pub fn range(input: &[u8]) {
    let mut numbers = Numbers(input);
    let mode = numbers.next(1);
    let [start, end, today] = [1, 2, 4].map(|bit| day(&mut numbers, mode & bit != 0));
    let chunk = if mode & 8 != 0 { numbers.next(4) as i32 } else { numbers.next(1) as i32 };
    let earliest = NaiveDate::from_ymd_opt(1990, 1, 1).expect("a day");
    let days = (end - start).num_days() + 1;
    let latest = today + Days::new(2);
    let count =
        if chunk > 0 { days.div_euclid(chunk.into()) + i64::from(days % i64::from(chunk) != 0) } else { 0 };
    let good = start >= earliest && end <= latest && start <= end && chunk >= 1 && count <= MOST;
    let what = format!("{start} to {end} by {chunk} on {today}");
    match Range::new(start, end, chunk, today) {
        Err(error) => {
            assert!(!good, "{what}: {error}");
            assert!(error.to_string().len() < 200 && error.sqlstate() == "22023", "{what}: {error}");
        }
        Ok(range) => {
            assert!(good, "{what} was taken");
            assert_eq!(range.len() as i64, count, "{what}");
            let windows: Vec<Window> = range.windows().collect();
            tile(&windows, &range, days, chunk, &what);
            one_holds(&windows, &mut numbers, &what);
            bounds_are_written_exactly(&windows, &what);
        }
    }
    named(&mut numbers, today);
}

fn tile(windows: &[Window], range: &Range, days: i64, chunk: i32, what: &str) {
    assert_eq!(windows.len(), range.len(), "{what}");
    let whole = range.whole();
    assert_eq!((whole.end - whole.start).num_days(), days, "{what}");
    let mut at = whole.start;
    for (index, window) in windows.iter().enumerate() {
        assert_eq!(window.start, at, "{what}: window {index}");
        let long = (window.end - window.start).num_seconds();
        let full = i64::from(chunk) * 86_400;
        assert!(
            long == full || index + 1 == windows.len() && long > 0 && long < full,
            "{what}: window {index}"
        );
        assert_eq!(window.start.timestamp().rem_euclid(86_400), 0, "{what}: window {index}");
        at = window.end;
    }
    assert_eq!(at, whole.end, "{what}");
}

/// A record's time is written with the offset of its company; whatever that is, one window holds it.
fn one_holds(windows: &[Window], numbers: &mut Numbers, what: &str) {
    let (first, last) = (windows[0], windows[windows.len() - 1]);
    let seconds = (last.end - first.start).num_seconds() as u64;
    let offset = FixedOffset::east_opt((numbers.next(3) % 129_600) as i32 - 64_800).expect("within 18 hours");
    // Most mistakes are at a bound.
    let near = windows[numbers.next(4) as usize % windows.len()].start
        + TimeDelta::seconds(numbers.next(1) as i64 - 128);
    let anywhere = first.start + TimeDelta::seconds((numbers.next(8) % seconds) as i64);
    for moment in [near, anywhere] {
        let (from, to) = (moment >= first.start, moment < last.end);
        // A minute is what an offset has in text.
        let offset = FixedOffset::east_opt(offset.local_minus_utc() / 60 * 60).expect("within 18 hours");
        let Some(read) = read(&moment.with_timezone(&offset).to_rfc3339()) else { continue };
        assert_eq!(read, moment, "{what}");
        let behind = windows.partition_point(|window| window.end <= read);
        let holds = |window: &&Window| window.start <= read && read < window.end;
        let holding = windows[behind.saturating_sub(1)..].iter().take(3).filter(holds).count();
        assert_eq!(holding, usize::from(from && to), "{what}: {moment}");
    }
}

/// As a page's reader reads it; None beyond the years of four digits.
fn read(text: &str) -> Option<DateTime<Utc>> {
    let entity = Entity::find("invoices").ok()?;
    let body = format!(
        r#"{{"QueryResponse":{{"Invoice":[{{"Id":"1","MetaData":{{"LastUpdatedTime":"{text}"}}}}]}}}}"#
    );
    match page::read(entity, body.into_bytes()).ok()?.rows().first()? {
        Row::Record(record) => record.updated,
        Row::Unusable(_) => None,
    }
}

fn bounds_are_written_exactly(windows: &[Window], what: &str) {
    let Ok(entity) = Entity::find("invoices") else { return };
    for window in [windows[0], windows[windows.len() / 2], windows[windows.len() - 1]] {
        let statement = Query { entity, on: WindowOn::Updated, window }.count();
        let literals: Vec<&str> = statement.split('\'').skip(1).step_by(2).collect();
        for (text, bound) in literals.iter().zip([window.start, window.end]) {
            if text.len() == "2025-07-01T00:00:00+00:00".len() {
                let read = DateTime::parse_from_rfc3339(text).expect("a time").with_timezone(&Utc);
                assert_eq!(read, bound, "{what}: {statement}");
            }
        }
        assert_eq!(literals.len(), 2, "{what}: {statement}");
    }
}

/// Windows that are named one by one are taken as they are, in their order, or refused.
fn named(numbers: &mut Numbers, today: NaiveDate) {
    let mut given = Vec::new();
    for _ in 0..numbers.next(1) % 8 {
        let base = 631_152_000 + (numbers.next(4) as i64) % 1_800_000_000;
        let nanos = if numbers.next(1) == 255 { 1 } else { 0 };
        let start = DateTime::from_timestamp(base, nanos).expect("a time");
        let end = start + TimeDelta::seconds(numbers.next(3) as i64 - 64);
        given.push(Window { start, end });
    }
    let Ok(taken) = listed(given.clone(), today) else { return };
    given.sort();
    assert_eq!(taken, given);
    assert!(!taken.is_empty() && taken.iter().all(|window| window.start < window.end));
    assert!(taken.windows(2).all(|pair| pair[0].end <= pair[1].start), "{taken:?}");
    assert!(taken.iter().all(|window| window.start.timestamp_subsec_nanos() == 0), "{taken:?}");
}

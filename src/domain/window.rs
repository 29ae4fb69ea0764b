//! Windows: the range of a run cut into slices. A window is half-open, so that a record lies in exactly one; it begins and
//! ends at midnight UTC, so that neither the time zone of a session nor a change to summer time moves it.

use crate::error::{Error, Result};
use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};

/// `[start, end)`, whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Window {
    pub start: DateTime<Utc>,
    pub end: DateTime<Utc>,
}

/// Which time of a record decides in which window it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowOn {
    /// `MetaData.LastUpdatedTime`: what changed in the window.
    Updated,
    /// `MetaData.CreateTime`: what was created in it; never moves.
    Created,
}

impl WindowOn {
    /// From what a person types. Error: `Argument`.
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "updated" => Ok(WindowOn::Updated),
            "created" => Ok(WindowOn::Created),
            other => Err(Error::Argument {
                argument: "window_on",
                value: format!("\"{}\"", other.chars().take(40).collect::<String>()),
                expected: "'updated' or 'created'".to_owned(),
            }),
        }
    }

    /// As it is stored and typed.
    pub fn as_str(self) -> &'static str {
        match self {
            WindowOn::Updated => "updated",
            WindowOn::Created => "created",
        }
    }

    /// The property that QuickBooks filters and sorts by.
    pub fn property(self) -> &'static str {
        match self {
            WindowOn::Updated => "MetaData.LastUpdatedTime",
            WindowOn::Created => "MetaData.CreateTime",
        }
    }
}

/// The days of a run, both inclusive, with the length of its windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    first: NaiveDate,
    days: u64,
    chunk: u64,
}

/// QuickBooks has nothing older; a typing mistake in the year is found.
pub const EARLIEST: NaiveDate = match NaiveDate::from_ymd_opt(1990, 1, 1) {
    Some(day) => day,
    None => NaiveDate::MIN,
};

/// More windows than that are a mistake, or want a larger chunk.
const MOST_WINDOWS: u64 = 100_000;

impl Range {
    /// Checks the arguments of a run against `today`, the day in UTC. The end may lie up to two days ahead, so that a
    /// schedule in any time zone can say "today". Errors: `Argument`, `EndBeforeStart`, `TooManyWindows`.
    pub fn new(start: NaiveDate, end: NaiveDate, chunk_days: i32, today: NaiveDate) -> Result<Range> {
        let latest = today.checked_add_days(Days::new(2)).unwrap_or(today);
        for (argument, day) in [("start_date", start), ("end_date", end)] {
            if day < EARLIEST || day > latest {
                return Err(Error::Argument {
                    argument,
                    value: day.to_string(),
                    expected: format!("from {EARLIEST} to {latest}, two days from now"),
                });
            }
        }
        if end < start {
            return Err(Error::EndBeforeStart { start, end });
        }
        let chunk =
            u64::try_from(chunk_days).ok().filter(|chunk| *chunk >= 1).ok_or_else(|| Error::Argument {
                argument: "chunk_days",
                value: chunk_days.to_string(),
                expected: "1 or more".to_owned(),
            })?;
        let days = u64::try_from((end - start).num_days()).unwrap_or(0) + 1;
        let range = Range { first: start, days, chunk };
        let count = range.count();
        if count > MOST_WINDOWS {
            return Err(Error::TooManyWindows { count, limit: MOST_WINDOWS });
        }
        Ok(range)
    }

    /// How many windows there are; at least one.
    pub fn len(&self) -> usize {
        usize::try_from(self.count()).unwrap_or(usize::MAX)
    }

    /// A range always has a day.
    pub fn is_empty(&self) -> bool {
        false
    }

    fn count(&self) -> u64 {
        self.days.div_ceil(self.chunk)
    }

    /// The windows in the order of time: they touch, none overlaps, the last is shorter where the chunk does not fit.
    pub fn windows(&self) -> impl ExactSizeIterator<Item = Window> + '_ {
        (0..self.len()).map(|index| {
            let from = (index as u64).saturating_mul(self.chunk).min(self.days);
            let to = from.saturating_add(self.chunk).min(self.days);
            Window { start: self.midnight(from), end: self.midnight(to) }
        })
    }

    /// All of it as one window.
    pub fn whole(&self) -> Window {
        Window { start: self.midnight(0), end: self.midnight(self.days) }
    }

    fn midnight(&self, day: u64) -> DateTime<Utc> {
        let day = self.first.checked_add_days(Days::new(day)).unwrap_or(NaiveDate::MAX);
        day.and_time(NaiveTime::MIN).and_utc()
    }
}

/// Checks windows that were named one by one: each ends after it begins, none overlaps another, whole seconds, nothing
/// beyond what a range may reach. In the order of time. Errors: `Argument`, `TooManyWindows`.
pub fn listed(mut windows: Vec<Window>, today: NaiveDate) -> Result<Vec<Window>> {
    let wrong = |value: String, expected: &str| Error::Argument {
        argument: "windows",
        value,
        expected: expected.to_owned(),
    };
    windows.sort();
    let latest = today.checked_add_days(Days::new(3)).unwrap_or(today);
    let shown = |window: &Window| format!("[{}, {})", window.start.to_rfc3339(), window.end.to_rfc3339());
    for window in &windows {
        if window.end <= window.start {
            return Err(wrong(shown(window), "windows that end after they begin"));
        }
        if window.start.date_naive() < EARLIEST || window.end > latest.and_time(NaiveTime::MIN).and_utc() {
            return Err(wrong(shown(window), &format!("windows from {EARLIEST} to {latest}")));
        }
        if window.start.timestamp_subsec_nanos() != 0 || window.end.timestamp_subsec_nanos() != 0 {
            return Err(wrong(shown(window), "windows of whole seconds: QuickBooks knows no smaller ones"));
        }
    }
    if let Some([first, second]) = windows.windows(2).find_map(|pair| match pair {
        [first, second] if second.start < first.end => Some([first, second]),
        _ => None,
    }) {
        let both = format!("{} and {}", shown(first), shown(second));
        return Err(wrong(both, "windows that do not overlap"));
    }
    let count = windows.len() as u64;
    match count {
        0 => Err(wrong("empty".to_owned(), "one window at least")),
        1..=MOST_WINDOWS => Ok(windows),
        _ => Err(Error::TooManyWindows { count, limit: MOST_WINDOWS }),
    }
}

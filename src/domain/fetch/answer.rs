//! What the machine of a window makes of an answer, or of none.

use super::{Effect, Fetch, Guard, Kept, Lost, LostKind, Purpose, Reply, State, Tries};
use crate::domain::fault::{Failure, Fault, Remedy, Scope};
use crate::domain::page::{self, Page, PageError, Row};
use crate::domain::query::Slice;
use crate::domain::retry::{LONGEST_RETRY_AFTER, retry_after};
use chrono::{DateTime, Utc};
use std::time::Duration;

/// A certificate does not get better by asking: three tries in all.
const TLS_RETRIES: u32 = 2;

/// A run is put aside for a day at most, whatever is asked.
const LONGEST_PARK: Duration = Duration::from_secs(86_400);

/// So many records in a row that cannot be delivered are QuickBooks' fault, not theirs.
const MOST_POISONED: u32 = 20;

impl Fetch {
    pub(super) fn answer(&mut self, reply: Reply, now: DateTime<Utc>, jitter: f64) -> Vec<Effect> {
        self.tid = reply.intuit_tid.or_else(|| self.tid.take());
        let asked_to_wait = reply.retry_after.as_deref().and_then(|text| retry_after(text, now));
        if reply.status != 200 {
            let fault = Fault::read(reply.status, &reply.body);
            return self.fault(fault, asked_to_wait, jitter);
        }
        let error = match self.purpose {
            Purpose::Count => match page::read_count(reply.body) {
                Ok(count) => return self.counted(count),
                Err(error) => error,
            },
            Purpose::Rows { seam } => match page::read(self.query.entity, reply.body) {
                Ok(page) => return self.rows(page, seam),
                Err(error) => error,
            },
            Purpose::Guard { ending } => match page::read(self.query.entity, reply.body) {
                Ok(page) => return self.guarded(Some(&page), ending),
                Err(error) => error,
            },
        };
        match error {
            PageError::Fault(fault) => self.fault(fault, asked_to_wait, jitter),
            PageError::EmptyBody => {
                let failure = Failure::new(
                    "empty_body",
                    "08006",
                    "QuickBooks answered with status 200 and nothing in it",
                );
                self.again(jitter, false, failure.hint("Run it again later.").outage())
            }
            PageError::NotJson { start } => {
                self.fault(Fault::read(200, start.as_bytes()), asked_to_wait, jitter)
            }
            PageError::BadJson { message } => self.bad_json(
                Failure::new("bad_json", "38000", format!("the answer is broken JSON: {message}")),
                jitter,
            ),
            PageError::BadEncoding => {
                self.bad_json(Failure::new("bad_encoding", "38000", "the answer is not UTF-8"), jitter)
            }
            PageError::UnexpectedShape { what } => self.unexpected(&what),
        }
    }

    fn unexpected(&mut self, what: &str) -> Vec<Effect> {
        let message = format!("the answer does not look like a page of {}: {what}", self.query.entity.qbo);
        self.fail(Failure::new("unexpected_shape", "38000", message))
    }

    pub(super) fn lost(&mut self, lost: Lost, jitter: f64) -> Vec<Effect> {
        let failure = |word: &str, sqlstate| Failure::new(word, sqlstate, lost.message.clone()).outage();
        match lost.kind {
            LostKind::TooLarge => {
                let failure = Failure::new("body_too_large", "54000", lost.message.clone())
                    .hint("One record alone is larger than qbo_raw.max_body_size; raise it.");
                self.shrink(failure)
            }
            LostKind::Tls => {
                self.tries.tls += 1;
                let failure = failure("tls_error", "08001")
                    .hint("Is there a proxy that inspects TLS? Name its certificate authority in qbo_raw.ca_file.")
                    .scope(Scope::Run);
                if self.tries.tls > TLS_RETRIES { self.fail(failure) } else { self.again(jitter, false, failure) }
            }
            LostKind::Timeout => {
                self.size = (self.size / 2).max(1);
                let failure = failure("timeout", "08006").hint("QuickBooks is slow or the network is; see qbo_raw.request_timeout.");
                self.again(jitter, false, failure)
            }
            LostKind::Dns => self.again(jitter, false, failure("dns", "08001").hint("The name of QuickBooks' host cannot be resolved from the database server.")),
            LostKind::Connect => self.again(
                jitter,
                false,
                failure("connection_failed", "08001").hint("May the database server open connections to QuickBooks' hosts? A proxy is named in qbo_raw.proxy."),
            ),
            LostKind::Reset => self.again(jitter, false, failure("connection_reset", "08006").hint("The connection broke; run it again later.")),
            LostKind::Encoding => self.again(jitter, false, failure("bad_encoding", "08006").hint("Something on the way damages the answers.")),
            LostKind::Protocol => self.again(jitter, false, failure("bad_protocol", "08006").hint("Is what answers there really QuickBooks?")),
        }
    }

    /// Waits and sends the request again; the failure it is when the tries are spent.
    fn again(&mut self, jitter: f64, everyone: bool, failure: Failure) -> Vec<Effect> {
        match self.limits.backoff.wait(self.tries.retries, jitter) {
            None => self.fail(failure),
            Some(pause) => {
                self.tries.retries += 1;
                self.resize();
                self.wait(pause, everyone)
            }
        }
    }

    /// Broken JSON may be an accident once; twice it is what QuickBooks sends.
    fn bad_json(&mut self, failure: Failure, jitter: f64) -> Vec<Effect> {
        let failure = failure.hint(
            "QuickBooks, or something on the way, spoils this page. Try the window again later or with a smaller page_size; \
             Intuit's support asks for intuit_tid.",
        );
        self.tries.bad_json += 1;
        if self.tries.bad_json > 1 { self.fail(failure) } else { self.again(jitter, false, failure) }
    }

    fn fault(&mut self, fault: Fault, asked_to_wait: Option<Duration>, jitter: f64) -> Vec<Effect> {
        match fault.remedy() {
            Remedy::Throttle => self.asked(asked_to_wait, jitter, true, fault.failure()),
            Remedy::Retry => self.asked(asked_to_wait, jitter, asked_to_wait.is_some(), fault.failure()),
            Remedy::Shrink if fault.status == 504 => {
                self.size = (self.size / 2).max(1);
                self.again(jitter, false, fault.failure())
            }
            Remedy::Shrink => self.shrink(fault.failure()),
            Remedy::Bisect => {
                match self.purpose {
                    Purpose::Guard { ending } => return self.guarded(None, ending),
                    Purpose::Count => return self.again(jitter, false, fault.failure()),
                    Purpose::Rows { .. } => {}
                }
                // 10000 was seen to pass by itself; 4002 never.
                let may_wait = self.limits.backoff.wait(self.tries.retries, jitter).is_some();
                if fault.code.as_deref() == Some("10000")
                    && may_wait
                    && !std::mem::replace(&mut self.doubted, true)
                {
                    return self.again(jitter, false, fault.failure());
                }
                self.bisect(fault)
            }
            Remedy::Renew if self.tries.renewed => self.fail(fault.failure()),
            Remedy::Renew => {
                self.state = State::Renewing;
                vec![Effect::Renew]
            }
            Remedy::FailWindow | Remedy::StopRun => self.fail(fault.failure()),
        }
    }

    /// Obeys a Retry-After; without one the ordinary back-off holds. A long one puts the whole run aside.
    fn asked(
        &mut self,
        asked: Option<Duration>,
        jitter: f64,
        everyone: bool,
        failure: Failure,
    ) -> Vec<Effect> {
        match (asked, self.limits.backoff.wait(self.tries.retries, jitter)) {
            (Some(pause), _) if pause > LONGEST_RETRY_AFTER => {
                self.fail(failure.scope(Scope::Park(pause.min(LONGEST_PARK))))
            }
            // Never shorter than the back-off: five times "one second" would be over before the minute is.
            (Some(pause), Some(backoff)) => {
                self.tries.retries += 1;
                self.resize();
                self.wait(pause.max(backoff), everyone)
            }
            _ => self.again(jitter, everyone, failure),
        }
    }

    /// Whether the request under way is for one row that was not seen before, and nothing else.
    fn is_alone(&self) -> bool {
        self.slice.max_results == 1 && self.purpose == (Purpose::Rows { seam: false })
    }

    /// The page is too big: half of it, at once. One record that is too big alone is the end.
    fn shrink(&mut self, failure: Failure) -> Vec<Effect> {
        if self.is_alone() || matches!(self.purpose, Purpose::Guard { .. } | Purpose::Count) {
            return self.fail(failure);
        }
        if self.size == 1 {
            return self.ask_alone();
        }
        self.size /= 2;
        self.resize();
        self.send()
    }

    /// One row spoils the page: half of it, until the row stands alone and is known. Then the page size is what it was.
    fn bisect(&mut self, fault: Fault) -> Vec<Effect> {
        if !self.is_alone() {
            return self.shrink(fault.failure());
        }
        // One after the other is no record any more that spoils its page.
        self.poisoned_in_a_row += 1;
        if self.poisoned_in_a_row > MOST_POISONED {
            return self.fail(fault.failure());
        }
        let after = self.last.take();
        self.seen += 1;
        self.guards.push_back(Guard::Poison(self.seen));
        self.size = self.limits.page_size.clamp(1, crate::domain::query::MOST_RESULTS);
        self.tries = Tries::default();
        self.counters.rejected += 1;
        self.counters.records += 1;
        let mut effects =
            vec![Effect::Poison { number: self.counters.pages + 1, position: self.seen, fault, after }];
        effects.extend(self.ask_rows());
        effects
    }

    /// The request under way, with the page size of now.
    fn resize(&mut self) {
        if let Purpose::Rows { seam } = self.purpose {
            let most = if seam { self.size + 1 } else { self.size };
            self.slice.max_results = self.slice.max_results.min(most);
        }
    }

    fn rows(&mut self, mut page: Page, seam: bool) -> Vec<Effect> {
        self.tries = Tries::default();
        // Answers with a row more than asked were seen; nobody says whether it comes again, so it is asked for again.
        page.cut(self.slice.max_results as usize);
        let first = page.rows().first().and_then(Row::id).map(str::to_owned);
        if seam && first != self.last {
            if first.is_some() && first == self.first {
                let message = "QuickBooks answers with the first page again and again".to_owned();
                return self.fail(Failure::new("pagination_stuck", "38000", message));
            }
            return self.moved();
        }
        let skip = usize::from(seam);
        let fresh = page.len().saturating_sub(skip);
        if fresh == 0 && self.seen == 0 && page.claimed_total().is_some_and(|total| total > 0) {
            return self.unexpected("it says that there are records, and has none");
        }
        if fresh == 0 {
            return self.end();
        }
        let full = page.len() >= self.slice.max_results as usize;
        let claims_more =
            page.claimed_total().is_some_and(|total| total > u64::from(self.seen) + fresh as u64);

        self.poisoned_in_a_row = 0;
        self.counters.pages += 1;
        self.counters.records += fresh as u64;
        self.counters.rejected +=
            page.rows().iter().skip(skip).filter(|row| row.id().is_none()).count() as u64;
        self.seen = self.seen.saturating_add(u32::try_from(fresh).unwrap_or(u32::MAX));
        self.last = page.rows().last().and_then(Row::id).map(str::to_owned);
        let with_id =
            page.rows().iter().rev().zip(0..).find_map(|(row, back)| Some((back, row.id()?.to_owned())));
        if let Some((back, id)) = with_id {
            self.anchor = Some((self.seen.saturating_sub(back), id));
        }
        if self.first.is_none() {
            self.first = first;
        }
        let kept = Kept { page, skip, number: self.counters.pages, slice: self.slice };
        let mut effects = vec![Effect::Keep(kept)];
        // totalCount is not to be trusted; but as long as it claims more and more comes, looking once more settles it.
        if !(full || claims_more) {
            effects.extend(self.end());
        } else if self.counters.pages < self.limits.page_cap {
            effects.extend(self.go_on());
        } else {
            let message = format!("the window has more than {} pages", self.limits.page_cap);
            let failure = Failure::new("too_many_pages", "54000", message);
            effects.extend(self.fail(failure.hint("Choose a smaller chunk_days or a larger page_size.")));
        }
        effects
    }

    fn counted(&mut self, count: u64) -> Vec<Effect> {
        self.state = State::Over;
        vec![Effect::Counted(count, self.counters)]
    }

    fn go_on(&mut self) -> Vec<Effect> {
        self.ask_guard(false).unwrap_or_else(|| self.ask_rows())
    }

    fn end(&mut self) -> Vec<Effect> {
        self.ask_guard(true).unwrap_or_else(|| self.done())
    }

    /// Looks at the next guard, after the rows behind it came; None: there is none.
    fn ask_guard(&mut self, ending: bool) -> Option<Vec<Effect>> {
        let (Guard::Row(position, _) | Guard::Poison(position)) = self.guards.front()?;
        self.slice = Slice { start_position: *position, max_results: 1 };
        self.purpose = Purpose::Guard { ending };
        Some(self.send())
    }

    /// What stands at the guard's position now; None: a row that cannot be delivered.
    fn guarded(&mut self, page: Option<&Page>, ending: bool) -> Vec<Effect> {
        self.tries = Tries::default();
        let there = page.and_then(|page| page.rows().first()).and_then(Row::id);
        let stands = match (self.guards.pop_front(), page) {
            (Some(Guard::Row(_, id)), Some(_)) => there == Some(id.as_str()),
            (Some(Guard::Poison(_)), None) => true,
            _ => false,
        };
        match (stands, ending) {
            (false, _) => self.moved(),
            (true, true) => self.end(),
            (true, false) => self.go_on(),
        }
    }
}

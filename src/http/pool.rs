//! The fetch threads: each takes a window, drives its machine against QuickBooks, spools what comes, and hands the whole
//! window to the main thread through a channel.

use super::api;
use super::shared::{Nothing, Shared};
use super::spool::{Spool, Spooled};
use super::thread::{self, Wake};
use crate::domain::fault::{Counters, Failure};
use crate::domain::fetch::{Effect, Event, Fetch, Limits};
use crate::domain::pace::Pacer;
use crate::domain::secret::{Redactor, Secret};
use crate::domain::token::Token;
use chrono::{DateTime, Utc};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;
use ureq::Agent;

pub use super::shared::{Job, Task};

/// What the threads need to know.
pub struct Context {
    pub agent: Agent,
    pub api_base: String,
    pub realm: String,
    pub limits: Limits,
    /// After decompression, in bytes.
    pub max_body_size: u64,
    pub spool_dir: PathBuf,
    /// Secrets that must not stand in a message.
    pub secrets: Vec<Secret>,
    /// Requests that may still be sent this month.
    pub allowance: u64,
    pub wake: Wake,
}

/// What a thread tells the main thread.
pub enum Message {
    /// Another token is wanted than the one of this generation.
    TokenWanted { generation: Option<u64> },
    /// The first page of all came.
    Answered,
    /// A window came whole.
    Fetched {
        job: Job,
        spool: Spooled,
        counters: Counters,
        intuit_tid: Option<String>,
        /// By QuickBooks' clock, where ours is ahead.
        started_at: DateTime<Utc>,
    },
    /// A window was counted.
    Counted { job: Job, count: u64, counters: Counters },
    /// What was to be done could not be.
    Failed { job: Job, failure: Failure, started_at: DateTime<Utc> },
}

/// The threads of one run. Dropped or stopped, they end by themselves, and what they still say is heard by nobody.
pub struct Pool {
    shared: Arc<Shared>,
    messages: Receiver<Message>,
    agent: Agent,
}

impl Pool {
    /// Starts threads that have at most `at_once` requests under way and keep this pace, after what was sent in the last
    /// minute. There are half as many threads more, so that others ask while some read what came. Fewer, where the system
    /// gives no more; an error when there is none at all.
    pub fn start(
        at_once: usize,
        context: Context,
        pacer: Pacer,
        recent: &[u32; 60],
    ) -> std::io::Result<Pool> {
        let at_once = at_once.max(1);
        let shared = Arc::new(Shared::new(pacer, recent, context.allowance, at_once));
        let agent = context.agent.clone();
        let context = Arc::new(context);
        let (sender, messages) = channel();
        for number in 0..at_once + at_once.div_ceil(2) {
            let lane = Lane { shared: shared.clone(), context: context.clone(), sender: sender.clone() };
            match thread::spawn("qbo_raw fetch", move || lane.work()) {
                Err(error) if number == 0 => return Err(error),
                Err(_) => break,
                Ok(()) => {}
            }
        }
        Ok(Pool { shared, messages, agent })
    }

    /// Hands a window to the threads.
    pub fn submit(&self, job: Job) {
        self.shared.add(job);
    }

    /// The next message, if there is one.
    pub fn try_recv(&self) -> Option<Message> {
        self.messages.try_recv().ok()
    }

    /// Gives the threads a token.
    pub fn give_token(&self, token: Token) {
        self.shared.give_token(token);
    }

    /// Tells them that there is none to be had: what they fetch fails.
    pub fn no_token(&self, failure: Failure) {
        self.shared.no_token(failure);
    }

    /// Seconds by which our clock is ahead of QuickBooks', by the last answer.
    pub fn clock_ahead(&self) -> Option<i64> {
        self.shared.clock_ahead()
    }

    /// Ends every wait and every request under way, and lets no other begin; nobody is waited for.
    pub fn stop(&self) {
        self.stopper()();
    }

    /// What stops it, for whoever cannot keep the pool itself.
    pub fn stopper(&self) -> impl Fn() + 'static {
        let (shared, agent) = (self.shared.clone(), self.agent.clone());
        move || {
            shared.stop();
            agent.clone().shutdown();
        }
    }

    /// Requests sent so far.
    pub fn sent(&self) -> u64 {
        self.shared.sent()
    }

    /// Requests of the last minute by second, newest first.
    pub fn recent(&self) -> [u32; 60] {
        self.shared.recent()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Lane {
    shared: Arc<Shared>,
    context: Arc<Context>,
    sender: Sender<Message>,
}

impl Lane {
    fn work(&self) {
        while let Some(job) = self.shared.take() {
            let began = Instant::now();
            let message = catch_unwind(AssertUnwindSafe(|| {
                point!("window@taken");
                let message = self.window(job, began);
                point!("window@fetched");
                message
            }));
            let panicked = |_| {
                let started_at = self.shared.moment(began);
                Some(Message::Failed { job, failure: panicked(), started_at })
            };
            match message.unwrap_or_else(panicked) {
                Some(message) => self.tell(message),
                None => return,
            }
        }
    }

    fn tell(&self, message: Message) {
        // When nobody listens the pool is gone, and `take` says so next.
        if self.sender.send(message).is_ok() {
            (self.context.wake)();
        }
    }

    /// Fetches one window. None: stopped.
    fn window(&self, job: Job, began: Instant) -> Option<Message> {
        let context = &self.context;
        let mut machine = match job.task {
            Task::Fetch => Fetch::new(job.query, context.limits),
            Task::Count => Fetch::count(job.query, context.limits),
        };
        let mut spool = Spool::new(context.spool_dir.clone());
        // The token last used.
        let mut used: Option<(u64, Secret)> = None;
        let mut effects: VecDeque<Effect> = machine.step(Event::Start, Utc::now(), fastrand::f64()).into();
        let failed = |failure: Failure, used: &Option<(u64, Secret)>| {
            let failure = self.redacted(failure, used);
            Some(Message::Failed { job, failure, started_at: self.shared.moment(began) })
        };
        while let Some(effect) = effects.pop_front() {
            let event = match effect {
                Effect::Keep(kept) => match spool.push(&kept, &job.query.page(kept.slice)) {
                    Ok(()) => {
                        point!("page@kept");
                        if self.shared.prove() {
                            self.tell(Message::Answered);
                        }
                        continue;
                    }
                    Err(error) => return failed(no_spool(&error), &used),
                },
                Effect::Poison { number, position, fault, after } => {
                    let reason = poisoned(position, &fault.failure(), after.as_deref());
                    let reason = self.redactor(&used).scrub(&reason);
                    match spool.push_poison(number, &job.query.page(alone(position)), &reason) {
                        Ok(()) => continue,
                        Err(error) => return failed(no_spool(&error), &used),
                    }
                }
                Effect::Restart => {
                    spool.restart();
                    continue;
                }
                Effect::Done(counters) => {
                    let intuit_tid = machine.intuit_tid().map(str::to_owned);
                    let spool = match spool.finish() {
                        Ok(spool) => spool,
                        Err(error) => return failed(no_spool(&error), &used),
                    };
                    let started_at = self.shared.moment(began);
                    return Some(Message::Fetched { job, spool, counters, intuit_tid, started_at });
                }
                Effect::Counted(count, counters) => {
                    return Some(Message::Counted { job, count, counters });
                }
                Effect::Failed(failure) => return failed(failure, &used),
                Effect::Wait { for_, everyone } => {
                    if !self.shared.sleep(for_, everyone) {
                        return None;
                    }
                    Event::Waited
                }
                Effect::Renew => {
                    if let Some((generation, _)) = &used {
                        self.shared.refuse(*generation);
                    }
                    Event::Token
                }
                Effect::Send(slice) => {
                    point!("request@waiting");
                    let want = |generation| self.tell(Message::TokenWanted { generation });
                    let leave = match self.shared.leave(want) {
                        Ok(leave) => leave,
                        Err(Nothing::Stopped) => return None,
                        Err(Nothing::Refused(failure)) => return failed(*failure, &used),
                    };
                    point!("request@leaving");
                    let statement = machine.statement(slice);
                    let answer = api::query(
                        &context.agent,
                        &context.api_base,
                        &context.realm,
                        &leave.token,
                        &statement,
                        context.max_body_size,
                    );
                    // Whoever waits for this place shall not go with the same token; what other answers say of it the
                    // machine finds out when it has read them.
                    if answer.as_ref().is_ok_and(|reply| reply.status == 401) {
                        self.shared.refuse(leave.generation);
                    }
                    used = Some((leave.generation, leave.token.clone()));
                    drop(leave);
                    point!("request@answered");
                    if self.shared.is_stopped() {
                        return None;
                    }
                    match answer {
                        Ok(reply) => {
                            reply.date.iter().for_each(|date| self.shared.dated(date));
                            Event::Answer(reply)
                        }
                        Err(lost) => Event::Lost(lost),
                    }
                }
            };
            effects.extend(machine.step(event, Utc::now(), fastrand::f64()));
        }
        failed(Failure::new("internal", "XX000", "the window's machine has nothing to do"), &used)
    }

    fn redactor(&self, used: &Option<(u64, Secret)>) -> Redactor {
        let known: Vec<&Secret> =
            self.context.secrets.iter().chain(used.as_ref().map(|(_, token)| token)).collect();
        Redactor::new(&known)
    }

    /// Faults are other people's text, and the gateway repeats the token in it.
    fn redacted(&self, failure: Failure, used: &Option<(u64, Secret)>) -> Failure {
        let redactor = self.redactor(used);
        Failure { message: redactor.scrub(&failure.message), ..failure }
    }
}

/// What it said may hold anything, and stands in the log.
fn panicked() -> Failure {
    Failure::new("internal", "XX000", "a fetch thread panicked")
        .hint("The server log says where. To try again: SELECT raw.qb_resume(run_id);")
}

fn alone(position: u32) -> crate::domain::query::Slice {
    crate::domain::query::Slice { start_position: position, max_results: 1 }
}

fn poisoned(position: u32, failure: &Failure, after: Option<&str>) -> String {
    let place = match after {
        Some(id) => format!("the record at position {position} of the window, after Id {id}"),
        None => format!("the record at position {position} of the window"),
    };
    format!("QuickBooks cannot deliver {place}: {}", failure.message)
}

fn no_spool(error: &std::io::Error) -> Failure {
    Failure::new("spool_failed", "58030", format!("the window's temporary file failed: {error}"))
        .hint("Is there room on the disk of the data directory?")
}

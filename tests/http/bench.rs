//! A bench: a simulator, a pool against it, and an owner who renews tokens and collects what comes.

use chrono::{DateTime, Days, TimeZone, Utc};
use qbo_raw::domain::entity::Entity;
use qbo_raw::domain::fault::{Counters, Failure};
use qbo_raw::domain::fetch::{Limits, Lost, Reply};
use qbo_raw::domain::pace::Pacer;
use qbo_raw::domain::query::Query;
use qbo_raw::domain::retry::Backoff;
use qbo_raw::domain::secret::Secret;
use qbo_raw::domain::token::{Token, TokenAnswer};
use qbo_raw::domain::window::{Window, WindowOn};
use qbo_raw::http::agent::{self, Environment, Hosts, Settings};
use qbo_raw::http::pool::{Context, Job, Message, Pool, Task};
use qbo_raw::http::spool::Batch;
use qbo_raw::http::{api, oauth};
use qbo_sim::{Options, Sim};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use ureq::Agent;

pub const REALM: &str = "4620816365002384750";

/// Longest any test waits for anything.
pub const LONG: Duration = Duration::from_secs(30);

/// For what ends by a limit of a second at most, on a busy machine too; what ends by another limit takes `LONG` or for ever.
pub const SOON: Duration = Duration::from_secs(10);

/// Settings with short times.
pub fn settings() -> Settings {
    Settings {
        ca_file: None,
        proxy: None,
        connect_timeout: Duration::from_secs(5),
        request_timeout: Duration::from_secs(10),
        max_body_size: 16 << 20,
    }
}

/// An agent for a server at `url`, and its hosts.
pub fn agent_for(url: &str, settings: &Settings) -> (Agent, Hosts) {
    let hosts = Hosts::new(Environment::Production, Some(url), Some(url)).unwrap();
    (agent::agent(settings, &hosts).unwrap(), hosts)
}

/// Whether a wait was as long as it should be. The system counts whole milliseconds and may leave out the one that has begun.
pub fn lasted(took: Duration, at_least: Duration) -> bool {
    took + Duration::from_millis(1) >= at_least
}

/// One request to a server at `url`, with any token.
pub fn ask(url: &str, settings: &Settings) -> Result<Reply, Lost> {
    let (agent, hosts) = agent_for(url, settings);
    let token = Secret::new("a-token");
    api::query(&agent, &hosts.api, REALM, &token, "SELECT * FROM Invoice", settings.max_body_size)
}

/// The first day of the simulator's data.
pub fn first_day() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2025, 7, 1, 0, 0, 0).unwrap()
}

/// So many windows of so many days each, from the first day on.
pub fn windows(count: u64, days: u64) -> Vec<Window> {
    let day = |n: u64| first_day().checked_add_days(Days::new(n)).unwrap();
    (0..count).map(|n| Window { start: day(n * days), end: day((n + 1) * days) }).collect()
}

/// How a pool is set up.
pub struct Setup {
    pub lanes: usize,
    pub settings: Settings,
    pub page_size: u32,
    pub backoff: Backoff,
    pub pace: (u32, u32),
    pub recent: [u32; 60],
    /// Whether the owner answers wishes for a token.
    pub renews: bool,
    pub spool_dir: PathBuf,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            lanes: 4,
            settings: settings(),
            page_size: 100,
            backoff: Backoff { retries: 3, base: Duration::from_millis(20) },
            pace: (1_000_000, 100_000),
            recent: [0; 60],
            renews: true,
            spool_dir: std::env::temp_dir(),
        }
    }
}

/// What became of a window.
pub enum Outcome {
    Fetched { batches: Vec<Batch>, counters: Counters },
    Failed(Failure),
}

impl Outcome {
    pub fn batches(&self) -> &[Batch] {
        match self {
            Outcome::Fetched { batches, .. } => batches,
            Outcome::Failed(failure) => panic!("the window failed: {failure:?}"),
        }
    }

    pub fn failure(&self) -> &Failure {
        match self {
            Outcome::Failed(failure) => failure,
            Outcome::Fetched { counters, .. } => panic!("the window was fetched: {counters:?}"),
        }
    }

    /// All Ids, sorted.
    pub fn ids(&self) -> Vec<String> {
        let mut ids = self.places();
        ids.sort_unstable();
        ids
    }

    /// The Ids as the pages came; within a page a spool sorts them.
    pub fn places(&self) -> Vec<String> {
        self.batches().iter().flat_map(|batch| batch.ids.iter().map(str::to_owned)).collect()
    }
}

/// A pool at work.
pub struct Bench {
    pub pool: Pool,
    /// Every wish for a token, in order.
    pub wanted: Vec<Option<u64>>,
    /// Alive as long as a thread of the pool is.
    pub threads: Weak<dyn Fn() + Send + Sync>,
    pub woken: Receiver<()>,
    agent: Agent,
    hosts: Hosts,
    credentials: (String, Secret, Secret),
    generation: u64,
    renews: bool,
}

impl Bench {
    pub fn start(sim: &Sim, setup: Setup) -> Bench {
        Bench::at(sim.url(), Some(sim), setup)
    }

    /// A pool against a server at `url`; the owner renews only with a simulator.
    pub fn at(url: &str, sim: Option<&Sim>, setup: Setup) -> Bench {
        let (agent, hosts) = agent_for(url, &setup.settings);
        let (wake, woken) = channel();
        let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(move || {
            let _ = wake.send(());
        });
        let threads = Arc::downgrade(&wake);
        let (_, id, secret, refresh) = sim.map(Sim::credentials).unwrap_or_default();
        let context = Context {
            agent: agent.clone(),
            api_base: hosts.api.clone(),
            realm: REALM.to_owned(),
            limits: Limits {
                page_size: setup.page_size,
                backoff: setup.backoff,
                page_cap: 10_000,
                rereads: 3,
            },
            max_body_size: setup.settings.max_body_size,
            spool_dir: setup.spool_dir,
            secrets: vec![Secret::new(secret.as_str())],
            allowance: u64::MAX,
            wake,
        };
        let pacer = Pacer::new(setup.pace.0, setup.pace.1);
        let pool = Pool::start(setup.lanes, context, pacer, &setup.recent).unwrap();
        let credentials = (id, Secret::new(secret), Secret::new(refresh));
        let (wanted, generation, renews) = (Vec::new(), 0, setup.renews);
        Bench { pool, wanted, threads, woken, agent, hosts, credentials, generation, renews }
    }

    /// Hands these windows over.
    pub fn submit(&self, windows: &[Window]) {
        self.hand_over(windows, Task::Fetch);
    }

    fn hand_over(&self, windows: &[Window], task: Task) {
        let entity = Entity::find("invoices").unwrap();
        for (index, window) in windows.iter().enumerate() {
            let query = Query { entity, on: WindowOn::Updated, window: *window };
            self.pool.submit(Job { index, query, task });
        }
    }

    /// How many records each of these windows has, by QuickBooks' own count.
    pub fn count(&mut self, windows: &[Window]) -> BTreeMap<usize, u64> {
        self.hand_over(windows, Task::Count);
        let mut counts = BTreeMap::new();
        while counts.len() < windows.len() {
            match self.next(LONG).expect("a count hangs") {
                Message::TokenWanted { .. } => {
                    let token = self.renew();
                    self.pool.give_token(token);
                }
                Message::Counted { job, count, counters } => {
                    assert_eq!(counters, Counters { requests: 1, ..Counters::default() });
                    assert!(counts.insert(job.index, count).is_none());
                }
                _ => panic!("nothing was to be fetched"),
            }
        }
        counts
    }

    /// The next message, waited for.
    pub fn next(&self, within: Duration) -> Option<Message> {
        let until = Instant::now() + within;
        loop {
            if let Some(message) = self.pool.try_recv() {
                return Some(message);
            }
            let left = until.checked_duration_since(Instant::now())?;
            let _ = self.woken.recv_timeout(left);
        }
    }

    /// A token of the next generation.
    pub fn renew(&mut self) -> Token {
        let (id, secret, refresh) = &self.credentials;
        match oauth::refresh(&self.agent, &self.hosts.oauth, id, secret, refresh) {
            TokenAnswer::Granted(grant) => {
                self.generation += 1;
                Token { generation: self.generation, access: grant.access, valid_for: grant.expires_in }
            }
            other => panic!("no token: {other:?}"),
        }
    }

    /// Fetches these windows to the end.
    pub fn fetch(&mut self, windows: &[Window]) -> BTreeMap<usize, Outcome> {
        self.submit(windows);
        self.collect(windows.len())
    }

    /// Hears messages until so many windows have come to an end.
    pub fn collect(&mut self, count: usize) -> BTreeMap<usize, Outcome> {
        let mut outcomes = BTreeMap::new();
        while outcomes.len() < count {
            match self.next(LONG).expect("a window hangs") {
                Message::TokenWanted { generation } => {
                    self.wanted.push(generation);
                    if self.renews {
                        let token = self.renew();
                        self.pool.give_token(token);
                    }
                }
                Message::Counted { .. } => panic!("nothing was to be counted"),
                Message::Answered => {}
                Message::Fetched { job, mut spool, counters, .. } => {
                    let batches = spool.batches().unwrap().collect::<Result<Vec<_>, _>>().unwrap();
                    assert!(outcomes.insert(job.index, Outcome::Fetched { batches, counters }).is_none());
                }
                Message::Failed { job, failure, .. } => {
                    assert!(outcomes.insert(job.index, Outcome::Failed(failure)).is_none());
                }
            }
        }
        outcomes
    }
}

/// A simulator with its defaults, changed.
pub fn simulator(change: impl FnOnce(&mut Options)) -> Sim {
    let mut options = Options::default();
    change(&mut options);
    Sim::start(options).unwrap()
}

/// Waits until something holds; how long it took.
pub fn until(what: &str, holds: impl Fn() -> bool) -> Duration {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < LONG, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
    start.elapsed()
}

//! A simulator of QuickBooks Online, as a real HTTP server: the query API, OAuth2, the limits, and faults on demand. It
//! speaks what Intuit documents and what was recorded, and nothing more convenient. It keeps the truth: every record and its
//! older versions, every request, every token; so a test can prove that nothing was lost.

mod company;
mod control;
mod entity;
mod fault;
mod filter;
mod limits;
mod oauth;
mod query;
mod record;
mod server;
mod state;
mod time;
mod tls;
mod wire;

pub use company::Replaced;
pub use fault::{Fault, When};
pub use limits::Rate;
pub use oauth::{TokenEvent, TokenMode};
pub use state::{Action, Logged};

use chrono::{DateTime, TimeZone, Utc};
use company::Company;
use limits::Limits;
use oauth::Tokens;
use server::Server;
use state::{Rule, State};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How the simulator is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// The same seed gives the same company.
    pub seed: u64,
    /// Address to listen on.
    pub host: String,
    /// 0 = any free port.
    pub port: u16,
    pub tls: bool,
    pub realm: String,
    pub client_id: String,
    pub client_secret: String,
    /// The first refresh token; None = one is made.
    pub refresh_token: Option<String>,
    /// QuickBooks' name of an entity, and how many records of it there are.
    pub counts: Vec<(String, u64)>,
    /// The records were last changed in this span.
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    pub tokens: TokenMode,
    pub access_token_ttl: Duration,
    /// None = limits are not enforced.
    pub rate: Option<Rate>,
    /// Added to every answer.
    pub latency: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let day = |month, day| Utc.with_ymd_and_hms(2025, month, day, 0, 0, 0).single().unwrap_or_default();
        Options {
            seed: 42,
            host: "127.0.0.1".to_owned(),
            port: 0,
            tls: false,
            realm: "4620816365002384750".to_owned(),
            client_id: "ABsimulatedClientId".to_owned(),
            client_secret: "simulatedClientSecret0123456789".to_owned(),
            refresh_token: None,
            counts: [("Invoice", 500), ("Customer", 60), ("Item", 40)]
                .map(|(name, count)| (name.to_owned(), count))
                .to_vec(),
            from: day(7, 1),
            to: day(9, 30),
            tokens: TokenMode::Lazy,
            access_token_ttl: Duration::from_secs(3_600),
            rate: None,
            latency: Duration::ZERO,
        }
    }
}

/// A running simulator; it ends when this is dropped.
pub struct Sim {
    server: Arc<Server>,
    url: String,
    address: String,
}

impl Sim {
    /// Starts one.
    pub fn start(options: Options) -> std::io::Result<Sim> {
        let listener = TcpListener::bind((options.host.as_str(), options.port))?;
        let port = listener.local_addr()?.port();
        let identity = if options.tls { Some(tls::make()?) } else { None };
        let span = (options.from.timestamp(), options.to.timestamp());
        let state = State {
            company: Company::new(options.seed, &options.counts, span),
            tokens: Tokens::new(
                options.seed,
                options.tokens,
                options.access_token_ttl,
                options.refresh_token,
            ),
            realm: options.realm,
            client_id: options.client_id,
            client_secret: options.client_secret,
            limits: options.rate.map(Limits::new),
            rules: Vec::new(),
            actions: Vec::new(),
            log: Vec::new(),
            requests: 0,
            token_requests: 0,
            latency: options.latency,
        };
        let server = Arc::new(Server { state: Mutex::new(state), stop: AtomicBool::new(false), identity });
        let serving = server.clone();
        std::thread::spawn(move || serving.serve(listener));
        let scheme = if options.tls { "https" } else { "http" };
        let address = format!("{}:{port}", options.host);
        let shown = if options.host == "0.0.0.0" { format!("127.0.0.1:{port}") } else { address };
        Ok(Sim { server, url: format!("{scheme}://{shown}"), address: shown })
    }

    /// Where the API is; the OAuth service is at the same place.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The certificate authority to trust, with TLS.
    pub fn ca_file(&self) -> Option<&Path> {
        self.server.identity.as_ref().map(|identity| identity.ca_file.as_path())
    }

    /// Realm, client id, client secret and the newest refresh token.
    pub fn credentials(&self) -> (String, String, String, String) {
        let state = self.server.lock();
        (
            state.realm.clone(),
            state.client_id.clone(),
            state.client_secret.clone(),
            state.tokens.current().to_owned(),
        )
    }

    /// API requests so far.
    pub fn request_count(&self) -> u64 {
        self.server.lock().requests
    }

    /// Requests to the token endpoint so far.
    pub fn token_requests(&self) -> u64 {
        self.server.lock().token_requests
    }

    /// The API requests that were answered.
    pub fn requests(&self) -> Vec<Logged> {
        self.server.lock().log.clone()
    }

    /// What happened to the tokens.
    pub fn token_log(&self) -> Vec<TokenEvent> {
        self.server.lock().tokens.log().to_vec()
    }

    /// Every access token runs out now.
    pub fn expire_access_tokens(&self) {
        self.server.lock().tokens.expire_access();
    }

    /// The next redemption gives a new refresh token.
    pub fn rotate_next(&self) {
        self.server.lock().tokens.rotate_next();
    }

    /// Every token is void.
    pub fn revoke_tokens(&self) {
        self.server.lock().tokens.revoke();
    }

    /// How many records of an entity there are, inactive ones included.
    pub fn count(&self, entity: &str) -> usize {
        self.server.lock().company.count(entity)
    }

    /// Ids of an entity, by last change.
    pub fn ids(&self, entity: &str) -> Vec<String> {
        self.server.lock().company.ids(entity).iter().map(u64::to_string).collect()
    }

    /// A record as it is now.
    pub fn record(&self, entity: &str, id: &str) -> Option<String> {
        self.server.lock().company.json(entity, id.parse().ok()?)
    }

    /// Versions that were replaced.
    pub fn history(&self) -> Vec<Replaced> {
        self.server.lock().company.history().to_vec()
    }

    /// Changes a fraction of the records now, evenly spread; their ids.
    pub fn change(&self, entity: &str, fraction: f64) -> Vec<String> {
        control::change(&mut self.server.lock(), entity, fraction).iter().map(u64::to_string).collect()
    }

    /// Makes a change now.
    pub fn act(&self, action: Action) {
        let mut state = self.server.lock();
        let now = u64::MAX;
        state.actions.push((now, action));
        state.act(now);
        state.actions.retain(|(at, _)| *at != now);
    }

    /// Makes a change right before the n-th API request is answered.
    pub fn act_before(&self, n: u64, action: Action) {
        self.server.lock().actions.push((n, action));
    }

    /// Moves the last change of a record to this moment.
    pub fn set_updated(&self, entity: &str, id: &str, at: DateTime<Utc>) -> bool {
        id.parse().is_ok_and(|id| self.server.lock().company.set_updated(entity, id, at.timestamp()))
    }

    /// From now on this exact text is served for a record.
    pub fn patch(&self, entity: &str, id: &str, json: &str) {
        if let Ok(id) = id.parse() {
            self.server.lock().company.patch(entity, id, json.to_owned());
        }
    }

    /// A fault that strikes every time.
    pub fn fault(&self, when: When, fault: Fault) {
        self.fault_times(when, fault, u32::MAX);
    }

    /// A fault that strikes so often.
    pub fn fault_times(&self, when: When, fault: Fault, times: u32) {
        self.server.lock().rules.push(Rule { when, fault, left: times });
    }

    /// No more faults.
    pub fn clear_faults(&self) {
        self.server.lock().rules.clear();
    }

    /// Added to every answer from now on.
    pub fn set_latency(&self, latency: Duration) {
        self.server.lock().latency = latency;
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.server.stop.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(&self.address);
        if let Some(identity) = &self.server.identity {
            let _ = std::fs::remove_file(&identity.ca_file);
        }
    }
}

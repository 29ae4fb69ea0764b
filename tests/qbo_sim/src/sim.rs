//! A running simulator, and what can be asked of it and done to it.

use crate::company::{Company, Row};
use crate::fault::{Fault, When};
use crate::http::{Identity, Server};
use crate::limits::Limits;
use crate::options::Options;
use crate::service::{Action, RecordVersion, Request, State, TokenEvent, Tokens};
use chrono::{DateTime, Utc};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// A running simulator; it ends when this is dropped.
pub struct Sim {
    server: Arc<Server>,
    accepting: Option<JoinHandle<()>>,
    address: SocketAddr,
    url: String,
}

impl Sim {
    /// Starts one.
    pub fn start(options: Options) -> std::io::Result<Sim> {
        let listener = TcpListener::bind((options.host.as_str(), options.port))?;
        let mut address = listener.local_addr()?;
        // What is reached at every address is reached at this one.
        if address.ip().is_unspecified() {
            address.set_ip(if address.is_ipv6() {
                [0, 0, 0, 0, 0, 0, 0, 1].into()
            } else {
                [127, 0, 0, 1].into()
            });
        }
        let identity =
            options.tls.then(|| Identity::new(options.certificate, options.handshake_stall)).transpose()?;
        let url = format!("{}://{address}", if options.tls { "https" } else { "http" });
        let server = Arc::new(Server::new(state(options), identity));
        let serving = server.clone();
        let accepting = std::thread::Builder::new()
            .name("qbo_sim accept".to_owned())
            .spawn(move || serving.serve(&listener))?;
        Ok(Sim { server, accepting: Some(accepting), address, url })
    }

    /// Where the API and the OAuth service are: both at one place.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Lets the company of `other` be reached here as well, as all companies are at Intuit's; faults and limits stay its own.
    pub fn add_company(&self, other: &Sim) {
        self.server.add_neighbour(other.server.clone());
    }

    /// The certificate authority to trust, with TLS.
    pub fn ca_file(&self) -> Option<&Path> {
        self.server.identity().map(|identity| identity.ca_file.as_path())
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

    /// API requests so far, faulted ones included.
    pub fn request_count(&self) -> u64 {
        self.server.lock().requests
    }

    /// The API requests that arrived, in their order.
    pub fn requests(&self) -> Vec<Request> {
        self.server.lock().log.clone()
    }

    /// Those after the first `seen`, but for what was abandoned: its client was gone already when it was read.
    pub fn requests_after(&self, seen: u64) -> Vec<Request> {
        let mut later = self.requests();
        later.retain(|request| request.n > seen && !request.abandoned);
        later
    }

    /// Forgets the requests; their numbers go on.
    pub fn clear_log(&self) {
        self.server.lock().log.clear();
    }

    /// Requests that the token endpoint answered itself.
    pub fn token_requests(&self) -> u64 {
        self.server.lock().token_requests
    }

    /// Requests that arrived at the token endpoint, those that a fault struck included.
    pub fn token_calls(&self) -> u64 {
        self.server.lock().token_calls
    }

    /// What happened to the tokens.
    pub fn token_log(&self) -> Vec<TokenEvent> {
        self.server.lock().tokens.log.clone()
    }

    /// How often a refresh token was redeemed.
    pub fn redemptions(&self) -> usize {
        self.server.lock().tokens.log.iter().filter(|event| matches!(event, TokenEvent::Redeemed(_))).count()
    }

    /// Every access token runs out now.
    pub fn expire_access_tokens(&self) {
        self.server.lock().tokens.expire_access();
    }

    /// The next redemption gives a new refresh token, as the first one of a day does.
    pub fn rotate_next(&self) {
        self.server.lock().tokens.rotate_next();
    }

    /// The app has another secret from now on.
    pub fn set_client_secret(&self, secret: &str) {
        self.server.lock().client_secret = secret.to_owned();
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
        let state = self.server.lock();
        let Some((found, _)) = state.company.table(entity) else { return Vec::new() };
        state.company.numbers(entity).into_iter().map(|number| found.id(number)).collect()
    }

    /// A record as it is now.
    pub fn record(&self, entity: &str, id: &str) -> Option<String> {
        let row = self.server.lock().company.row(entity, id);
        row.map(|row| row.json())
    }

    /// All records of an entity as they are now, with their ids, by last change. They are rendered one by one.
    pub fn records(&self, entity: &str) -> Box<dyn Iterator<Item = (String, String)>> {
        let state = self.server.lock();
        let numbers = state.company.numbers(entity);
        let Some((_, table)) = state.company.table(entity) else { return Box::new(std::iter::empty()) };
        let rows: Vec<Row> = numbers.into_iter().filter_map(|number| table.row(number)).collect();
        Box::new(rows.into_iter().map(|row| (row.id(), row.json())))
    }

    /// The states that a record had, oldest first, with the first API request that could see each.
    pub fn versions(&self, entity: &str, id: &str) -> Vec<RecordVersion> {
        let state = self.server.lock();
        let Some((found, table)) = state.company.table(entity) else { return Vec::new() };
        let history = found.number(id).map(|number| table.history(number)).unwrap_or_default();
        let version = |(from_request, row): (u64, Option<Row>)| RecordVersion {
            from_request,
            json: row.map(|row| row.json()),
        };
        history.into_iter().map(version).collect()
    }

    /// Ids of the records that were changed, added or deleted since the start.
    pub fn touched(&self, entity: &str) -> Vec<String> {
        let state = self.server.lock();
        let Some((found, table)) = state.company.table(entity) else { return Vec::new() };
        table.touched().into_iter().map(|number| found.id(number)).collect()
    }

    /// Changes a fraction of the records now, evenly spread; their ids.
    pub fn change(&self, entity: &str, fraction: f64) -> Vec<String> {
        self.server.lock().change(entity, fraction)
    }

    /// Makes a change now; the id of its record. None: there was nothing to change.
    pub fn act(&self, action: Action) -> Option<String> {
        let mut state = self.server.lock();
        let next = state.requests + 1;
        state.perform(&action, next)
    }

    /// Makes a change right before the n-th API request is answered.
    pub fn act_before(&self, n: u64, action: Action) {
        self.server.lock().actions.push((n, action));
    }

    /// Changes a record now: a new SyncToken, LastUpdatedTime, and a field that differs.
    pub fn update(&self, entity: &str, id: &str) -> bool {
        self.act(Action::Update(entity.to_owned(), id.to_owned())).is_some()
    }

    /// Deletes a record now.
    pub fn delete(&self, entity: &str, id: &str) -> bool {
        self.act(Action::Delete(entity.to_owned(), id.to_owned())).is_some()
    }

    /// Makes a list record inactive now.
    pub fn deactivate(&self, entity: &str, id: &str) -> bool {
        self.act(Action::Deactivate(entity.to_owned(), id.to_owned())).is_some()
    }

    /// Adds a record now; its id.
    pub fn insert(&self, entity: &str) -> Option<String> {
        self.act(Action::Insert(entity.to_owned()))
    }

    /// Moves the last change of a record to this moment.
    pub fn set_updated(&self, entity: &str, id: &str, at: DateTime<Utc>) -> bool {
        self.act(Action::MoveTo(entity.to_owned(), id.to_owned(), at)).is_some()
    }

    /// From now on this exact text is served for a record.
    pub fn patch(&self, entity: &str, id: &str, json: &str) -> bool {
        self.act(Action::Patch(entity.to_owned(), id.to_owned(), json.to_owned())).is_some()
    }

    /// A fault that strikes every time.
    pub fn fault(&self, when: When, fault: Fault) {
        self.fault_times(when, fault, u32::MAX);
    }

    /// A fault that strikes so often.
    pub fn fault_times(&self, when: When, fault: Fault, times: u32) {
        self.server.lock().plan(when, fault, times);
    }

    /// No more faults.
    pub fn clear_faults(&self) {
        let mut state = self.server.lock();
        state.rules.clear();
        state.down = false;
    }

    /// Ends the stalls and pauses of all requests that have arrived; later ones stall as planned.
    pub fn release(&self) {
        self.server.release();
    }

    /// Connections are reset as soon as they come, or no more.
    pub fn set_down(&self, down: bool) {
        self.server.lock().down = down;
    }

    /// Added to every answer from now on.
    pub fn set_latency(&self, latency: Duration) {
        self.server.lock().latency = latency;
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.server.stop();
        // Wakes the thread that accepts.
        let woken = TcpStream::connect(self.address).is_ok();
        if let Some(accepting) = self.accepting.take().filter(|_| woken) {
            let _ = accepting.join();
        }
    }
}

fn state(options: Options) -> State {
    let span = (options.from.timestamp(), options.to.timestamp());
    State {
        company: Company::new(options.seed, &options.counts, span, options.id_order),
        founded: span.0,
        tokens: Tokens::new(
            options.seed,
            options.tokens,
            options.access_token_ttl,
            options.grace,
            options.refresh_token,
        ),
        realm: options.realm,
        elsewhere: options.elsewhere,
        client_id: options.client_id,
        client_secret: options.client_secret,
        limits: options.rate.map(Limits::new),
        rules: Vec::new(),
        actions: Vec::new(),
        log: Vec::new(),
        requests: 0,
        token_requests: 0,
        token_calls: 0,
        open: 0,
        latency: options.latency,
        skew: options.clock_skew,
        down: false,
    }
}

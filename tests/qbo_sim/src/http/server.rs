//! The server: a thread a connection, one request after the other.

use super::connection::Connection;
use super::deliver::{deliver, promised};
use super::incoming::{Broken, Reader};
use super::tls::Identity;
use super::{Incoming, Response};
use crate::control;
use crate::fault::{Fault, body};
use crate::service::{Arrival, State, unauthorized};
use crate::time;
use chrono::Utc;
use std::collections::HashMap;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Most connections at a time; more are closed at once.
const MOST_CONNECTIONS: usize = 256;

/// What the threads share.
pub struct Server {
    state: Mutex<State>,
    identity: Option<Identity>,
    /// Other companies that are reached here too.
    neighbours: Mutex<Vec<Arc<Server>>>,
    /// The sockets that are open, so that they can be shut; None once the server has stopped.
    sockets: Mutex<Option<HashMap<u64, TcpStream>>>,
    /// How often all pauses were ended.
    released: AtomicU64,
    /// Told when it stopped, and when pauses end.
    ended: Condvar,
}

impl Server {
    /// With a state, and an identity for TLS.
    pub fn new(state: State, identity: Option<Identity>) -> Self {
        Server {
            state: Mutex::new(state),
            identity,
            neighbours: Mutex::new(Vec::new()),
            sockets: Mutex::new(Some(HashMap::new())),
            released: AtomicU64::new(0),
            ended: Condvar::new(),
        }
    }

    /// The state, locked.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The identity, with TLS.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// Lets another company be reached here as well.
    pub fn add_neighbour(&self, other: Arc<Server>) {
        self.neighbours().push(other);
    }

    fn neighbours(&self) -> MutexGuard<'_, Vec<Arc<Server>>> {
        self.neighbours.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The neighbour that a request is for; None: it is for this company.
    fn neighbour(&self, request: &Incoming) -> Option<Arc<Server>> {
        let neighbours = self.neighbours();
        if neighbours.is_empty() || self.lock().is_for(request) {
            return None;
        }
        neighbours.iter().find(|other| other.lock().is_for(request)).cloned()
    }

    fn sockets(&self) -> MutexGuard<'_, Option<HashMap<u64, TcpStream>>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends all connections and waits, and removes the CA file; the next connection that comes ends `serve`.
    pub fn stop(&self) {
        for socket in self.sockets().take().into_iter().flatten() {
            let _ = socket.1.shutdown(Shutdown::Both);
        }
        self.ended.notify_all();
        if let Some(identity) = &self.identity {
            let _ = std::fs::remove_file(&identity.ca_file);
        }
    }

    /// Ends the pauses of all requests that have arrived.
    pub fn release(&self) {
        {
            let _no_arrival = self.lock();
            self.released.fetch_add(1, Ordering::Relaxed);
        }
        // Who looked before it was counted waits by now, and hears it.
        let _nobody_between = self.sockets();
        self.ended.notify_all();
    }

    fn released(&self) -> u64 {
        self.released.load(Ordering::Relaxed)
    }

    /// Accepts connections until it is told to stop.
    pub fn serve(self: &Arc<Self>, listener: &TcpListener) {
        for (number, socket) in (0..).zip(listener.incoming()) {
            let Ok(socket) = socket else { continue };
            {
                let mut sockets = self.sockets();
                let Some(open) = sockets.as_mut() else { return };
                let Ok(copy) = socket.try_clone() else { continue };
                if open.len() >= MOST_CONNECTIONS {
                    continue;
                }
                open.insert(number, copy);
            }
            if self.lock().down {
                Connection::Plain(socket).reset();
                self.forget(number);
                continue;
            }
            let server = self.clone();
            let talk = move || {
                server.talk(socket);
                server.forget(number);
            };
            if std::thread::Builder::new().name("qbo_sim".to_owned()).spawn(talk).is_err() {
                self.forget(number);
            }
        }
    }

    fn forget(&self, number: u64) {
        if let Some(open) = self.sockets().as_mut() {
            open.remove(&number);
        }
    }

    fn talk(&self, socket: TcpStream) {
        let _ = socket.set_nodelay(true);
        let mut connection = match &self.identity {
            None => Connection::Plain(socket),
            Some(identity) => {
                self.pause(identity.stall, self.released());
                match rustls::ServerConnection::new(identity.config.clone()) {
                    Ok(session) => Connection::Tls(Box::new(rustls::StreamOwned::new(session, socket))),
                    Err(_) => return,
                }
            }
        };
        let mut reader = Reader::default();
        loop {
            match reader.next(&mut connection) {
                Ok(request) => match self.answer(connection, &request) {
                    Some(same) => connection = same,
                    None => return,
                },
                Err(Broken::Gone) => return,
                Err(Broken::Refused(status)) => {
                    let html = if status == 413 {
                        body::TOO_LARGE
                    } else {
                        "<html><title>Bad Request</title></html>"
                    };
                    let refused = Response::new(status, "text/html", html);
                    let request = Incoming::default();
                    deliver(connection, &request, Some(refused), None, &|_| ());
                    return;
                }
            }
        }
    }

    /// Answers one request. None: the connection is not to be used again.
    fn answer(&self, connection: Connection, request: &Incoming) -> Option<Connection> {
        if let Some(other) = self.neighbour(request) {
            return other.answer(connection, request);
        }
        if request.path.starts_with("/sim/") {
            let answer = control::answer(&mut self.lock(), request);
            return deliver(connection, request, Some(answer), None, &|_| ()).connection;
        }
        let (Arrival { number, fault, answer, latency, now }, released) = self.arrive(&connection, request);
        let pause = |length| self.pause(length, released);
        pause(latency);
        if let Some(Fault::Stall(length)) = &fault {
            pause(*length);
        }
        let wants_json = number.is_none() || request.header("accept").contains("application/json");
        let answer = match &fault {
            None => answer.map(|answer| answer.response(now, wants_json)),
            Some(Fault::Status(status, headers, body)) => {
                Some(Response { status: *status, headers: headers.clone(), body: body.clone().into_bytes() })
            }
            Some(Fault::Body(body)) => Some(Response::json(200, body.clone())),
            Some(Fault::Unauthorized) => {
                let token = request.header("authorization").trim_start_matches("Bearer ");
                Some(unauthorized(body::token_expired(token)))
            }
            Some(Fault::GzipBomb(_) | Fault::BadGzip) => Some(Response::json(200, "")),
            Some(_) => answer.map(|answer| answer.response(now, wants_json)),
        };
        let answer = answer.map(|answer| signed(answer, number, self.lock().now()));
        let (status, whole) = promised(answer.as_ref(), fault.as_ref());
        // What the client sees is remembered before it can see it; and only then it may count on a free place.
        let takes_time = matches!(fault, Some(Fault::Slow(_) | Fault::StallInBody(_)));
        if !takes_time && let Some(number) = number {
            self.lock().leave(number, status, whole);
        }
        let sent = deliver(connection, request, answer, fault, &pause);
        if let Some(number) = number {
            let mut state = self.lock();
            if takes_time {
                state.leave(number, status, whole);
            }
            if sent.failed {
                state.lost(number);
            }
        }
        sent.connection
    }

    /// Takes a request in; and how often pauses were ended before. The client is looked for after the time was taken: who had closed the connection by then is known
    /// to have asked earlier, however late this thread comes to read it.
    fn arrive(&self, connection: &Connection, request: &Incoming) -> (Arrival, u64) {
        let mut state = self.lock();
        let arrival = state.arrive(request);
        if let Some(number) = arrival.number.filter(|_| connection.is_gone()) {
            state.abandoned(number);
        }
        (arrival, self.released())
    }

    /// Waits, but not longer than the server lives, nor when pauses were ended since.
    fn pause(&self, length: Duration, released: u64) {
        if length.is_zero() {
            return;
        }
        let until = Instant::now() + length;
        let mut sockets = self.sockets();
        while sockets.is_some() && self.released() == released {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            sockets = self.ended.wait_timeout(sockets, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The headers that every answer of Intuit's front has.
fn signed(mut answer: Response, number: Option<u64>, now: chrono::DateTime<Utc>) -> Response {
    let n = number.unwrap_or_default();
    let trace =
        format!("1-{:08x}-{:024x}", now.timestamp(), u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut add = |name: &str, value: String| answer.headers.push((name.to_owned(), value));
    add("Date", time::http_date(now));
    add("Server", "istio-envoy".to_owned());
    add("intuit_tid", trace.clone());
    add("X-Amzn-Trace-Id", format!("Root={trace}"));
    if number.is_some() {
        add("QBO-Version", "1994.158".to_owned());
        add("Service-Time", "total=34, db=20".to_owned());
    }
    add("Expires", "0".to_owned());
    add("Cache-Control", "max-age=0, no-cache, no-store, must-revalidate, private".to_owned());
    answer
}

//! The server: a thread a connection, one request after the other, faults where they are due.

use crate::control;
use crate::fault::Fault;
use crate::state::{Logged, State};
use crate::tls::Identity;
use crate::wire::{self, Connection, Request, Response};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// What the threads share.
pub struct Server {
    pub state: Mutex<State>,
    pub stop: AtomicBool,
    pub identity: Option<Identity>,
}

impl Server {
    /// The state, locked.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Accepts connections until it is told to stop.
    pub fn serve(self: &Arc<Self>, listener: TcpListener) {
        for socket in listener.incoming() {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            if let Ok(socket) = socket {
                let server = self.clone();
                std::thread::spawn(move || server.talk(socket));
            }
        }
    }

    fn talk(&self, socket: TcpStream) {
        let _ = socket.set_nodelay(true);
        let _ = socket.set_read_timeout(Some(Duration::from_millis(100)));
        let mut connection = match &self.identity {
            None => Connection::Plain(socket),
            Some(identity) => match rustls::ServerConnection::new(identity.config.clone()) {
                Ok(session) => Connection::Tls(Box::new(rustls::StreamOwned::new(session, socket))),
                Err(_) => return,
            },
        };
        while let Some(request) = wire::read(&mut connection, &self.stop) {
            match self.answer(connection, &request) {
                Some(same) => connection = same,
                None => return,
            }
        }
    }

    /// Answers one request. None: the connection is not to be used again.
    fn answer(&self, connection: Connection, request: &Request) -> Option<Connection> {
        if request.path.starts_with("/sim/") {
            let answer = control::answer(&mut self.lock(), request);
            return send(connection, &answer.bytes(false)).ok();
        }
        let api = State::is_api(request);
        let (n, fault, latency) = {
            let mut state = self.lock();
            state.requests += u64::from(api);
            let n = state.requests;
            if api {
                state.act(n);
                if let Some(limits) = &mut state.limits {
                    limits.open += 1;
                }
            }
            (n, state.strike(request, n), state.latency)
        };
        self.sleep(latency);
        let mut logged = Logged {
            n,
            at: SystemTime::now(),
            path: request.path.clone(),
            statement: State::statement(request),
            status: 0,
            rows: 0,
            whole: false,
            faulted: fault.is_some(),
            token: request.header("authorization").trim_start_matches("Bearer ").to_owned(),
        };
        let gzip = request.header("accept-encoding").contains("gzip");
        let kept = self.act(connection, request, fault, gzip, n, &mut logged);
        let mut state = self.lock();
        if api {
            if let Some(limits) = &mut state.limits {
                limits.open = limits.open.saturating_sub(1);
            }
            state.log.push(logged);
        }
        kept
    }

    fn act(
        &self,
        mut connection: Connection,
        request: &Request,
        fault: Option<Fault>,
        gzip: bool,
        n: u64,
        logged: &mut Logged,
    ) -> Option<Connection> {
        let truly = |logged: &mut Logged| {
            let (mut answer, rows) = self.lock().answer(request);
            let tid = format!("1-{:08x}-{:024x}", n, n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            answer.headers.push(("intuit_tid".to_owned(), tid));
            answer.headers.push(("Server".to_owned(), "istio-envoy".to_owned()));
            logged.status = answer.status;
            logged.rows = rows;
            answer
        };
        let whole = |connection: Connection, bytes: (Vec<u8>, Vec<u8>), logged: &mut Logged| {
            let sent = send(connection, &bytes).ok();
            logged.whole = sent.is_some();
            sent
        };
        match fault {
            None => {
                let answer = truly(logged);
                whole(connection, answer.bytes(gzip), logged)
            }
            Some(Fault::Status(status, headers, body)) => {
                logged.status = status;
                let mut answer = Response { status, headers, body: body.into_bytes() };
                answer.headers.push(("intuit_tid".to_owned(), format!("1-{n:08x}-fault")));
                whole(connection, answer.bytes(false), logged)
            }
            Some(Fault::Body(body)) => {
                logged.status = 200;
                let answer = Response::json(200, body);
                whole(connection, answer.bytes(false), logged)
            }
            Some(Fault::Reset) => {
                connection.reset();
                None
            }
            Some(Fault::LoseAnswer) => {
                truly(logged);
                connection.reset();
                None
            }
            Some(Fault::ResetInBody(keep)) => {
                let (head, body) = truly(logged).bytes(gzip);
                let _ = connection.write_all(&head);
                let _ = connection.write_all(body.get(..keep.min(body.len() / 2)).unwrap_or_default());
                let _ = connection.flush();
                self.sleep(Duration::from_millis(20));
                connection.reset();
                None
            }
            Some(Fault::Truncate(keep)) => {
                let (head, body) = truly(logged).bytes(gzip);
                let _ = connection.write_all(&head);
                let _ = connection.write_all(body.get(..keep.min(body.len() / 2)).unwrap_or_default());
                let _ = connection.flush();
                None
            }
            Some(Fault::Stall(length)) => {
                self.sleep(length);
                let answer = truly(logged);
                whole(connection, answer.bytes(gzip), logged)
            }
            Some(Fault::Slow(pause)) => {
                let (head, body) = truly(logged).bytes(gzip);
                for byte in head.iter().chain(&body) {
                    if self.stop.load(Ordering::Relaxed) || connection.write_all(&[*byte]).is_err() {
                        return None;
                    }
                    let _ = connection.flush();
                    self.sleep(pause);
                }
                logged.whole = true;
                Some(connection)
            }
            Some(Fault::GzipBomb(size)) => {
                logged.status = 200;
                let bomb = bomb(size);
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
                    bomb.len()
                );
                whole(connection, (head.into_bytes(), bomb), logged)
            }
            Some(Fault::BadGzip) => {
                logged.status = 200;
                let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 20\r\n\r\n";
                whole(connection, (head.into(), b"this is no gzip data".to_vec()), logged)
            }
        }
    }

    /// Sleeps, but not longer than the server lives.
    fn sleep(&self, length: Duration) {
        let until = Instant::now() + length;
        while !self.stop.load(Ordering::Relaxed) {
            match until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
                None => return,
                Some(left) => std::thread::sleep(left.min(Duration::from_millis(50))),
            }
        }
    }
}

fn send(mut connection: Connection, (head, body): &(Vec<u8>, Vec<u8>)) -> std::io::Result<Connection> {
    connection.write_all(&[head.as_slice(), body.as_slice()].concat())?;
    connection.flush()?;
    Ok(connection)
}

/// Blanks, packed.
fn bomb(size: u64) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let blanks = [b' '; 1 << 16];
    for _ in 0..size >> 16 {
        let _ = encoder.write_all(&blanks);
    }
    encoder.finish().unwrap_or_default()
}

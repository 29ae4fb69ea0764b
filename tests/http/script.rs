//! A server that says exactly what it is told to, byte by byte, and remembers what it was asked.

use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Which request it is: connections, and requests of each, are counted from 1.
pub struct Turn {
    pub connection: usize,
    pub request: usize,
}

/// What it does about a request; whether it waits for another one on the same connection.
type Answer = dyn Fn(Turn, &mut TcpStream) -> bool + Send + Sync;

/// The server.
pub struct Script {
    pub url: String,
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    closed: Arc<AtomicUsize>,
}

impl Script {
    /// It answers every request with the same bytes and closes the connection.
    pub fn closing(answer: impl Into<Vec<u8>>) -> Script {
        let answer = answer.into();
        Script::talking(move |_, socket| {
            let _ = socket.write_all(&answer);
            false
        })
    }

    /// The same, and the connection stays open until the other side closes it.
    pub fn holding(answer: impl Into<Vec<u8>>) -> Script {
        let answer = answer.into();
        Script::talking(move |_, socket| {
            let _ = socket.write_all(&answer);
            until_closed(socket);
            false
        })
    }

    /// It does what it is told about each request.
    pub fn talking(answer: impl Fn(Turn, &mut TcpStream) -> bool + Send + Sync + 'static) -> Script {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let closed = Arc::new(AtomicUsize::new(0));
        let (seen, count, gone) = (requests.clone(), connections.clone(), closed.clone());
        let answer: Arc<Answer> = Arc::new(answer);
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (answer, seen, gone) = (answer.clone(), seen.clone(), gone.clone());
                let connection = count.fetch_add(1, Ordering::SeqCst) + 1;
                std::thread::spawn(move || {
                    serve(socket, connection, &answer, &seen);
                    gone.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Script { url, requests, connections, closed }
    }

    /// What it was asked, heads and bodies.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// How many of them it has closed.
    pub fn closed(&self) -> usize {
        self.closed.load(Ordering::SeqCst)
    }
}

/// Waits until the other side closes the connection.
pub fn until_closed(socket: &mut TcpStream) {
    let _ = socket.read_to_end(&mut Vec::new());
}

fn serve(mut socket: TcpStream, connection: usize, answer: &Arc<Answer>, seen: &Mutex<Vec<String>>) {
    let _ = socket.set_nodelay(true);
    for request in 1.. {
        let Some(text) = read(&mut socket) else { return };
        seen.lock().unwrap().push(text);
        if !answer(Turn { connection, request }, &mut socket) {
            return;
        }
    }
}

/// The next request; None when the connection is at its end.
fn read(socket: &mut TcpStream) -> Option<String> {
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    while !is_whole(&request) {
        match socket.read(&mut chunk) {
            Ok(length) if length > 0 => request.extend_from_slice(&chunk[..length]),
            _ => return None,
        }
    }
    Some(String::from_utf8_lossy(&request).into_owned())
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    body.len() >= length.unwrap_or(0usize)
}

/// A listener nobody should come to.
pub struct Trap(TcpListener);

impl Trap {
    pub fn set() -> Trap {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Trap(listener)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.0.local_addr().unwrap())
    }

    /// Whether anybody came.
    pub fn caught(&self) -> bool {
        self.0.accept().is_ok()
    }
}

/// A listener that takes nobody: its queue of connections is full, so the system drops what comes next, as a firewall does.
pub struct Deaf {
    pub address: SocketAddr,
    _listener: Socket,
    _queue: Vec<TcpStream>,
}

impl Deaf {
    pub fn at(address: &str) -> Deaf {
        let address: SocketAddr = address.parse().unwrap();
        let listener = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        listener.bind(&address.into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let mut queue = Vec::new();
        while let Ok(socket) = TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
            queue.push(socket);
        }
        Deaf { address, _listener: listener, _queue: queue }
    }
}

//! A server that says exactly what it is told to, byte by byte, and remembers what it was asked.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// It answers every request with the same bytes and then closes the connection, or keeps it open.
pub struct Script {
    pub url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Script {
    pub fn closing(answer: impl Into<Vec<u8>>) -> Script {
        Script::start(answer.into(), false)
    }

    pub fn holding(answer: impl Into<Vec<u8>>) -> Script {
        Script::start(answer.into(), true)
    }

    fn start(answer: Vec<u8>, hold: bool) -> Script {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (answer, seen) = (answer.clone(), seen.clone());
                std::thread::spawn(move || serve(socket, &answer, &seen, hold));
            }
        });
        Script { url, requests }
    }

    /// What it was asked, heads and bodies.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(mut socket: TcpStream, answer: &[u8], seen: &Mutex<Vec<String>>, hold: bool) {
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    while !is_whole(&request) {
        match socket.read(&mut chunk) {
            Ok(length) if length > 0 => request.extend_from_slice(&chunk[..length]),
            _ => return,
        }
    }
    seen.lock().unwrap().push(String::from_utf8_lossy(&request).into_owned());
    let _ = socket.write_all(answer);
    if hold {
        // Until the other side closes.
        let _ = socket.read_to_end(&mut request);
    }
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

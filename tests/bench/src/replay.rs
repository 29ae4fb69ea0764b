//! A server that stands before the simulator and remembers its answers, packed as they were sent: answering again costs a
//! copy. So QuickBooks' side takes next to nothing of the machine that is measured.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Result, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A running replay; it serves until the process ends.
pub struct Replay {
    pub url: String,
    shared: Arc<Shared>,
}

struct Shared {
    simulator: String,
    known: Mutex<HashMap<Vec<u8>, Arc<Vec<u8>>>>,
    /// The last token that came.
    token: Mutex<String>,
    latency_us: AtomicU64,
    requests: AtomicU64,
}

impl Replay {
    /// Before the simulator at this URL, which is plain http.
    pub fn start(simulator: &str) -> Replay {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            simulator: simulator.trim_start_matches("http://").to_owned(),
            known: Mutex::default(),
            token: Mutex::default(),
            latency_us: AtomicU64::new(0),
            requests: AtomicU64::new(0),
        });
        let serving = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = serving.clone();
                // A client that goes away ends its own connection only.
                std::thread::spawn(move || shared.serve(stream).is_ok());
            }
        });
        Replay { url, shared }
    }

    /// Every answer waits so long.
    pub fn set_latency(&self, latency: Duration) {
        self.shared.latency_us.store(u64::try_from(latency.as_micros()).unwrap(), Relaxed);
    }

    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Relaxed)
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut stream = stream;
        loop {
            let (mut path, mut length) = (String::new(), 0);
            let mut line = String::new();
            while reader.read_line(&mut line)? > 2 {
                let lower = line.to_ascii_lowercase();
                if path.is_empty() {
                    path = line.split(' ').nth(1).unwrap_or_default().to_owned();
                } else if let Some(value) = lower.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap_or(0);
                } else if lower.starts_with("authorization: bearer ") {
                    *self.token.lock().unwrap() = line[22..].trim().to_owned();
                }
                line.clear();
            }
            if path.is_empty() {
                return Ok(());
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            let known = self.known.lock().unwrap().get(&body).cloned();
            let answer = match known {
                Some(answer) => answer,
                None => self.ask(&path, body)?,
            };
            std::thread::sleep(Duration::from_micros(self.latency_us.load(Relaxed)));
            self.requests.fetch_add(1, Relaxed);
            stream.write_all(&answer)?;
        }
    }

    /// Asks the simulator and remembers a good answer.
    fn ask(&self, path: &str, body: Vec<u8>) -> Result<Arc<Vec<u8>>> {
        let token = self.token.lock().unwrap().clone();
        let mut upstream = TcpStream::connect(&self.simulator)?;
        // HTTP/1.0: the answer comes in one piece and ends with the connection.
        let head = format!(
            "POST {path} HTTP/1.0\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nAccept: application/json\r\n\
             Accept-Encoding: gzip\r\nContent-Type: application/text\r\nContent-Length: {}\r\n\r\n",
            self.simulator,
            body.len()
        );
        upstream.write_all(head.as_bytes())?;
        upstream.write_all(&body)?;
        let mut whole = Vec::new();
        upstream.read_to_end(&mut whole)?;
        let end = whole.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(whole.len());
        let (head, rest) = whole.split_at(end);
        let head = String::from_utf8_lossy(head).into_owned();
        let good = head.split(' ').nth(1) == Some("200");
        let packed = rest.get(4..).unwrap_or_default();
        let mut answer = head.lines().next().unwrap_or_default().as_bytes().to_vec();
        answer.extend_from_slice(b"\r\nContent-Type: application/json\r\n");
        if head.to_ascii_lowercase().contains("content-encoding: gzip") {
            answer.extend_from_slice(b"Content-Encoding: gzip\r\n");
        }
        answer.extend_from_slice(format!("Content-Length: {}\r\n\r\n", packed.len()).as_bytes());
        answer.extend_from_slice(packed);
        let answer = Arc::new(answer);
        if good {
            self.known.lock().unwrap().insert(body, answer.clone());
        }
        Ok(answer)
    }
}

//! HTTP/1.1 on a socket, written by hand, since faults need control of every byte.

use flate2::Compression;
use flate2::write::GzEncoder;
use std::collections::HashMap;
use std::io::{ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A connection, plain or over TLS.
pub enum Connection {
    Plain(TcpStream),
    Tls(Box<rustls::StreamOwned<rustls::ServerConnection, TcpStream>>),
}

impl Connection {
    fn socket(&self) -> &TcpStream {
        match self {
            Connection::Plain(socket) => socket,
            Connection::Tls(stream) => &stream.sock,
        }
    }

    /// Ends the connection with a reset instead of a good-bye.
    pub fn reset(self) {
        let _ = socket2::SockRef::from(self.socket()).set_linger(Some(Duration::ZERO));
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        match self {
            Connection::Plain(socket) => socket.read(buffer),
            Connection::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, buffer: &[u8]) -> Result<usize> {
        match self {
            Connection::Plain(socket) => socket.write(buffer),
            Connection::Tls(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> Result<()> {
        match self {
            Connection::Plain(socket) => socket.flush(),
            Connection::Tls(stream) => stream.flush(),
        }
    }
}

/// A request, whole.
#[derive(Debug, Default)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub query: HashMap<String, String>,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Request {
    /// A header, by its lower-case name.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(String::as_str).unwrap_or_default()
    }

    /// The fields of a form.
    pub fn form(&self) -> HashMap<String, String> {
        form_urlencoded::parse(&self.body).into_owned().collect()
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// With a content type.
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Response {
            status,
            headers: vec![("Content-Type".to_owned(), content_type.to_owned())],
            body: body.into(),
        }
    }

    /// JSON, as the service labels it.
    pub fn json(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Response::new(status, "application/json;charset=utf-8", body)
    }

    /// The head and the body as they travel: chunked where QuickBooks does it, compressed where the client takes it.
    pub fn bytes(&self, gzip: bool) -> (Vec<u8>, Vec<u8>) {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut body = self.body.clone();
        if gzip && !body.is_empty() {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            if encoder.write_all(&body).is_ok()
                && let Ok(packed) = encoder.finish()
            {
                body = packed;
                head.push_str("Content-Encoding: gzip\r\n");
            }
        }
        if self.status == 200 && !body.is_empty() {
            head.push_str("Transfer-Encoding: chunked\r\n\r\n");
            let mut chunked = Vec::with_capacity(body.len() + 64);
            for chunk in body.chunks(16_384) {
                chunked.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                chunked.extend_from_slice(chunk);
                chunked.extend_from_slice(b"\r\n");
            }
            chunked.extend_from_slice(b"0\r\n\r\n");
            (head.into_bytes(), chunked)
        } else {
            head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
            (head.into_bytes(), body)
        }
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        302 => "Found",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    }
}

/// Longest request that is read.
const MOST: usize = 1 << 20;

/// Reads one request. None: the client is gone, or `stop` says so.
pub fn read(connection: &mut Connection, stop: &AtomicBool) -> Option<Request> {
    let mut buffer = Vec::new();
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Request::new(&mut headers);
        if let Ok(httparse::Status::Complete(head)) = parsed.parse(&buffer) {
            let mut request = Request { method: parsed.method?.to_owned(), ..Request::default() };
            let (path, query) = parsed.path?.split_once('?').unwrap_or((parsed.path?, ""));
            request.path = path.to_owned();
            request.query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
            for header in parsed.headers.iter() {
                let value = String::from_utf8_lossy(header.value).into_owned();
                request.headers.insert(header.name.to_ascii_lowercase(), value);
            }
            let length: usize = request.header("content-length").parse().unwrap_or(0);
            while buffer.len() < head + length {
                more(connection, &mut buffer, stop)?;
            }
            request.body = buffer.get(head..head + length)?.to_vec();
            return Some(request);
        }
        more(connection, &mut buffer, stop)?;
    }
}

fn more(connection: &mut Connection, buffer: &mut Vec<u8>, stop: &AtomicBool) -> Option<()> {
    let mut chunk = [0; 8192];
    loop {
        match connection.read(&mut chunk) {
            Ok(0) => return None,
            Ok(length) => {
                buffer.extend_from_slice(chunk.get(..length)?);
                return (buffer.len() <= MOST).then_some(());
            }
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) =>
            {
                if stop.load(Ordering::Relaxed) {
                    return None;
                }
            }
            Err(_) => return None,
        }
    }
}

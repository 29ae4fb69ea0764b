//! Reads requests from a connection.

use super::connection::Connection;
use std::collections::BTreeMap;
use std::io::{Read, Write};

/// A request, whole.
#[derive(Debug, Default)]
pub struct Incoming {
    pub method: String,
    pub path: String,
    pub query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    /// Whether the client wants to use the connection again.
    pub keep_alive: bool,
    /// Whether it speaks HTTP/1.1, so that the answer may be chunked.
    pub modern: bool,
    pub tls: bool,
}

impl Incoming {
    /// A header, by its lower-case name.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(String::as_str).unwrap_or_default()
    }

    /// The fields of a form.
    pub fn form(&self) -> BTreeMap<String, String> {
        form_urlencoded::parse(&self.body).into_owned().collect()
    }

    /// Whether gzip is accepted.
    pub fn accepts_gzip(&self) -> bool {
        self.header("accept-encoding").split(',').any(|coding| {
            let (name, quality) = coding.split_once(';').unwrap_or((coding, ""));
            name.trim().eq_ignore_ascii_case("gzip") && !matches!(quality.trim(), "q=0" | "q=0.0")
        })
    }
}

/// Why no request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// The client is gone.
    Gone,
    /// What came deserves this status.
    Refused(u16),
}

/// Longest head, and longest body, that are read.
const MOST_HEAD: usize = 64 << 10;
const MOST_BODY: usize = 4 << 20;

/// What was read of a connection and not used yet.
#[derive(Default)]
pub struct Reader {
    buffer: Vec<u8>,
}

impl Reader {
    /// The next request.
    pub fn next(&mut self, connection: &mut Connection) -> Result<Incoming, Broken> {
        let (mut request, head) = loop {
            if let Some(parsed) = parse(&self.buffer)? {
                break parsed;
            }
            if self.buffer.len() > MOST_HEAD {
                return Err(Broken::Refused(431));
            }
            self.more(connection)?;
        };
        self.buffer.drain(..head);
        request.tls = connection.is_tls();
        if request.header("expect").eq_ignore_ascii_case("100-continue") {
            connection.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").map_err(|_| Broken::Gone)?;
        }
        if request.header("transfer-encoding").eq_ignore_ascii_case("chunked") {
            request.body = self.chunks(connection)?;
        } else {
            let length = request.header("content-length");
            let length =
                if length.is_empty() { 0 } else { length.parse().map_err(|_| Broken::Refused(400))? };
            request.body = self.take(connection, length)?;
        }
        Ok(request)
    }

    fn more(&mut self, connection: &mut Connection) -> Result<(), Broken> {
        let mut chunk = [0; 16 << 10];
        match connection.read(&mut chunk) {
            Ok(0) | Err(_) => Err(Broken::Gone),
            Ok(length) => {
                self.buffer.extend_from_slice(chunk.get(..length).unwrap_or_default());
                Ok(())
            }
        }
    }

    fn take(&mut self, connection: &mut Connection, length: usize) -> Result<Vec<u8>, Broken> {
        if length > MOST_BODY {
            return Err(Broken::Refused(413));
        }
        while self.buffer.len() < length {
            self.more(connection)?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    fn chunks(&mut self, connection: &mut Connection) -> Result<Vec<u8>, Broken> {
        let mut body = Vec::new();
        loop {
            let line = loop {
                if let Some(end) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                    break self.take(connection, end + 2)?;
                }
                self.more(connection)?;
            };
            let size = String::from_utf8_lossy(&line);
            let size = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16);
            let size = size.map_err(|_| Broken::Refused(400))?;
            body.extend_from_slice(&self.take(connection, size)?);
            self.take(connection, 2)?;
            if size == 0 {
                return Ok(body);
            }
            if body.len() > MOST_BODY {
                return Err(Broken::Refused(413));
            }
        }
    }
}

/// Parses a head, and tells where it ends. None: it is not whole yet.
fn parse(buffer: &[u8]) -> Result<Option<(Incoming, usize)>, Broken> {
    let mut headers = [httparse::EMPTY_HEADER; 100];
    let mut parsed = httparse::Request::new(&mut headers);
    let head = match parsed.parse(buffer) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Broken::Refused(431)),
        Err(_) => return Err(Broken::Refused(400)),
    };
    let target = parsed.path.unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut request = Incoming {
        method: parsed.method.unwrap_or_default().to_owned(),
        path: path.to_owned(),
        query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        modern: parsed.version == Some(1),
        ..Incoming::default()
    };
    for header in parsed.headers.iter() {
        let value = String::from_utf8_lossy(header.value).into_owned();
        request.headers.insert(header.name.to_ascii_lowercase(), value);
    }
    request.keep_alive = request.modern && !request.header("connection").eq_ignore_ascii_case("close");
    Ok(Some((request, head)))
}

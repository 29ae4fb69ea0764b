//! Answers, and the bytes they travel as. Pure.

use crate::fault::Framing;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;

/// How the service labels its JSON.
pub const JSON: &str = "application/json;charset=utf-8";

/// An answer.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// An answer as bytes.
pub struct Framed {
    pub head: Vec<u8>,
    pub body: Vec<u8>,
    /// Whether the connection can be used again after it.
    pub reusable: bool,
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

    /// JSON, as the service labels it; the gateway leaves the charset out.
    pub fn json(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Response::new(status, JSON, body)
    }

    /// The bytes: good answers of QuickBooks are chunked, others have a length. `gzip`: the client takes it. `modern`: it
    /// knows chunks.
    pub fn framed(self, gzip: bool, modern: bool, spoiled: Option<Framing>) -> Framed {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let bad_gzip = matches!(spoiled, Some(Framing::ShortGzip | Framing::BadSum));
        let mut body = self.body;
        if (gzip && !body.is_empty()) || bad_gzip {
            body = packed(&body);
            head.push_str("Content-Encoding: gzip\r\n");
        }
        match spoiled {
            Some(Framing::ShortGzip) => body.truncate(body.len() * 2 / 3),
            // The check sum stands eight bytes before the end.
            Some(Framing::BadSum) => {
                let at = body.len().saturating_sub(8);
                if let Some(byte) = body.get_mut(at) {
                    *byte ^= 0xff;
                }
            }
            _ => {}
        }
        let mut reusable = true;
        let chunked = modern && self.status == 200 && !body.is_empty();
        match spoiled {
            Some(Framing::Length(off)) => {
                let length = (body.len() as i64 + off).max(0);
                head.push_str(&format!("Content-Length: {length}\r\n"));
                reusable = false;
            }
            Some(Framing::TwoLengths) => {
                head.push_str(&format!(
                    "Content-Length: {}\r\nContent-Length: {}\r\n",
                    body.len(),
                    body.len() / 2
                ));
                reusable = false;
            }
            Some(Framing::LengthAndChunks) => {
                head.push_str(&format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", body.len()));
                body = chunks(&body);
                reusable = false;
            }
            Some(Framing::BadChunk) => {
                head.push_str("Transfer-Encoding: chunked\r\n");
                body = [b"xyz\r\n", body.as_slice(), b"\r\n0\r\n\r\n"].concat();
                reusable = false;
            }
            Some(Framing::NoLastChunk) => {
                head.push_str("Transfer-Encoding: chunked\r\n");
                body = chunks(&body);
                body.truncate(body.len() - 5);
                reusable = false;
            }
            Some(Framing::UntilClose) => reusable = false,
            Some(Framing::CloseIdle | Framing::ShortGzip | Framing::BadSum) | None if chunked => {
                head.push_str("Transfer-Encoding: chunked\r\n");
                body = chunks(&body);
            }
            _ => head.push_str(&format!("Content-Length: {}\r\n", body.len())),
        }
        reusable &= spoiled != Some(Framing::CloseIdle);
        head.push_str("\r\n");
        Framed { head: head.into_bytes(), body, reusable }
    }
}

fn packed(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    // Writing to memory does not fail.
    let _ = encoder.write_all(body);
    encoder.finish().unwrap_or_default()
}

fn chunks(body: &[u8]) -> Vec<u8> {
    let mut chunked = Vec::with_capacity(body.len() + body.len() / 512 + 64);
    for chunk in body.chunks(8_192) {
        chunked.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunked.extend_from_slice(chunk);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    chunked
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Request Entity Too Large",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    }
}

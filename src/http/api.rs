//! The query API: one request, one answer.

use crate::domain::fetch::{Lost, LostKind, Reply};
use crate::domain::secret::Secret;
use std::io::ErrorKind;
use ureq::{Agent, Timeout};

/// The minor version every request names. Intuit ignores older ones since August 2025; this guards against the next change.
pub const MINOR_VERSION: &str = "75";

/// Sends a statement. POST, so that neither its length nor its characters depend on what a URL can carry. The answer is
/// whole or it is `Lost`; a body longer than `max_body` bytes, after decompression, is lost as `TooLarge`.
pub fn query(
    agent: &Agent,
    base: &str,
    realm: &str,
    token: &Secret,
    statement: &str,
    max_body: u64,
) -> Result<Reply, Lost> {
    let url = format!("{base}/v3/company/{realm}/query?minorversion={MINOR_VERSION}");
    let mut response = agent
        .post(url)
        .header("Authorization", format!("Bearer {}", token.expose()))
        .header("Content-Type", "application/text")
        .send(statement)
        .map_err(lost)?;
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let retry_after = header("retry-after");
    let intuit_tid = header("intuit_tid").or_else(|| header("intuit-tid"));
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(max_body).read_to_vec().map_err(lost)?;
    Ok(Reply { status, retry_after, intuit_tid, body })
}

/// What an error of the HTTP library means for us.
pub(super) fn lost(error: ureq::Error) -> Lost {
    let kind = match &error {
        ureq::Error::HostNotFound | ureq::Error::Timeout(Timeout::Resolve) => LostKind::Dns,
        ureq::Error::ConnectionFailed | ureq::Error::Timeout(Timeout::Connect) => LostKind::Connect,
        ureq::Error::Timeout(_) => LostKind::Timeout,
        ureq::Error::BodyExceedsLimit(_) => LostKind::TooLarge,
        ureq::Error::Rustls(_) | ureq::Error::Tls(_) | ureq::Error::Pem(_) => LostKind::Tls,
        ureq::Error::Decompress(..) => LostKind::Encoding,
        ureq::Error::Io(io) => return lost_io(io),
        _ => LostKind::Protocol,
    };
    let message = match kind {
        LostKind::TooLarge => "the answer is larger than qbo_raw.max_body_size".to_owned(),
        _ => error.to_string(),
    };
    Lost { kind, message }
}

fn lost_io(error: &std::io::Error) -> Lost {
    // The library wraps its own errors into I/O errors while a body is read.
    let inner = error.get_ref();
    if let Some(wrapped) = inner.and_then(|inner| inner.downcast_ref::<ureq::Error>()) {
        let kind = match wrapped {
            ureq::Error::BodyExceedsLimit(_) => LostKind::TooLarge,
            ureq::Error::Timeout(_) => LostKind::Timeout,
            ureq::Error::Decompress(..) => LostKind::Encoding,
            _ => LostKind::Reset,
        };
        return Lost { kind, message: wrapped.to_string() };
    }
    let kind = match error.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::NotFound | ErrorKind::AddrNotAvailable => LostKind::Connect,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::PermissionDenied => LostKind::Connect,
        ErrorKind::TimedOut | ErrorKind::WouldBlock => LostKind::Timeout,
        ErrorKind::InvalidData if inner.is_some_and(|inner| inner.is::<rustls::Error>()) => LostKind::Tls,
        ErrorKind::InvalidData | ErrorKind::InvalidInput => LostKind::Encoding,
        _ => LostKind::Reset,
    };
    Lost { kind, message: error.to_string() }
}

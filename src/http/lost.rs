//! What an error of the HTTP library means: why no whole answer came. The library wraps its own errors, and those of TLS and
//! of the decompressor, into I/O errors and back; here they are told apart again.

use crate::domain::fetch::{Lost, LostKind};
use std::io::{self, ErrorKind};
use ureq::{Error, Timeout};

/// The loss that an error is.
pub fn lost(error: &Error) -> Lost {
    let kind = kind(error);
    let why = why(error);
    let message = match kind {
        LostKind::Dns => format!("the host of QuickBooks cannot be resolved: {why}"),
        LostKind::Connect => format!("QuickBooks cannot be reached: {why}"),
        LostKind::Tls => format!("there is no trusted connection to QuickBooks: {why}"),
        LostKind::Timeout => format!("the request took too long: {why}"),
        LostKind::Reset => format!("the connection to QuickBooks broke: {why}"),
        LostKind::TooLarge => "the answer is larger than qbo_raw.max_body_size".to_owned(),
        LostKind::Encoding => format!("the answer cannot be decompressed: {why}"),
        LostKind::Protocol => format!("the request could not be made, or the answer is no HTTP: {why}"),
    };
    Lost { kind, message }
}

fn kind(error: &Error) -> LostKind {
    match error {
        Error::HostNotFound | Error::Timeout(Timeout::Resolve) => LostKind::Dns,
        Error::ConnectionFailed | Error::ConnectProxyFailed(_) | Error::Timeout(Timeout::Connect) => {
            LostKind::Connect
        }
        Error::Timeout(_) => LostKind::Timeout,
        Error::BodyExceedsLimit(_) => LostKind::TooLarge,
        Error::Rustls(_) | Error::Tls(_) | Error::Pem(_) => LostKind::Tls,
        // The decompressor's own: the data ends too early, the connection does not.
        Error::Decompress(_, error) if error.kind() == ErrorKind::UnexpectedEof && !is_disconnect(error) => {
            LostKind::Encoding
        }
        Error::Decompress(_, error) | Error::Io(error) => io_kind(error),
        _ => LostKind::Protocol,
    }
}

fn io_kind(error: &io::Error) -> LostKind {
    let inner = error.get_ref();
    if let Some(wrapped) = inner.and_then(|inner| inner.downcast_ref::<Error>()) {
        return kind(wrapped);
    }
    if inner.is_some_and(|inner| inner.is::<rustls::Error>()) {
        return LostKind::Tls;
    }
    if is_resolver(error) {
        return LostKind::Dns;
    }
    match error.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::AddrNotAvailable | ErrorKind::PermissionDenied => {
            LostKind::Connect
        }
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => {
            LostKind::Connect
        }
        ErrorKind::TimedOut | ErrorKind::WouldBlock => LostKind::Timeout,
        // No descriptor is left for a socket.
        _ if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS)) => {
            LostKind::Connect
        }
        ErrorKind::InvalidData | ErrorKind::InvalidInput => LostKind::Encoding,
        _ => LostKind::Reset,
    }
}

/// The standard library gives what getaddrinfo says no kind of its own, and no number.
fn is_resolver(error: &io::Error) -> bool {
    error.raw_os_error().is_none() && error.to_string().starts_with("failed to lookup address")
}

/// The library says so when the other side closes the connection within an answer; through the decompressor only the words
/// are left of it.
fn is_disconnect(error: &io::Error) -> bool {
    error.to_string() == "Peer disconnected"
}

/// The cause in the words of who saw it, without the prefixes of the layers above.
fn why(error: &Error) -> String {
    match error {
        Error::Io(error) | Error::Decompress(_, error) => {
            match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
                Some(wrapped) => why(wrapped),
                None => error.to_string(),
            }
        }
        Error::Timeout(timeout) => format!("{timeout}, time is up"),
        other => other.to_string(),
    }
}

//! Faults: what can be made to go wrong, and when. By count of requests, so that the same script gives the same
//! faults. Pure.

pub mod body;
mod edit;
mod named;

pub use edit::Edit;
pub use named::NAMES;

use std::time::Duration;

/// Which requests a fault strikes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// The n-th API request, counted from 1.
    Nth(u64),
    /// The n-th and every later one.
    From(u64),
    /// The n-th from now; 1 is the next.
    Next(u64),
    /// Every API request.
    Always,
    /// API requests whose statement contains this text.
    Statement(String),
    /// Queries that ask for more rows than this.
    RowsOver(usize),
    /// Queries whose answer has this record in it, by the name of its entity and its id.
    Record(String, String),
    /// Requests to the token endpoint.
    Token,
    /// Requests to the token endpoint, from the n-th of the simulator's life on.
    TokenFrom(u64),
}

/// Where in an answer the connection is reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Before the first byte.
    Start,
    /// Within `HTTP/1.1 200 OK`.
    StatusLine,
    /// Within the headers.
    Headers,
    /// After so many bytes of the body as it travels.
    Body(usize),
    /// After the last byte.
    End,
}

/// How the framing of a true answer is spoiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Content-Length promises so many bytes more than there are (or fewer); then the connection is closed.
    Length(i64),
    /// Two Content-Length headers that differ.
    TwoLengths,
    /// Content-Length and Transfer-Encoding: chunked.
    LengthAndChunks,
    /// A chunk whose size is no number.
    BadChunk,
    /// The last chunk is missing, and the connection is closed in good order.
    NoLastChunk,
    /// No length at all: the body ends with the connection, as in HTTP/1.0.
    UntilClose,
    /// A good answer; but the connection, which could be used again, is closed after it.
    CloseIdle,
    /// gzip that ends early.
    ShortGzip,
    /// gzip with a wrong check sum.
    BadSum,
}

/// What a query is bent into before it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bend {
    /// STARTPOSITION is ignored.
    FirstPage,
    /// One row more than asked for.
    OneMore,
    /// At most so many rows, whatever was asked for.
    AtMost(usize),
}

/// What happens instead of, or with, the true answer.
#[derive(Debug, Clone)]
pub enum Fault {
    /// This status, with these headers and this body.
    Status(u16, Vec<(String, String)>, String),
    /// Status 200, JSON by its label, and this body.
    Body(Vec<u8>),
    /// These bytes instead of an answer; then the connection is closed.
    Raw(Vec<u8>),
    /// The access token is refused, and echoed in the answer, as the gateway does.
    Unauthorized,
    /// The connection is reset before anything is sent; nothing happens at the service.
    Reset,
    /// The true answer, and a reset at this place.
    ResetAt(Place),
    /// The same as `ResetAt(Place::Body(n))`.
    ResetInBody(usize),
    /// The connection is closed in good order after so many bytes of the body, at most half of it.
    Truncate(usize),
    /// Nothing happens for so long; then the true answer comes.
    Stall(Duration),
    /// The head of the answer comes at once, its body after so long.
    StallInBody(Duration),
    /// The true answer, byte by byte, with a pause after each.
    Slow(Duration),
    /// A gzip body that unpacks to so many bytes.
    GzipBomb(u64),
    /// A body that is no gzip although its Content-Encoding says so.
    BadGzip,
    /// The service does what was asked for, and the answer is lost: the connection is reset.
    LoseAnswer,
    /// The true answer with spoiled framing.
    Framing(Framing),
    /// The true answer with its body changed.
    Edit(Edit),
    /// The true answer to a bent query.
    Bend(Bend),
}

impl Fault {
    /// A status with a JSON body.
    pub fn status(status: u16, body: &str) -> Fault {
        Fault::Status(
            status,
            vec![("Content-Type".to_owned(), "application/json;charset=utf-8".to_owned())],
            body.to_owned(),
        )
    }

    /// A redirect.
    pub fn redirect(status: u16, to: &str) -> Fault {
        Fault::Status(status, vec![("Location".to_owned(), to.to_owned())], String::new())
    }

    /// A fault of the service with status 200.
    pub fn in_200(code: &str, message: &str, detail: &str) -> Fault {
        Fault::status(200, &body::service("SystemFault", code, message, detail))
    }

    /// Whether the service does what was asked for although the fault strikes.
    pub fn has_true_answer(&self) -> bool {
        !matches!(
            self,
            Fault::Status(..)
                | Fault::Body(_)
                | Fault::Raw(_)
                | Fault::Unauthorized
                | Fault::Reset
                | Fault::GzipBomb(_)
                | Fault::BadGzip
        )
    }
}

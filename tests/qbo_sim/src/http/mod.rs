//! HTTP/1.1 by hand, plain or over TLS, since faults need control of every byte.

mod bomb;
mod connection;
mod deliver;
mod incoming;
mod response;
mod server;
mod tls;

pub use incoming::Incoming;
pub use response::{JSON, Response};
pub use server::Server;
pub use tls::{Certificate, Identity};

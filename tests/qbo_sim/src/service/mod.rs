//! The service behind the wire: its state, the API, OAuth2.

mod answer;
mod api;
mod log;
mod oauth;
mod state;
mod tokens;
mod xml;

pub use api::unauthorized;
pub use log::{Action, RecordVersion, Request};
pub use state::{Arrival, State};
pub use tokens::{TokenEvent, TokenMode, Tokens, fingerprint};

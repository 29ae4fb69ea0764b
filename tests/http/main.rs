//! Tests of the HTTP layer against real sockets: the simulator where QuickBooks is meant, a scripted server where bytes
//! matter. No PostgreSQL.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod agent;
mod bench;
mod callback;
mod connect;
mod consent;
mod hosts;
mod loss;
mod oauth;
mod pace;
mod proxy;
mod reuse;
mod script;
mod spool;
mod stop;
mod thread;
mod tls;
mod token;
mod window;

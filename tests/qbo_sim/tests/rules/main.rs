//! The simulator against the rules of QuickBooks Online: each test is named after the rule it checks.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod client;
mod company;
mod control;
mod faults;
mod framing;
mod language;
mod limits;
mod oauth;
mod pages;
mod service;
mod tls;
mod wire;

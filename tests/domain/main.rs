//! Tests of the pure core: every rule by its public face, without PostgreSQL, socket or clock. Random tests have fixed seeds,
//! so that a failure comes back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod entity;
mod fault;
mod fetch;
mod fetch_clock;
mod fetch_count;
mod fetch_poison;
mod fetch_trouble;
mod model;
mod pace;
mod page;
mod query;
mod record;
mod retry;
mod run;
mod secret;
mod token;
mod token_explore;
mod token_refused;
mod token_world;
mod window;

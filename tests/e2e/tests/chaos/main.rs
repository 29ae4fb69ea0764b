//! Nothing lost, whatever fails: faults are injected into the real extension on a real server, and what must hold is
//! computed in SQL from the simulator's ground truth.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod account;
mod at_once;
mod bodies;
mod calls;
mod cancels;
mod compound;
mod hostile;
mod invariants;
mod matrix;
mod nth;
mod panics;
mod soak;
mod soup;
mod stage;
mod stops;
mod truth;
mod workers;

//! Nothing lost, whatever fails: faults are injected into the real extension on a real server, and what must hold is
//! computed in SQL from the simulator's ground truth.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bodies;
mod invariants;
mod nth;
mod truth;

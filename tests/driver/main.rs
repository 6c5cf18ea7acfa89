//! The call's driver and the exchange under tokio's paused clock: engines, line and history are scripted (`engines`, `caller`), the
//! test is the door. Minutes of talk take milliseconds, and a test that waits for ever fails by its own deadline.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod admission;
mod allowance;
mod attending;
mod caller;
mod cancelling;
mod ending;
mod engines;
mod hearing;
mod overload;
mod parting;
mod resuming;
mod voices;

//! The door as its clients know it, and its parts in virtual time.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod door;
mod hearing;
mod playing;
mod wording;

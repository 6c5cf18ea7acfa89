#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod door;
mod understanding;
mod wording;

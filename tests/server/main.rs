//! The real binary with the starter models, from outside: its commands, its doors, its log, its process. `make models` fetches what
//! these tests need. Each scenario starts one server, gathers what came of it, and ends it; the tests look at what was gathered.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking, and says what it measured")]

mod better;
mod command;
mod faults;
mod keys;
mod offers;
mod parted;
mod refusals;
mod resume;
mod server;
mod service;
mod speech;
mod talk;

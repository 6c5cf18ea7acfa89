//! The whole conversation core under a virtual clock: one file a group of symptoms. Engines, line and history are scripted
//! (`world`); nothing here sleeps, and a minute of talk takes milliseconds.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod commands;
mod history;
mod interruption;
mod replies;
mod resuming;
mod trouble;
mod turns;
mod world;

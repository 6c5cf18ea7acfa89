//! How a protocol words what a call says and asks. One implementation a protocol, with no socket in it.

use crate::line::{CallEvent, Command};

/// Maps between a call's events and a protocol's messages, for one connection.
pub trait Protocol: Send {
    /// The messages that tell `event`, in order; none if the protocol has no word for it.
    fn tell(&mut self, event: &CallEvent) -> Vec<String>;
    /// What the client's message asks for; `None` for what needs no action. What cannot be understood becomes
    /// [`crate::line::Ask::Unintelligible`], so that the call answers with an error.
    fn understand(&mut self, message: &str) -> Option<Command>;
}

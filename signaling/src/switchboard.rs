//! Who takes the calls that doors bring, and why one is not taken.

use std::time::Duration;

use crate::grant::Grant;
use crate::line::{ConversationId, Line};

/// What takes the calls that doors bring. Implemented by the call core, and by tests.
pub trait Switchboard: Send + Sync + 'static {
    /// Reserves a place for one more call, before any of its resources are made. Dropping the seat frees it. `grant` is the key
    /// that was given out which the caller holds, `conversation` the one to go on with: another's is refused like one that
    /// does not exist.
    fn admit(&self, grant: Option<&Grant>, conversation: Option<&ConversationId>) -> Result<Seat, Refusal>;
    /// Starts the call on its own task. The seat is held until the call has ended.
    fn connect(&self, line: Line, seat: Seat);
}

/// A reserved place among the calls; freed when dropped.
pub struct Seat(#[expect(dead_code, reason = "held for its drop")] Box<dyn std::any::Any + Send + Sync>);

impl Seat {
    pub fn new(held: impl std::any::Any + Send + Sync) -> Self {
        Self(Box::new(held))
    }
}

/// Why a call was not admitted.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    #[error("all {limit} call slots are busy; retry in {} s", retry_after.as_secs())]
    Full { limit: usize, retry_after: Duration },
    #[error("the server is loading its models, {percent} % are there; retry in {} s", retry_after.as_secs())]
    Loading { percent: u8, retry_after: Duration },
    #[error("{what} is not available: {hint}")]
    EngineMissing { what: String, hint: String },
    #[error("the server is shutting down; retry in {} s", retry_after.as_secs())]
    Draining { retry_after: Duration },
    /// The caller's key allows no more.
    #[error("{why}; retry in {} s", retry_after.as_secs())]
    Quota { why: String, retry_after: Duration },
    /// There is none of that id, or it is another's.
    #[error("there is no conversation `{0}`; leave `avatar.conversation_id` out to begin one")]
    NoSuchConversation(ConversationId),
}

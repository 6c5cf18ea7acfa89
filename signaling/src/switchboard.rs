//! Who takes the calls that doors bring, and why one is not taken.

use std::time::Duration;

use crate::grant::Grant;
use crate::line::{CallId, ConversationId, Line, SessionPatch};

/// Who asks for a call, and for what.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// The key that was given out which the caller holds; `None`: one of the server's own, or the server has none.
    pub grant: Option<&'a Grant>,
    pub session: &'a SessionPatch,
}

impl Asking<'_> {
    /// Whose the call will be; see [`Line::owner`].
    pub fn owner(&self) -> Option<&str> {
        self.grant.map(|grant| grant.key.as_str())
    }
}

/// What takes the calls that doors bring. Implemented by the call core, and by tests.
pub trait Switchboard: Send + Sync + 'static {
    /// Reserves a place for one more call, before any of its resources are made. Dropping the seat frees it. Whoever asks with
    /// the token of a call that still runs takes that call's place; a conversation or a token that is another's is refused like
    /// one that does not exist.
    fn admit(&self, asking: Asking<'_>) -> Result<Seat, Refusal>;
    /// Starts the call on its own task, or goes on with the one that the token names. The seat is held until the call has ended.
    fn connect(&self, line: Line, seat: Seat);
    /// Whose the call is which that line, now lost or not, belongs to; see [`Line::owner`]. `None`: no call has such a line, or it
    /// has taken another since.
    fn owner(&self, _line: &CallId) -> Option<Option<String>> {
        None
    }
    /// The caller has hung up, whatever becomes of that line: its call does not wait for another. `false`: there is none.
    fn hang_up(&self, _line: &CallId) -> bool {
        false
    }
}

/// A reserved place among the calls; freed when dropped.
pub struct Seat(Box<dyn std::any::Any + Send + Sync>);

impl Seat {
    pub fn new(held: impl std::any::Any + Send + Sync) -> Self {
        Self(Box::new(held))
    }

    /// What is held, if it is such a thing.
    pub fn held<T: std::any::Any>(&self) -> Option<&T> {
        self.0.downcast_ref()
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
    #[error("the resume token is unknown, was used already, or has expired; call without one to begin anew")]
    ResumeTokenInvalid,
}

//! What the HTTP doors need of whoever makes connections, so that they can be tested without one.

use futures_util::future::BoxFuture;

use crate::grant::Grant;
use crate::line::{CallId, SessionPatch};
use crate::negotiate::NegotiateError;
use crate::protocol::Protocol;

/// An offer of a call.
pub struct Offer {
    /// UTF-8 text that begins like SDP; no more of it has been checked.
    pub sdp: String,
    /// Which door it came in by; see [`crate::line::Line::door`].
    pub door: &'static str,
    pub session: SessionPatch,
    /// The key it came in with, where that was given out.
    pub grant: Option<Grant>,
    /// Words the call's events on the client's `oai-events` channel.
    pub protocol: Box<dyn Protocol>,
}

/// A call that was taken.
#[derive(Debug, Clone)]
pub struct Answer {
    pub call: CallId,
    /// With every candidate of the server: clients need not trickle.
    pub sdp: String,
}

/// Answers offers, and keeps the connections that come of them.
pub trait Negotiator: Send + Sync + 'static {
    /// Dropping the future must leave nothing of the call behind: the client may go away while it runs.
    fn answer(&self, offer: Offer) -> BoxFuture<'_, Result<Answer, NegotiateError>>;
    /// More candidates of the client, as an SDP fragment (RFC 8840).
    fn add_candidates<'a>(&'a self, call: &'a CallId, fragment: &'a str) -> BoxFuture<'a, Result<(), NegotiateError>>;
    /// Restarts ICE with the client's new credentials in `fragment`; the answer is a fragment with the server's.
    fn restart<'a>(&'a self, call: &'a CallId, fragment: &'a str) -> BoxFuture<'a, Result<String, NegotiateError>>;
    /// Id of the key that was given out which a call came in with, `Some(None)` for one of the server's own; `None` if there is
    /// no such call.
    fn owner(&self, call: &CallId) -> Option<Option<String>>;
    /// Answers a whole new offer of the same client: an ICE restart after a change of network.
    fn answer_again<'a>(&'a self, call: &'a CallId, offer: &'a str) -> BoxFuture<'a, Result<String, NegotiateError>>;
    /// Ends a call; `false` if there is none.
    fn hang_up(&self, call: &CallId) -> bool;
}

//! What the HTTP doors need of whoever makes connections, so that they can be tested without one.

use futures_util::future::BoxFuture;

use crate::line::{CallId, Refusal, SessionPatch};
use crate::protocol::Protocol;

/// An offer of a call.
pub struct Offer {
    /// UTF-8 text that begins like SDP; no more of it has been checked.
    pub sdp: String,
    /// Which door it came in by; see [`crate::line::Line::door`].
    pub door: &'static str,
    pub session: SessionPatch,
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
    /// Ends a call; `false` if there is none.
    fn hang_up(&self, call: &CallId) -> bool;
}

/// Why an offer, or a change to a call, was not taken.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NegotiateError {
    /// With what was wrong.
    #[error("the offer cannot be taken: {0}")]
    BadSdp(String),
    #[error("the offer has no audio; add an audio track or transceiver before making it")]
    NoAudio,
    #[error("the offer has no audio codec that this server speaks; offer opus/48000/2")]
    NoCommonCodec,
    #[error("the request has more than {limit} bytes; an offer is a few kilobytes")]
    TooLarge { limit: usize },
    /// With what was wrong.
    #[error("the body is not a valid SDP fragment: {0}; see RFC 8840")]
    BadFragment(String),
    #[error("{0} is not supported; make a new call instead")]
    Unsupported(&'static str),
    #[error("there is no call {0}")]
    NoSuchCall(CallId),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the call could not be set up: {0}; try again, and see the server's log")]
    Internal(String),
}

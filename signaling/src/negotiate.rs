//! Why an offer, or a change to a call, was not taken: one type from the peer that reads it to the door that answers.

use crate::line::{CallId, Refusal};

/// Each is told to the client in its own words, under the code of [`NegotiateError::code`].
#[derive(Debug, Clone, thiserror::Error)]
pub enum NegotiateError {
    #[error("the offer is empty; send the SDP of your peer connection's local description")]
    Empty,
    #[error("the request has more than {limit} bytes; an offer has a few thousand")]
    TooLarge { limit: usize },
    #[error("the offer is not SDP: {why}; send the local description unchanged")]
    Malformed { why: String },
    #[error("the offer has no audio section; add a microphone track or an audio transceiver before the offer is made")]
    NoAudio,
    #[error("the offer's audio is inactive; make its transceiver sendrecv")]
    AudioInactive,
    #[error("the offer has no codec this server speaks, only {offered}; offer opus/48000/2")]
    NoCodec { offered: String },
    #[error("the offer has {count} media sections; at most {limit} are allowed")]
    TooMuchMedia { count: usize, limit: usize },
    #[error("there are too many candidates; at most {limit} are allowed")]
    TooManyCandidates { limit: usize },
    #[error("the offer cannot be answered: {why}")]
    Rejected { why: String },
    #[error("the body is not a valid SDP fragment: {why}; see RFC 8840")]
    BadFragment { why: String },
    #[error("{0} is not supported; make a new call instead")]
    Unsupported(&'static str),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("there is no call {0}; it has ended or never was")]
    UnknownCall(CallId),
    #[error("the call could not be set up: {why}; try again, and see the server's log")]
    Internal { why: String },
}

impl NegotiateError {
    /// Whether the client has to send something else (4xx) rather than try again (5xx).
    pub fn is_clients_fault(&self) -> bool {
        match self {
            Self::Refused(refusal) => {
                matches!(refusal, Refusal::NoSuchConversation(_) | Refusal::ResumeTokenInvalid)
            }
            Self::Internal { .. } => false,
            _ => true,
        }
    }

    /// One word a program can match on.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty
            | Self::Malformed { .. }
            | Self::TooMuchMedia { .. }
            | Self::TooManyCandidates { .. }
            | Self::Rejected { .. } => "invalid_sdp",
            Self::TooLarge { .. } => "too_large",
            Self::NoAudio | Self::AudioInactive => "no_audio",
            Self::NoCodec { .. } => "no_common_codec",
            Self::BadFragment { .. } => "invalid_sdp_fragment",
            Self::Unsupported(_) => "unsupported",
            Self::Refused(Refusal::Full { .. }) => "server_full",
            Self::Refused(Refusal::Loading { .. }) => "loading",
            Self::Refused(Refusal::EngineMissing { .. }) => "engine_missing",
            Self::Refused(Refusal::Draining { .. }) => "server_draining",
            Self::Refused(Refusal::Quota { .. }) => "quota_exceeded",
            Self::Refused(Refusal::NoSuchConversation(_)) => "conversation_not_found",
            Self::Refused(Refusal::ResumeTokenInvalid) => "resume_token_invalid",
            Self::UnknownCall(_) => "call_not_found",
            Self::Internal { .. } => "internal_error",
        }
    }
}

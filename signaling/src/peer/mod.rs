//! The server's side of WebRTC, and the only module besides [`crate::caller`] that knows the library's names.
//!
//! Owns negotiation, the one UDP port, tracks, pacing and hang-up. Promises a [`crate::line::Line`] for each client that
//! connects, and that whatever becomes of an offer, nothing of it stays behind. Decides nothing about the call.
//!
//! The server is a full ICE agent, not a lite one: it tests the path itself, so that it notices within seconds when a
//! client vanished, and its own checks open the way through a NAT on its side. It gathers nothing from STUN or TURN
//! servers: it is reached at its one port, whose public address can be configured.

mod answer;
pub(crate) mod connection;
pub(crate) mod events;
mod fragment;
mod host;
mod mux;
mod negotiator;
mod offer;
mod pump;
mod reach;
mod route;
mod runtime;
mod settings;
mod stats;
mod stun;
mod waiting;

pub use connection::MESSAGE_BOUND;
pub use host::{Answered, HostError, PeerHost};
pub use mux::PortStats;
pub use offer::{CANDIDATE_BOUND, MEDIA_BOUND, OFFER_BOUND};
pub use settings::{AnswerOptions, Patience, PeerSettings};
pub use stats::CallStats;

/// Reads an offer, and a fragment that follows it, as a call does before anything is made for them.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_for_fuzzing(offer: &str, text: &str) {
    let checked = offer::check(offer);
    if let Ok(fragment) = fragment::Fragment::parse(text)
        && fragment.restarts(offer)
    {
        // What a restart makes of a sound offer is read like any other.
        let restarted = offer::check(&fragment.as_offer(offer));
        drop((checked, restarted));
    }
}

/// The label of the data channel that carries events; made by the client.
pub const EVENTS_LABEL: &str = "oai-events";

/// Directives for a `tracing` filter: the library warns about healthy calls, so only its errors are worth a line.
pub const QUIET_TARGETS: &[&str] = &[
    "rtc=error",
    "rtc_dtls=error",
    "rtc_ice=error",
    "rtc_interceptor=error",
    "rtc_mdns=error",
    "rtc_rtp=error",
    "rtc_sctp=error",
    "rtc_srtp=error",
    "rtc_stun=error",
    "rtc_turn=error",
    "webrtc=error",
];

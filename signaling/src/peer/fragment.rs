//! SDP fragments (RFC 8840): how a WHIP client trickles candidates and restarts ICE.

use webrtc::peer_connection::RTCIceCandidateInit;

use crate::negotiate::NegotiateError;
use crate::peer::answer::credentials;
use crate::peer::offer::{CANDIDATE_BOUND, OFFER_BOUND};

/// A parsed fragment.
pub(super) struct Fragment {
    credentials: Option<(String, String)>,
    pub(super) candidates: Vec<RTCIceCandidateInit>,
}

impl Fragment {
    pub(super) fn parse(text: &str) -> Result<Self, NegotiateError> {
        if text.len() > OFFER_BOUND {
            return Err(NegotiateError::TooLarge { limit: OFFER_BOUND });
        }
        let mut candidates = Vec::new();
        let mut mid = None;
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("a=mid:") {
                mid = Some(name.to_owned());
            } else if let Some(candidate) = line.strip_prefix("a=")
                && candidate.starts_with("candidate:")
            {
                let candidate = candidate.to_owned();
                candidates.push(RTCIceCandidateInit { candidate, sdp_mid: mid.clone(), ..Default::default() });
            }
        }
        if candidates.len() > CANDIDATE_BOUND {
            return Err(NegotiateError::TooManyCandidates { limit: CANDIDATE_BOUND });
        }
        let credentials = credentials(text);
        if credentials.is_none() && candidates.is_empty() && !text.contains("a=end-of-candidates") {
            let why = "it has neither candidates nor ICE credentials".to_owned();
            return Err(NegotiateError::BadFragment { why });
        }
        Ok(Self { credentials, candidates })
    }

    /// Whether it speaks of another ICE generation than the client's current description.
    pub(super) fn restarts(&self, current: &str) -> bool {
        self.credentials.is_some() && self.credentials != credentials(current)
    }

    /// The current description with this fragment's credentials and candidates: the offer a full restart would send.
    pub(super) fn as_offer(&self, current: &str) -> String {
        let mut offer = String::with_capacity(current.len() + 512);
        for line in current.lines().filter(|line| !line.is_empty()) {
            match &self.credentials {
                _ if line.starts_with("a=candidate:") || line == "a=end-of-candidates" => continue,
                Some((ufrag, _)) if line.starts_with("a=ice-ufrag:") => push(&mut offer, "a=ice-ufrag:", ufrag),
                Some((_, password)) if line.starts_with("a=ice-pwd:") => {
                    push(&mut offer, "a=ice-pwd:", password);
                    for candidate in &self.candidates {
                        push(&mut offer, "a=", &candidate.candidate);
                    }
                }
                _ => push(&mut offer, line, ""),
            }
        }
        offer
    }
}

fn push(sdp: &mut String, key: &str, value: &str) {
    sdp.push_str(key);
    sdp.push_str(value);
    sdp.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    const OFFER: &str = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:old\r\na=ice-pwd:oldpw\r\n\
        a=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\na=sendrecv\r\n";

    #[test]
    fn a_late_candidate_is_not_taken_for_a_restart() {
        let text = "a=ice-ufrag:old\r\na=ice-pwd:oldpw\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:2 1 udp 1 192.0.2.2 2 typ host\r\n";
        let fragment = Fragment::parse(text).unwrap();
        assert!(!fragment.restarts(OFFER));
        assert_eq!(fragment.candidates.len(), 1);
        assert_eq!(fragment.candidates[0].sdp_mid.as_deref(), Some("0"));
    }

    #[test]
    fn a_restart_keeps_everything_but_the_transport() {
        let text = "a=ice-ufrag:new\na=ice-pwd:newpw\na=candidate:2 1 udp 1 192.0.2.2 2 typ host\n";
        let fragment = Fragment::parse(text).unwrap();
        assert!(fragment.restarts(OFFER));
        assert_eq!(
            fragment.as_offer(OFFER),
            "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:new\r\na=ice-pwd:newpw\r\n\
             a=candidate:2 1 udp 1 192.0.2.2 2 typ host\r\na=sendrecv\r\n"
        );
    }

    #[test]
    fn a_fragment_of_nothing_is_refused() {
        assert!(Fragment::parse("hello").is_err());
        assert!(Fragment::parse(&"a=candidate:1 1 udp 1 192.0.2.1 1 typ host\n".repeat(65)).is_err());
        assert!(Fragment::parse("a=end-of-candidates\r\n").is_ok());
    }
}

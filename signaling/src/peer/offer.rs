//! Reads a client's offer before anything is made for it, and says in plain words what is wrong with a bad one.

use std::io::Cursor;

use rtc::sdp::SessionDescription;

use crate::negotiate::NegotiateError;

/// An offer larger than this is refused unread: 1 MiB; real ones have 2 to 10 KiB.
pub const OFFER_BOUND: usize = 1 << 20;
/// Media sections an offer may have. A call needs one for audio and one for the data channel.
pub const MEDIA_BOUND: usize = 8;
/// Candidates an offer or a call may bring: each makes the server send connectivity checks to it.
pub const CANDIDATE_BOUND: usize = 32;

/// Refuses what no answer can be made for.
pub(super) fn check(offer: &str) -> Result<(), NegotiateError> {
    if offer.len() > OFFER_BOUND {
        return Err(NegotiateError::TooLarge { limit: OFFER_BOUND });
    }
    if offer.trim().is_empty() {
        return Err(NegotiateError::Empty);
    }
    let description = SessionDescription::unmarshal(&mut Cursor::new(offer.as_bytes()))
        .map_err(|error| NegotiateError::Malformed { why: error.to_string() })?;
    let sections = &description.media_descriptions;
    if sections.len() > MEDIA_BOUND {
        return Err(NegotiateError::TooMuchMedia { count: sections.len(), limit: MEDIA_BOUND });
    }
    let candidates = sections.iter().flat_map(|section| &section.attributes).filter(|line| line.key == "candidate");
    if candidates.count() > CANDIDATE_BOUND {
        return Err(NegotiateError::TooManyCandidates { limit: CANDIDATE_BOUND });
    }

    let audio = || sections.iter().filter(|section| section.media_name.media == "audio");
    if audio().next().is_none() {
        return Err(NegotiateError::NoAudio);
    }
    let live = || {
        audio().filter(|section| {
            section.media_name.port.value != 0
                && section.attribute("inactive").is_none()
                && description.attribute("inactive").is_none()
        })
    };
    if live().next().is_none() {
        return Err(NegotiateError::AudioInactive);
    }
    let codecs =
        || live().flat_map(|section| &section.attributes).filter(|line| line.key == "rtpmap").filter_map(codec);
    if !codecs().any(|name| name.eq_ignore_ascii_case("opus/48000/2")) {
        let offered: Vec<&str> = codecs().collect();
        let offered = if offered.is_empty() { "static payload types".to_owned() } else { offered.join(", ") };
        return Err(NegotiateError::NoCodec { offered });
    }
    Ok(())
}

/// `opus/48000/2` of `a=rtpmap:111 opus/48000/2`.
fn codec(line: &rtc::sdp::description::common::Attribute) -> Option<&str> {
    line.value.as_deref()?.split_ascii_whitespace().nth(1)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn offer(media: &str) -> String {
        format!("v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n{media}")
    }

    const OPUS: &str =
        "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=rtpmap:111 opus/48000/2\r\na=sendrecv\r\n";

    #[test]
    fn each_bad_offer_is_told_what_is_wrong_with_it() {
        let video = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=rtpmap:96 VP8/90000\r\n";
        let telephone = "m=audio 9 UDP/TLS/RTP/SAVPF 9\r\nc=IN IP4 0.0.0.0\r\na=rtpmap:9 G722/8000\r\na=sendrecv\r\n";
        let candidate = "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n";
        for (sdp, words) in [
            (String::new(), "is empty"),
            (" \r\n".to_owned(), "is empty"),
            ("v".repeat(OFFER_BOUND + 1), "more than 1048576 bytes"),
            ("hello".to_owned(), "not SDP"),
            ("{\"sdp\":\"v=0\"}".to_owned(), "not SDP"),
            (offer(""), "no audio section"),
            (offer(video), "no audio section"),
            (offer(&OPUS.replace("sendrecv", "inactive")), "inactive"),
            (offer(&OPUS.replace("audio 9", "audio 0")), "inactive"),
            (offer(telephone), "no codec"),
            (offer(&OPUS.repeat(MEDIA_BOUND + 1)), "media sections"),
            (offer(&format!("{OPUS}{}", candidate.repeat(CANDIDATE_BOUND + 1))), "candidates"),
        ] {
            let error = check(&sdp).unwrap_err();
            assert!(error.to_string().contains(words), "{sdp:.60}: {error}");
            assert!(error.is_clients_fault());
        }
    }

    #[test]
    fn an_offer_of_opus_is_taken_whatever_else_it_has() {
        check(&offer(OPUS)).unwrap();
        check(&offer(&OPUS.replace("opus", "OPUS"))).unwrap();
        check(&offer(&OPUS.replace("sendrecv", "recvonly"))).unwrap();
    }

    proptest::proptest! {
        #[test]
        fn no_offer_makes_the_check_panic(text in "(v=0\r\n)?([a-z]=[ -~]{0,30}\r\n){0,12}") {
            let _verdict = check(&text);
        }
    }
}

//! Makes the peer connection's answer true for the outside: every address the shared port is reached at, and no other.

use std::net::{IpAddr, SocketAddr};

use rtc::shared::ifaces::ifaces;

/// Where clients reach the shared port, best first: the public addresses if there are any, else the bound address, else
/// every address of this machine, else loopback.
pub(super) fn addresses(local: SocketAddr, public: &[IpAddr]) -> Vec<SocketAddr> {
    let at = |address: IpAddr| SocketAddr::new(address, local.port());
    if !public.is_empty() {
        return public.iter().copied().map(at).collect();
    }
    if !local.ip().is_unspecified() {
        return vec![local];
    }
    let interfaces = ifaces().unwrap_or_default();
    let mut own: Vec<IpAddr> = Vec::new();
    for address in interfaces.iter().filter_map(|interface| interface.addr).map(|address| address.ip()) {
        let served = address.is_ipv4() || local.is_ipv6();
        if served && !address.is_loopback() && !is_link_local(address) && !own.contains(&address) {
            own.push(address);
        }
    }
    if own.is_empty() {
        own.push(IpAddr::from([127, 0, 0, 1]));
    }
    own.into_iter().map(at).collect()
}

/// Useless without a scope, which candidates do not carry.
fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// The answer with `addresses` as its only candidates, on the first section that was not rejected: with BUNDLE all
/// others share its transport (RFC 9143).
pub(super) fn with_candidates(sdp: &str, addresses: &[SocketAddr]) -> String {
    let mut out = String::with_capacity(sdp.len() + addresses.len() * 80);
    let mut placed = false;
    let mut inside_first = false;
    for line in sdp.lines().filter(|line| !line.is_empty()) {
        if line.starts_with("a=candidate:") || line == "a=end-of-candidates" {
            continue;
        }
        if let Some(media) = line.strip_prefix("m=") {
            if inside_first {
                append(&mut out, addresses);
                placed = true;
            }
            let rejected = media.split_ascii_whitespace().nth(1) == Some("0");
            inside_first = !placed && !rejected;
        }
        out.push_str(line);
        out.push_str("\r\n");
    }
    if inside_first {
        append(&mut out, addresses);
    }
    out
}

fn append(sdp: &mut String, addresses: &[SocketAddr]) {
    for candidate in candidates(addresses) {
        sdp.push_str("a=");
        sdp.push_str(&candidate);
        sdp.push_str("\r\n");
    }
    sdp.push_str("a=end-of-candidates\r\n");
}

/// Candidate attributes (RFC 8839 section 5.1), the first address preferred (RFC 8445 section 5.1.2.1).
pub(super) fn candidates(addresses: &[SocketAddr]) -> impl Iterator<Item = String> {
    addresses.iter().zip(0_u32..).map(|(address, index)| {
        let priority = (126 << 24) | (65_535_u32.saturating_sub(index) << 8) | 255;
        format!("candidate:{} 1 udp {priority} {} {} typ host", index + 1, address.ip(), address.port())
    })
}

/// The answer with each section's direction made the counterpart of what was offered (RFC 3264 section 6.1): the library
/// answers `sendrecv` to one-way offers too, which browsers refuse.
pub(super) fn with_directions(answer: &str, offer: &str) -> String {
    let offered: Vec<&str> = sections(offer).skip(1).map(direction).collect();
    let mut out = String::with_capacity(answer.len());
    for (index, section) in sections(answer).enumerate() {
        let wanted = match index.checked_sub(1).and_then(|index| offered.get(index)) {
            Some(&"a=recvonly") => "a=sendonly",
            Some(&"a=sendonly") => "a=recvonly",
            Some(&"a=inactive") => "a=inactive",
            _ => "a=sendrecv",
        };
        for line in section.lines() {
            out.push_str(if line == "a=sendrecv" { wanted } else { line });
            out.push_str("\r\n");
        }
    }
    out
}

/// The session's part of a description, then each media section with its `m=` line.
fn sections(sdp: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(sdp);
    std::iter::from_fn(move || {
        let current = rest?;
        let end = current.find("\nm=").map_or(current.len(), |end| end + 1);
        let (section, after) = current.split_at(end);
        rest = (!after.is_empty()).then_some(after);
        Some(section)
    })
}

fn direction(section: &str) -> &str {
    let directions = ["a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"];
    section.lines().map(str::trim_end).find(|line| directions.contains(line)).unwrap_or("a=sendrecv")
}

/// Whether the answer's audio lets the server speak.
pub(super) fn may_send(answer: &str) -> bool {
    sections(answer)
        .find(|section| section.starts_with("m=audio"))
        .is_none_or(|audio| matches!(direction(audio), "a=sendrecv" | "a=sendonly"))
}

/// The ICE ufrag and password a description speaks of first; with BUNDLE there is one pair.
pub(super) fn credentials(sdp: &str) -> Option<(String, String)> {
    let value = |prefix| sdp.lines().find_map(|line| line.strip_prefix(prefix)).map(|text| text.trim().to_owned());
    Some((value("a=ice-ufrag:")?, value("a=ice-pwd:")?))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    const ANSWER: &str = "v=0\r\ns=-\r\nt=0 0\r\nm=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:1\r\na=ice-ufrag:abc\r\na=ice-pwd:secret\r\n\
        a=candidate:1 1 udp 1 127.0.0.1 40001 typ host\r\na=end-of-candidates\r\n\
        m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:2\r\na=candidate:1 1 udp 1 127.0.0.1 40001 typ host\r\n";

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn clients_behind_the_nat_are_told_the_public_address_only() {
        let public = addresses(at("0.0.0.0:7000"), &["203.0.113.9".parse().unwrap()]);
        let sdp = with_candidates(ANSWER, &public);
        assert!(
            sdp.contains("a=candidate:1 1 udp 2130706431 203.0.113.9 7000 typ host\r\na=end-of-candidates\r\nm=app")
        );
        assert_eq!(sdp.matches("a=candidate").count(), 1);
        assert!(!sdp.contains("40001"), "the port the library made up is nobody's");
    }

    #[test]
    fn candidates_stand_in_the_last_section_too() {
        let audio_only = ANSWER.split("m=application").next().unwrap();
        let sdp = with_candidates(audio_only, &[at("[2001:db8::1]:7000"), at("192.0.2.1:7000")]);
        assert!(sdp.ends_with(
            "a=candidate:1 1 udp 2130706431 2001:db8::1 7000 typ host\r\n\
             a=candidate:2 1 udp 2130706175 192.0.2.1 7000 typ host\r\na=end-of-candidates\r\n"
        ));
    }

    #[test]
    fn a_bound_address_is_the_only_one_offered() {
        assert_eq!(addresses(at("127.0.0.1:7000"), &[]), [at("127.0.0.1:7000")]);
    }

    #[test]
    fn an_unbound_one_offers_what_the_machine_has() {
        let own = addresses(at("0.0.0.0:7000"), &[]);
        assert!(!own.is_empty());
        assert!(own.iter().all(|address| address.port() == 7000 && !address.ip().is_unspecified()));
    }

    #[test]
    fn a_one_way_offer_gets_the_other_way_and_no_more() {
        let answer = "v=0\r\nm=audio 9 X 111\r\na=sendrecv\r\nm=application 9 Y z\r\na=sendrecv\r\n";
        for (offered, answered, speaks) in [
            ("sendrecv", "sendrecv", true),
            ("recvonly", "sendonly", true),
            ("sendonly", "recvonly", false),
            ("inactive", "inactive", false),
        ] {
            let offer = format!("v=0\r\nm=audio 9 X 111\r\na={offered}\r\nm=application 9 Y z\r\n");
            let fixed = with_directions(answer, &offer);
            assert_eq!(fixed, answer.replacen("sendrecv", answered, 1), "{offered}");
            assert_eq!(may_send(&fixed), speaks, "{offered}");
        }
    }

    #[test]
    fn the_credentials_are_read_from_the_answer() {
        assert_eq!(credentials(ANSWER), Some(("abc".to_owned(), "secret".to_owned())));
        assert_eq!(credentials("v=0\r\n"), None);
    }
}

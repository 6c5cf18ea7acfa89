//! Answers to offers as real clients word them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use signaling::peer::Patience;
use support::{options, server};

/// As Chromium words an offer of microphone, camera and data channel, shortened; Opus has an unusual payload type.
const BROWSER: &str = "v=0\r\no=- 4962303333179871722 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
a=group:BUNDLE 0 1 2\r\na=extmap-allow-mixed\r\na=msid-semantic: WMS stream\r\n\
m=audio 9 UDP/TLS/RTP/SAVPF 96 63 9 0 8 13 110 126\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n\
a=ice-ufrag:Yl0r\r\na=ice-pwd:6E6jF1gD1o0J5kq1n4v1G5Xc\r\na=ice-options:trickle\r\n\
a=fingerprint:sha-256 7B:8B:F0:65:5F:78:E2:51:3B:AC:6F:F3:3F:46:1B:35:DC:B8:5F:64:1A:24:C2:43:F0:A1:58:D0:A1:2C:19:08\r\n\
a=setup:actpass\r\na=mid:0\r\na=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n\
a=extmap:2 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
a=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=sendrecv\r\na=msid:stream track\r\na=rtcp-mux\r\na=rtcp-rsize\r\n\
a=rtpmap:96 opus/48000/2\r\na=rtcp-fb:96 transport-cc\r\na=fmtp:96 minptime=10;useinbandfec=1\r\n\
a=rtpmap:63 red/48000/2\r\na=fmtp:63 96/96\r\na=rtpmap:9 G722/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
a=rtpmap:13 CN/8000\r\na=rtpmap:110 telephone-event/48000\r\na=rtpmap:126 telephone-event/8000\r\n\
a=ssrc:1001 cname:abc\r\na=ssrc:1001 msid:stream track\r\n\
a=candidate:1 1 udp 2122260223 6f0c0b5e-0000-4000-8000-000000000000.local 50000 typ host generation 0\r\n\
m=video 9 UDP/TLS/RTP/SAVPF 97\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=ice-ufrag:Yl0r\r\n\
a=ice-pwd:6E6jF1gD1o0J5kq1n4v1G5Xc\r\n\
a=fingerprint:sha-256 7B:8B:F0:65:5F:78:E2:51:3B:AC:6F:F3:3F:46:1B:35:DC:B8:5F:64:1A:24:C2:43:F0:A1:58:D0:A1:2C:19:08\r\n\
a=setup:actpass\r\na=mid:1\r\na=sendrecv\r\na=rtcp-mux\r\na=rtpmap:97 VP8/90000\r\n\
m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:Yl0r\r\n\
a=ice-pwd:6E6jF1gD1o0J5kq1n4v1G5Xc\r\n\
a=fingerprint:sha-256 7B:8B:F0:65:5F:78:E2:51:3B:AC:6F:F3:3F:46:1B:35:DC:B8:5F:64:1A:24:C2:43:F0:A1:58:D0:A1:2C:19:08\r\n\
a=setup:actpass\r\na=mid:2\r\na=sctp-port:5000\r\na=max-message-size:262144\r\n";

fn section<'sdp>(sdp: &'sdp str, kind: &str) -> &'sdp str {
    let start = sdp.find(&format!("m={kind}")).unwrap();
    let rest = sdp.get(start..).unwrap();
    rest.find("\r\nm=").and_then(|end| rest.get(..end + 2)).unwrap_or(rest)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_gets_opus_by_its_own_number_and_every_candidate_at_once() {
    let server = server(1, Patience::default());
    let answered = server.host.answer(BROWSER, options()).await.unwrap();
    let audio = section(&answered.sdp, "audio");
    let port = server.host.local_address().port();
    for line in [
        "a=mid:0".to_owned(),
        "a=sendrecv".to_owned(),
        "a=setup:passive".to_owned(),
        "a=rtcp-mux".to_owned(),
        "a=rtpmap:96 opus/48000/2".to_owned(),
        "a=fmtp:96 minptime=10;useinbandfec=1".to_owned(),
        format!("a=candidate:1 1 udp 2130706431 127.0.0.1 {port} typ host"),
        "a=end-of-candidates".to_owned(),
    ] {
        assert!(audio.lines().any(|found| found == line), "no {line} in\n{audio}");
    }
    assert!(audio.starts_with("m=audio 9 UDP/TLS/RTP/SAVPF 96\r\n"), "only Opus is agreed on:\n{audio}");
    assert!(!audio.contains("transport-cc"), "no feedback that makes browsers pad:\n{audio}");
    assert!(section(&answered.sdp, "video").starts_with("m=video 0 "), "{}", answered.sdp);
    assert!(section(&answered.sdp, "application").contains("a=sctp-port:5000"));
    assert!(section(&answered.sdp, "application").contains("a=max-message-size:262144"), "{}", answered.sdp);
    assert_eq!(answered.sdp.matches("a=candidate:").count(), 1);
    assert!(server.host.hang_up(&answered.call), "a call that still connects can be hung up");
    server.empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trickled_candidates_and_a_restart_by_fragment_are_taken() {
    let server = server(1, Patience::default());
    let answered = server.host.answer(BROWSER, options()).await.unwrap();
    let call = &answered.call;
    let candidate = "candidate:2 1 udp 2122260223 127.0.0.1 50000 typ host";
    server.host.add_candidate(call, candidate, Some("0")).await.unwrap();
    server.host.add_candidate(call, "", Some("0")).await.unwrap();
    let trickle = format!(
        "a=ice-ufrag:Yl0r\r\na=ice-pwd:6E6jF1gD1o0J5kq1n4v1G5Xc\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\na={candidate}\r\n"
    );
    assert_eq!(server.host.patch(call, &trickle).await.unwrap(), None);
    let restart = format!(
        "a=ice-ufrag:other\r\na=ice-pwd:aaaaaaaaaaaaaaaaaaaaaaaa\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\na={candidate}\r\n"
    );
    let (fragment, generation) = server.host.patch(call, &restart).await.unwrap().unwrap();
    assert_ne!(generation, answered.ice_generation);
    assert!(fragment.contains(&format!("a=ice-ufrag:{generation}\r\n")), "{fragment}");
    assert!(fragment.contains("a=candidate:1 1 udp"), "{fragment}");
    let mut refused = 0;
    for _ in 0..100 {
        refused += usize::from(server.host.add_candidate(call, candidate, Some("0")).await.is_err());
    }
    assert!(refused > 30, "a client cannot make the server test addresses without end: {refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_only_listens_and_one_that_only_speaks_are_answered() {
    let server = server(2, Patience::default());
    for (offered, answered) in [("a=recvonly", "a=sendonly"), ("a=sendonly", "a=recvonly")] {
        let answer = server.host.answer(&BROWSER.replacen("a=sendrecv", offered, 1), options()).await.unwrap();
        assert!(section(&answer.sdp, "audio").contains(answered), "{}", answer.sdp);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_is_named_in_the_error() {
    let server = server(1, Patience::default());
    let address = server.host.local_address();
    let settings = signaling::peer::PeerSettings { bind: address, ..Default::default() };
    struct Nobody;
    impl signaling::line::Switchboard for Nobody {
        fn admit(&self, _: signaling::line::Asking<'_>) -> Result<signaling::line::Seat, signaling::line::Refusal> {
            Ok(signaling::line::Seat::new(()))
        }
        fn connect(&self, _: signaling::line::Line, _: signaling::line::Seat) {}
    }
    let error = signaling::peer::PeerHost::start(settings, std::sync::Arc::new(Nobody)).err().unwrap();
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

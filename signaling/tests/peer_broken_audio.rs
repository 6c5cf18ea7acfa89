//! A client whose packets are broken: concealed and counted, and the call goes on.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use audio::opus::{Encoder, EncoderSettings};
use rtc::rtp_transceiver::rtp_sender::{RTCRtpCodec, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind};
use signaling::line::FromCaller;
use signaling::peer::Patience;
use support::{hear, local, options, server, share_of, soon, tone};
use tokio::sync::watch;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceGatheringState,
    RTCPeerConnectionState, RTCSessionDescription,
};

struct Watching {
    gathered: watch::Sender<bool>,
    connected: watch::Sender<bool>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Watching {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        self.gathered.send_replace(state == RTCIceGatheringState::Complete);
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        self.connected.send_replace(state == RTCPeerConnectionState::Connected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_packets_are_concealed_and_the_voice_after_them_is_heard() {
    let mut server = server(1, Patience::default());
    let (gathered, mut all) = watch::channel(false);
    let (connected, mut up) = watch::channel(false);
    let mut media = MediaEngine::default();
    media.register_default_codecs().unwrap();
    let client = PeerConnectionBuilder::new()
        .with_media_engine(media)
        .with_handler(Arc::new(Watching { gathered, connected }))
        .with_udp_addrs(vec![local(0)])
        .build()
        .await
        .unwrap();
    let codec = RTCRtpCodec { mime_type: "audio/opus".into(), clock_rate: 48_000, channels: 2, ..Default::default() };
    let encoding = RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(77), ..Default::default() },
        codec,
        ..Default::default()
    };
    let name = || "raw".to_owned();
    let track = rtc::media_stream::MediaStreamTrack::new(name(), name(), name(), RtpCodecKind::Audio, vec![encoding]);
    let track = Arc::new(TrackLocalStaticRTP::new(track));
    let sender = client.add_track(Arc::clone(&track) as _).await.unwrap();
    let offer = client.create_offer(None).await.unwrap();
    client.set_local_description(offer).await.unwrap();
    soon(all.wait_for(|done| *done)).await.unwrap();
    let offer = client.local_description().await.unwrap().sdp;
    let answered = server.host.answer(&offer, options()).await.unwrap();
    client.set_remote_description(RTCSessionDescription::answer(answered.sdp).unwrap()).await.unwrap();
    let codecs = sender.get_parameters().await.unwrap().rtp_parameters.codecs;
    let opus = codecs.iter().find(|codec| codec.rtp_codec.mime_type.eq_ignore_ascii_case("audio/opus"));
    let payload_type = opus.unwrap().payload_type;
    soon(up.wait_for(|up| *up)).await.unwrap();
    let (mut line, _seat) = server.line().await;

    let mut encoder = Encoder::new(EncoderSettings::default()).unwrap();
    let voice = tone(600.0, Duration::from_millis(20)).samples;
    let sending = tokio::spawn(async move {
        let mut beat = tokio::time::interval(Duration::from_millis(20));
        for n in 0_u16..500 {
            beat.tick().await;
            let payload = match n % 50 {
                10 => vec![0xff; 40],
                11 => vec![0x7b; 3],
                12 => Vec::new(),
                13 => vec![0xfc; 1_800],
                14 => vec![0],
                _ => encoder.encode(&voice).unwrap(),
            };
            let packet = rtc::rtp::Packet {
                header: rtc::rtp::Header {
                    version: 2,
                    payload_type,
                    sequence_number: n,
                    timestamp: 960 * u32::from(n),
                    ssrc: 77,
                    ..Default::default()
                },
                payload: payload.into(),
            };
            if track.write_rtp(packet).await.is_err() {
                return;
            }
        }
    });
    // Twice through the broken stretch, and voice after each.
    let mut made_up = 0;
    for _ in 0..2 {
        let mut voiced = 0;
        let before = made_up;
        hear(&mut line, |word| {
            if let FromCaller::Audio(audio) = word {
                made_up += usize::from(audio.concealed);
                voiced += usize::from(!audio.concealed && share_of(&audio.samples, 16_000.0, 600.0) > 0.8);
            }
            (made_up > before && voiced > 10).then_some(())
        })
        .await;
    }
    let stats = server.host.call_stats(&line.call).unwrap();
    assert!(stats.padding_in > 0 && stats.oversize_payload > 0 && stats.network.corrupt > 0, "{stats:?}");
    client.close().await.unwrap();
    // No data channel: its goodbye is heard all the same.
    assert_eq!(support::hung_up(&mut line).await, signaling::line::HangUp::ByCaller);
    sending.abort();
}

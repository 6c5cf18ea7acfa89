//! One peer connection of the library, made, negotiated and always closed.
//!
//! Promises that every connection that was begun ends in `close()`, whichever way its owner goes: the library's driver
//! task and what it holds otherwise live for ever. Negotiation runs on a task of its own, so that a client which hangs
//! up in the middle of its request cannot cut it short and leave a driver behind.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rtc::ice::mdns::MulticastDnsMode;
use rtc::interceptor::Registry;
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::setting_engine::SctpMaxMessageSize;
use rtc::peer_connection::transport::{RTCDtlsRole, RTCDtlsTransportState};
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use webrtc::data_channel::DataChannel;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::TrackRemote;
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
    RTCIceCandidateInit, RTCIceGatheringState, RTCPeerConnectionState, RTCSessionDescription, SettingEngineBuilder,
    configure_rtcp_reports,
};
use webrtc::rtp_transceiver::RtpSender;
use webrtc::runtime::Runtime;

use crate::negotiate::NegotiateError;
use crate::peer::offer::CANDIDATE_BOUND;
use crate::peer::settings::Patience;

/// The largest data channel message taken or sent.
pub const MESSAGE_BOUND: usize = 256 * 1024;
/// Bytes a data channel may have unacknowledged before sending on it is refused.
const UNSENT_BOUND: usize = 1 << 20;
/// Pace of connectivity checks until one succeeds (RFC 8445 section 14.2). The library's own 200 ms would be heard as
/// the time a call takes to connect.
const CHECK_EVERY: Duration = Duration::from_millis(50);
/// Checks of one pair before it is given up, until the client's own check revives it.
const CHECKS_A_PAIR: u16 = 30;
/// Tracks and channels that may wait for the call's task. More are dropped: a call needs one of each.
const ARRIVALS_BOUND: usize = 16;

/// What a peer opens to us.
pub(crate) enum Opened {
    Track(Arc<dyn TrackRemote>),
    Channel(Arc<dyn DataChannel>),
}

/// What happens on a connection, as its owner sees it.
pub(crate) struct Happenings {
    pub(crate) state: watch::Receiver<RTCPeerConnectionState>,
    pub(crate) opened: mpsc::Receiver<Opened>,
}

/// Passes the library's callbacks on. They run on the driver's own task, so nothing here waits.
pub(crate) struct Handler {
    state: watch::Sender<RTCPeerConnectionState>,
    opened: mpsc::Sender<Opened>,
    gathered: watch::Sender<bool>,
}

impl Handler {
    pub(crate) fn new() -> (Arc<Self>, Happenings, watch::Receiver<bool>) {
        let (state, state_rx) = watch::channel(RTCPeerConnectionState::New);
        let (opened, opened_rx) = mpsc::channel(ARRIVALS_BOUND);
        let (gathered, gathered_rx) = watch::channel(false);
        let happenings = Happenings { state: state_rx, opened: opened_rx };
        (Arc::new(Self { state, opened, gathered }), happenings, gathered_rx)
    }
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        self.state.send_replace(state);
    }

    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.gathered.send_replace(true);
        }
    }

    async fn on_data_channel(&self, channel: Arc<dyn DataChannel>) {
        if self.opened.try_send(Opened::Channel(channel)).is_err() {
            tracing::debug!("a client opens more data channels than a call can use");
        }
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        if self.opened.try_send(Opened::Track(track)).is_err() {
            tracing::debug!("a client opens more tracks than a call can use");
        }
    }
}

/// A connection that is closed when its last owner lets go of it.
pub(crate) struct Guarded {
    connection: Arc<dyn PeerConnection>,
    handle: Handle,
    closed: AtomicBool,
}

impl Guarded {
    pub(crate) fn new(connection: Arc<dyn PeerConnection>, handle: Handle) -> Self {
        Self { connection, handle, closed: AtomicBool::new(false) }
    }

    pub(crate) fn get(&self) -> &dyn PeerConnection {
        &*self.connection
    }

    /// Closes now; later calls do nothing.
    pub(crate) async fn close(&self) {
        if !self.closed.swap(true, Ordering::AcqRel) {
            close(&*self.connection).await;
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if !self.closed.swap(true, Ordering::AcqRel) {
            let connection = Arc::clone(&self.connection);
            self.handle.spawn(async move { close(&*connection).await });
        }
    }
}

async fn close(connection: &dyn PeerConnection) {
    if let Err(error) = connection.close().await {
        tracing::warn!(%error, "a peer connection did not close cleanly");
    }
}

/// Opus as this server speaks it.
pub(crate) fn opus() -> RTCRtpCodecParameters {
    RTCRtpCodecParameters {
        rtp_codec: RTCRtpCodec {
            mime_type: "audio/opus".to_owned(),
            clock_rate: 48_000,
            channels: 2,
            sdp_fmtp_line: "minptime=10;useinbandfec=1".to_owned(),
            rtcp_feedback: Vec::new(),
        },
        payload_type: 111,
    }
}

/// The local audio track, its SSRC chosen at random (RFC 3550 section 8).
pub(crate) fn local_track(name: &str) -> (Arc<TrackLocalStaticRTP>, u32) {
    let ssrc = uuid::Uuid::new_v4().as_fields().0.max(1);
    let encoding = RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(ssrc), ..Default::default() },
        codec: opus().rtp_codec,
        active: true,
        ..Default::default()
    };
    let track = MediaStreamTrack::new(
        name.to_owned(),
        format!("{name}-audio"),
        format!("{name}-audio"),
        RtpCodecKind::Audio,
        vec![encoding],
    );
    (Arc::new(TrackLocalStaticRTP::new(track)), ssrc)
}

/// The payload type this connection's Opus goes out with, or `None` if Opus was not agreed on.
pub(crate) async fn opus_payload_type(sender: &dyn RtpSender) -> Option<u8> {
    let parameters = sender.get_parameters().await.ok()?;
    let codecs = parameters.rtp_parameters.codecs;
    codecs.iter().find(|codec| codec.rtp_codec.mime_type.eq_ignore_ascii_case("audio/opus")).map(|c| c.payload_type)
}

/// Builds a connection with Opus, RTCP reports and no more. Transport-wide feedback is left out on purpose: with it
/// browsers send padding packets, and a voice needs no bandwidth estimation.
pub(crate) async fn build(
    runtime: Arc<dyn Runtime>,
    handler: Arc<Handler>,
    bind: Vec<SocketAddr>,
    patience: Patience,
    handle: &Handle,
) -> Result<Guarded, webrtc::error::Error> {
    let mut media = MediaEngine::default();
    media.register_codec(opus(), RtpCodecKind::Audio)?;
    let settings = SettingEngineBuilder::new()
        .with_answering_dtls_role(RTCDtlsRole::Server)
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        .with_ice_timeouts(Some(patience.disconnected), Some(patience.failed), Some(patience.keepalive))
        .with_ice_connection_attempts(Some(CHECK_EVERY), Some(CHECKS_A_PAIR))
        .with_sctp_max_message_size(SctpMaxMessageSize::Bounded(MESSAGE_BOUND as u32))
        .build();
    let connection = PeerConnectionBuilder::new()
        .with_configuration(RTCConfigurationBuilder::new().build())
        .with_media_engine(media)
        .with_setting_engine(settings)
        .with_interceptor_registry(configure_rtcp_reports(Registry::new()))
        .with_data_channel_send_buffer_limit(UNSENT_BOUND)
        .with_handler(handler)
        .with_runtime(runtime)
        .with_udp_addrs(bind)
        .build()
        .await?;
    Ok(Guarded::new(Arc::new(connection), handle.clone()))
}

/// A connection the server answers with, and its sending half.
pub(super) struct Peer {
    pub(super) guarded: Guarded,
    pub(super) track: Arc<TrackLocalStaticRTP>,
    pub(super) ssrc: u32,
    sender: OnceLock<Arc<dyn RtpSender>>,
    candidates: AtomicUsize,
    /// One negotiation at a time.
    negotiating: tokio::sync::Mutex<()>,
}

impl Peer {
    pub(super) fn new(guarded: Guarded) -> Self {
        let (track, ssrc) = local_track("avatar");
        Self {
            guarded,
            track,
            ssrc,
            sender: OnceLock::new(),
            candidates: AtomicUsize::new(0),
            negotiating: tokio::sync::Mutex::default(),
        }
    }

    /// Answers the first offer; the answer's SDP as the library words it, and Opus' payload type.
    pub(super) async fn answer(&self, offer: &str) -> Result<(String, u8), NegotiateError> {
        let _turn = self.negotiating.lock().await;
        self.apply(offer).await?;
        // After the offer, so that the track takes the offered section and codec.
        let sender = self.guarded.get().add_track(Arc::clone(&self.track) as _).await.map_err(rejected)?;
        let answer = self.describe().await?;
        let payload_type = opus_payload_type(&*sender)
            .await
            .ok_or_else(|| NegotiateError::NoCodec { offered: "other codecs".to_owned() })?;
        let _first = self.sender.set(sender);
        Ok((answer, payload_type))
    }

    /// Whether the client has closed its side: its DTLS `close_notify` was read. The library tells nobody, and without
    /// a data channel there is no other sign of it until the path times out.
    pub(super) async fn is_closed_by_client(&self) -> bool {
        let Some(sender) = self.sender.get() else { return false };
        match sender.transport().await {
            Ok(Some(dtls)) => matches!(dtls.state().await, Ok(RTCDtlsTransportState::Closed)),
            _ => false,
        }
    }

    /// Answers a later offer of the same client: an ICE restart.
    pub(super) async fn answer_again(&self, offer: &str) -> Result<String, NegotiateError> {
        let _turn = self.negotiating.lock().await;
        self.apply(offer).await?;
        self.describe().await
    }

    async fn apply(&self, offer: &str) -> Result<(), NegotiateError> {
        let offer = RTCSessionDescription::offer(offer.to_owned())
            .map_err(|error| NegotiateError::Malformed { why: error.to_string() })?;
        self.guarded.get().set_remote_description(offer).await.map_err(rejected)
    }

    async fn describe(&self) -> Result<String, NegotiateError> {
        let connection = self.guarded.get();
        let answer = connection.create_answer(None).await.map_err(rejected)?;
        connection.set_local_description(answer.clone()).await.map_err(internal)?;
        Ok(answer.sdp)
    }

    /// The client's description as last applied.
    pub(super) async fn remote_sdp(&self) -> Option<String> {
        self.guarded.get().remote_description().await.map(|description| description.sdp)
    }

    /// Takes one more candidate of the client; an empty one marks the end.
    pub(super) async fn add_candidate(&self, candidate: RTCIceCandidateInit) -> Result<(), NegotiateError> {
        if self.candidates.fetch_add(1, Ordering::Relaxed) >= CANDIDATE_BOUND {
            return Err(NegotiateError::TooManyCandidates { limit: CANDIDATE_BOUND });
        }
        self.guarded.get().add_ice_candidate(candidate).await.map_err(rejected)
    }
}

fn rejected(error: webrtc::error::Error) -> NegotiateError {
    NegotiateError::Rejected { why: error.to_string() }
}

fn internal(error: webrtc::error::Error) -> NegotiateError {
    NegotiateError::Internal { why: error.to_string() }
}

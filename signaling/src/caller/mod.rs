//! A client that calls such a server: its microphone is PCM it is given, its speaker a recording with times.
//!
//! Owns one peer connection as a browser would have it: sendrecv Opus and the data channel `oai-events`. HTTP is its
//! user's. Promises to send a packet every 20 ms from connect to hang-up, silence where nothing is played, with
//! continuous timestamps, as a microphone does. `avatar call`, the benchmarks and the tests measure with it.

mod media;
pub mod recording;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use audio::pcm::Pcm;
use audio::resample::resample;
use rtc::peer_connection::configuration::RTCOfferOptions;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use webrtc::data_channel::DataChannel;
use webrtc::peer_connection::RTCSessionDescription;
use webrtc::rtp_transceiver::RtpSender;
use webrtc::runtime::TokioRuntime;

use crate::caller::media::{Ask, Media, Playing};
use crate::peer::connection::{Guarded, Handler, build, local_track, opus_payload_type};
use crate::peer::{EVENTS_LABEL, Patience};

pub use recording::{AUDIBLE, Hole, Recording, last_audible};

/// Events that may wait for the caller's user: over a minute of audio. When full, audio and messages are dropped and
/// [`CallerEventKind::Closed`] says how many.
pub const EVENTS_BOUND: usize = 4_096;
/// Recordings and messages that may wait to be sent. When full their sender waits.
const ASKS_BOUND: usize = 64;
/// Finding this machine's own candidates needs no network; longer than this and something is broken.
const GATHER_LIMIT: Duration = Duration::from_secs(5);

/// Why a call could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CallerError {
    #[error("the call must be made inside a tokio runtime")]
    NoRuntime,
    #[error("no call could be prepared: {0}")]
    Prepare(String),
    #[error("the server's answer cannot be used: {0}")]
    Answer(String),
    #[error("the recording cannot be played: {0}")]
    Recording(String),
    #[error("the call is over")]
    Over,
}

/// Settings of a [`Caller`].
#[derive(Debug, Clone)]
pub struct CallerSettings {
    /// Local addresses to call from; `0.0.0.0` stands for every interface but loopback. Default both.
    pub bind: Vec<SocketAddr>,
    pub patience: Patience,
}

impl Default for CallerSettings {
    fn default() -> Self {
        let bind = [Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED];
        Self {
            bind: bind.into_iter().map(|address| SocketAddr::new(IpAddr::V4(address), 0)).collect(),
            patience: Patience::default(),
        }
    }
}

/// Something that happened on the call, and when.
#[derive(Debug, Clone)]
pub struct CallerEvent {
    pub at: Instant,
    pub kind: CallerEventKind,
}

#[derive(Debug, Clone)]
pub enum CallerEventKind {
    Connected,
    /// The data channel can be used.
    Open,
    /// A text from the data channel.
    Message(String),
    /// One packet of the server's voice: 48 kHz mono, and its RTP timestamp.
    Audio {
        pcm: Pcm,
        timestamp: u32,
    },
    /// The call is over; the last event. `missed` events were dropped because nobody took them.
    Closed {
        missed: u64,
    },
}

/// One call, from offer to hang-up. Dropping it hangs up.
pub struct Caller {
    guarded: Arc<Guarded>,
    asks: mpsc::Sender<Ask>,
    events: Option<mpsc::Receiver<CallerEvent>>,
    /// What starts when the answer has come.
    waiting: Option<(oneshot::Sender<u8>, Arc<dyn RtpSender>)>,
}

impl Caller {
    /// Prepares a call; the offer carries all candidates.
    pub async fn offer(settings: CallerSettings) -> Result<(Self, String), CallerError> {
        let handle = Handle::try_current().map_err(|_| CallerError::NoRuntime)?;
        // On a task of its own, so that a dropped future leaves no half-made connection behind.
        let prepared = handle.clone().spawn(async move { Self::prepare(settings, handle).await }).await;
        prepared.unwrap_or_else(|_| Err(CallerError::Prepare("it was broken off".to_owned())))
    }

    async fn prepare(settings: CallerSettings, handle: Handle) -> Result<(Self, String), CallerError> {
        let prepare = |error: webrtc::error::Error| CallerError::Prepare(error.to_string());
        let (handler, happenings, mut gathered) = Handler::new();
        let runtime = Arc::new(TokioRuntime);
        let guarded = build(runtime, handler, settings.bind, settings.patience, &handle).await.map_err(prepare)?;
        let connection = guarded.get();
        let (track, ssrc) = local_track("caller");
        let sender = connection.add_track(Arc::clone(&track) as _).await.map_err(prepare)?;
        let channel: Arc<dyn DataChannel> =
            connection.create_data_channel(EVENTS_LABEL, None).await.map_err(prepare)?;
        let offer = connection.create_offer(None).await.map_err(prepare)?;
        connection.set_local_description(offer).await.map_err(prepare)?;
        let all = tokio::time::timeout(GATHER_LIMIT, gathered.wait_for(|complete| *complete)).await;
        if !matches!(all, Ok(Ok(_))) {
            return Err(CallerError::Prepare("no local address was found in time".to_owned()));
        }
        drop(all);
        let local = connection.local_description().await;
        let sdp = local.ok_or_else(|| CallerError::Prepare("there is no local description".to_owned()))?.sdp;

        let guarded = Arc::new(guarded);
        let (asks, asked) = mpsc::channel(ASKS_BOUND);
        let (events, events_rx) = mpsc::channel(EVENTS_BOUND);
        let media = Media::new(Arc::clone(&guarded), happenings, channel, track, ssrc, asked, events)
            .map_err(|error| CallerError::Prepare(error.to_string()))?;
        let (start, started) = oneshot::channel();
        handle.spawn(media.run(started));
        Ok((Self { guarded, asks, events: Some(events_rx), waiting: Some((start, sender)) }, sdp))
    }

    /// Takes the server's answer; the call connects. Once.
    pub async fn accept(&mut self, answer: &str) -> Result<(), CallerError> {
        self.apply(answer).await?;
        let (start, sender) = self.waiting.take().ok_or(CallerError::Over)?;
        let payload_type = opus_payload_type(&*sender)
            .await
            .ok_or_else(|| CallerError::Answer("it does not agree on Opus".to_owned()))?;
        start.send(payload_type).map_err(|_| CallerError::Over)
    }

    /// An offer with a new ICE generation, for [`Self::accept_restart`]: what a client sends when its network changed.
    pub async fn restart(&self) -> Result<String, CallerError> {
        let prepare = |error: webrtc::error::Error| CallerError::Prepare(error.to_string());
        let connection = self.guarded.get();
        let options = RTCOfferOptions { ice_restart: true };
        let offer = connection.create_offer(Some(options)).await.map_err(prepare)?;
        connection.set_local_description(offer.clone()).await.map_err(prepare)?;
        Ok(connection.local_description().await.map_or(offer.sdp, |description| description.sdp))
    }

    /// Takes the answer to [`Self::restart`].
    pub async fn accept_restart(&self, answer: &str) -> Result<(), CallerError> {
        self.apply(answer).await
    }

    async fn apply(&self, answer: &str) -> Result<(), CallerError> {
        let unusable = |error: webrtc::error::Error| CallerError::Answer(error.to_string());
        let answer = RTCSessionDescription::answer(answer.to_owned()).map_err(unusable)?;
        self.guarded.get().set_remote_description(answer).await.map_err(unusable)
    }

    /// What happens on the call. The first caller takes it; `None` afterwards.
    pub fn events(&mut self) -> Option<mpsc::Receiver<CallerEvent>> {
        self.events.take()
    }

    /// Says this after what is already queued, at real time.
    pub async fn play(&self, pcm: Pcm) -> Result<Spoken, CallerError> {
        let pcm = resample(&pcm, audio::opus::RATE).map_err(|error| CallerError::Recording(error.to_string()))?;
        let (last_voiced, spoken) = oneshot::channel();
        self.ask(Ask::Play(Playing::new(pcm.samples, last_voiced))).await?;
        Ok(Spoken(spoken))
    }

    /// Sends a text over the data channel, as soon as that is open.
    pub async fn send(&self, text: String) -> Result<(), CallerError> {
        self.ask(Ask::Send(text)).await
    }

    async fn ask(&self, ask: Ask) -> Result<(), CallerError> {
        self.asks.send(ask).await.map_err(|_| CallerError::Over)
    }

    /// Closes the data channel and the connection, and returns when that is done.
    pub async fn hang_up(mut self) {
        self.waiting = None;
        let (done, gone) = oneshot::channel();
        if self.asks.send(Ask::HangUp(done)).await.is_ok() {
            let _gone = gone.await;
        }
        self.guarded.close().await;
    }
}

/// A recording on its way.
pub struct Spoken(oneshot::Receiver<Instant>);

impl Spoken {
    /// When the packet with its last audible sample was sent; of a silent one, with its last sample. `None` if the call
    /// ended first.
    pub async fn last_voiced(self) -> Option<Instant> {
        self.0.await.ok()
    }
}

//! The caller's one task: microphone at real time, speaker, data channel.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use audio::frames::SENT_FRAME;
use audio::opus::{Decoder, Encoder, EncoderSettings, OpusError, RATE};
use audio::pcm::Pcm;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use webrtc::data_channel::{DataChannel, DataChannelEvent};
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::RTCPeerConnectionState;

use crate::caller::recording::last_audible;
use crate::caller::{CallerEvent, CallerEventKind};
use crate::peer::connection::{Guarded, Happenings, Opened};
use crate::peer::events::close;

const PACKET: Duration = Duration::from_millis(20);
/// How long a hang-up waits for the server to have noticed.
const FAREWELL: Duration = Duration::from_millis(500);
/// Texts that wait for the data channel to open; more are dropped.
const UNSENT_BOUND: usize = 256;

/// What the caller's user asks for.
pub(super) enum Ask {
    Play(Playing),
    Send(String),
    HangUp(oneshot::Sender<()>),
}

/// A recording that is being said.
pub(super) struct Playing {
    samples: Vec<f32>,
    /// Samples sent.
    position: usize,
    /// Where its voice ends.
    voiced: usize,
    last_voiced: Option<oneshot::Sender<Instant>>,
}

impl Playing {
    pub(super) fn new(samples: Vec<f32>, last_voiced: oneshot::Sender<Instant>) -> Self {
        let voiced = last_audible(&samples);
        Self { samples, position: 0, voiced, last_voiced: Some(last_voiced) }
    }
}

pub(super) struct Media {
    guarded: Arc<Guarded>,
    happenings: Happenings,
    channel: Arc<dyn DataChannel>,
    open: bool,
    unsent: VecDeque<String>,
    track: Arc<TrackLocalStaticRTP>,
    ssrc: u32,
    remote: Option<Arc<dyn TrackRemote>>,
    asked: mpsc::Receiver<Ask>,
    events: mpsc::Sender<CallerEvent>,
    missed: u64,
    encoder: Encoder,
    decoder: Decoder,
    queue: VecDeque<Playing>,
    sequence: u16,
    timestamp: u32,
}

enum Over {
    HungUp(Option<oneshot::Sender<()>>),
    ByServer,
}

impl Media {
    pub(super) fn new(
        guarded: Arc<Guarded>,
        happenings: Happenings,
        channel: Arc<dyn DataChannel>,
        track: Arc<TrackLocalStaticRTP>,
        ssrc: u32,
        asked: mpsc::Receiver<Ask>,
        events: mpsc::Sender<CallerEvent>,
    ) -> Result<Self, OpusError> {
        Ok(Self {
            guarded,
            happenings,
            channel,
            open: false,
            unsent: VecDeque::new(),
            track,
            ssrc,
            remote: None,
            asked,
            events,
            missed: 0,
            encoder: Encoder::new(EncoderSettings::default())?,
            decoder: Decoder::new()?,
            queue: VecDeque::new(),
            // Any start will do (RFC 3550 section 5.1); the SSRC is random already.
            sequence: (ssrc >> 16) as u16,
            timestamp: ssrc,
        })
    }

    /// Begins when the answer, and with it Opus' payload type, is there.
    pub(super) async fn run(mut self, started: oneshot::Receiver<u8>) {
        let over = match started.await {
            Ok(payload_type) => self.talk(payload_type).await,
            Err(_) => Over::HungUp(None),
        };
        match over {
            Over::HungUp(done) => {
                let _late = tokio::time::timeout(FAREWELL, close(Some(&*self.channel))).await;
                self.guarded.close().await;
                if let Some(done) = done {
                    let _gone = done.send(());
                }
            }
            Over::ByServer => self.guarded.close().await,
        }
        let missed = self.missed;
        let closed = CallerEvent { at: Instant::now(), kind: CallerEventKind::Closed { missed } };
        let _told = self.events.send(closed).await;
    }

    async fn talk(&mut self, payload_type: u8) -> Over {
        let mut connected = false;
        let mut next = tokio::time::Instant::now();
        loop {
            tokio::select! {
                changed = self.happenings.state.changed() => {
                    if changed.is_err() {
                        return Over::ByServer;
                    }
                    let state = *self.happenings.state.borrow_and_update();
                    match state {
                        RTCPeerConnectionState::Connected if !connected => {
                            connected = true;
                            next = tokio::time::Instant::now();
                            self.tell(CallerEventKind::Connected);
                        }
                        RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed => return Over::ByServer,
                        _ => {}
                    }
                }
                opened = self.happenings.opened.recv() => match opened {
                    Some(Opened::Track(track)) => self.remote = Some(track),
                    Some(Opened::Channel(_)) => {}
                    None => return Over::ByServer,
                },
                ask = self.asked.recv() => match ask {
                    Some(Ask::Play(playing)) => self.queue.push_back(playing),
                    Some(Ask::Send(text)) if self.unsent.len() < UNSENT_BOUND => {
                        self.unsent.push_back(text);
                        self.flush().await;
                    }
                    Some(Ask::Send(_)) => self.missed += 1,
                    Some(Ask::HangUp(done)) => return Over::HungUp(Some(done)),
                    None => return Over::HungUp(None),
                },
                event = self.channel.poll() => match event {
                    Some(DataChannelEvent::OnOpen) => {
                        self.open = true;
                        self.tell(CallerEventKind::Open);
                        self.flush().await;
                    }
                    Some(DataChannelEvent::OnMessage(message)) => {
                        self.tell(CallerEventKind::Message(String::from_utf8_lossy(&message.data).into_owned()));
                    }
                    Some(DataChannelEvent::OnClosing | DataChannelEvent::OnClose) | None => return Over::ByServer,
                    Some(_) => {}
                },
                event = heard(self.remote.as_deref()) => match event {
                    Some(TrackRemoteEvent::OnRtpPacket(packet)) => self.hear(&packet),
                    Some(_) => {}
                    None => self.remote = None,
                },
                () = tokio::time::sleep_until(next), if connected => {
                    next += PACKET;
                    if !self.speak(payload_type).await {
                        return Over::ByServer;
                    }
                }
            }
        }
    }

    fn tell(&mut self, kind: CallerEventKind) {
        if self.events.try_send(CallerEvent { at: Instant::now(), kind }).is_err() {
            self.missed += 1;
        }
    }

    fn hear(&mut self, packet: &rtc::rtp::Packet) {
        let mut samples = Vec::new();
        if self.decoder.decode(&packet.payload, &mut samples).is_ok() {
            let timestamp = packet.header.timestamp;
            self.tell(CallerEventKind::Audio { pcm: Pcm::new(RATE, samples), timestamp });
        }
    }

    async fn flush(&mut self) {
        while self.open
            && let Some(text) = self.unsent.pop_front()
        {
            if self.channel.send_text(&text).await.is_err() {
                self.missed += 1;
            }
        }
    }

    /// Sends the next 20 ms; `false` when the connection is gone.
    async fn speak(&mut self, payload_type: u8) -> bool {
        let mut frame = Vec::with_capacity(SENT_FRAME);
        let mut voiced = Vec::new();
        while frame.len() < SENT_FRAME
            && let Some(playing) = self.queue.front_mut()
        {
            let wanted = SENT_FRAME - frame.len();
            let piece = playing.samples.iter().skip(playing.position).take(wanted);
            let before = frame.len();
            frame.extend(piece);
            playing.position += frame.len() - before;
            if playing.position >= playing.voiced {
                voiced.extend(playing.last_voiced.take());
            }
            if playing.position >= playing.samples.len() {
                self.queue.pop_front();
            }
        }
        frame.resize(SENT_FRAME, 0.0);
        let Ok(payload) = self.encoder.encode(&frame) else {
            return false;
        };
        let packet = rtc::rtp::Packet {
            header: rtc::rtp::Header {
                version: 2,
                payload_type,
                sequence_number: self.sequence,
                timestamp: self.timestamp,
                ssrc: self.ssrc,
                ..Default::default()
            },
            payload: Bytes::from(payload),
        };
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(SENT_FRAME as u32);
        let sent = self.track.write_rtp(packet).await.is_ok();
        let now = Instant::now();
        for waiting in voiced {
            let _told = waiting.send(now);
        }
        sent
    }
}

/// The remote track's next event; never, while there is none.
async fn heard(track: Option<&dyn TrackRemote>) -> Option<TrackRemoteEvent> {
    match track {
        Some(track) => track.poll().await,
        None => std::future::pending().await,
    }
}

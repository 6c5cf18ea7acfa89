//! The one task of a call at this door: it carries between the peer connection and the line, and keeps the beat.
//!
//! Every select arm either finishes at once or only queues, so that nothing a client or a call does delays the next
//! packet. Owns both directions' audio state; decides nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use audio::inbound::Inbound;
use audio::opus::EncoderSettings;
use audio::outbound::{Outbound, TIMESTAMP_STEP};
use audio::pacer::Pacer;
use audio::playout::{Notice, PlayoutError};
use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use webrtc::data_channel::DataChannelEvent;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::RTCPeerConnectionState;

use crate::line::{
    CallId, CallerAudio, FromCaller, HangUp, Line, LineEnd, OUTGOING_BOUND, Playout, ReplyId, Seat, Switchboard,
    ToCaller,
};
use crate::peer::connection::{Happenings, Opened, Peer};
use crate::peer::events::{Events, close, next};
use crate::peer::host::{Listed, Registration};
use crate::peer::reach::Reach;
use crate::peer::route::Route;
use crate::peer::settings::{AnswerOptions, Patience};
use crate::peer::stats::{CallCounters, count};
use crate::peer::waiting::{at, ended, heard, room};

/// Opus in one datagram cannot be larger.
const PAYLOAD_BOUND: usize = 1_500;
/// Commands and notices that may wait while the call does not take them. At the bound the data channel is not read and
/// playout positions are left out.
const TO_CALL_BOUND: usize = 256;
/// A call that has let so much wait is stuck: its line has been full for many seconds.
const CALL_STUCK: usize = 4 * TO_CALL_BOUND;
/// How long after a DTLS alert to look for the connection to be closed by it.
const SUSPICION: Duration = Duration::from_millis(500);
/// How long the call may take to hear that its client has hung up, before its line is simply dropped.
const LAST_WORD: Duration = Duration::from_secs(5);

/// A call from its answer to its end.
pub(super) struct Pump {
    pub(super) call: CallId,
    pub(super) options: AnswerOptions,
    pub(super) peer: Arc<Peer>,
    pub(super) payload_type: u8,
    /// The client does not want to hear: audio is paced and reported as if it did, but not sent.
    pub(super) mute: bool,
    pub(super) route: Arc<Route>,
    pub(super) happenings: Happenings,
    pub(super) ending: watch::Receiver<Option<HangUp>>,
    pub(super) counters: Arc<CallCounters>,
    pub(super) patience: Patience,
    pub(super) switchboard: Arc<dyn Switchboard>,
    pub(super) seat: Seat,
    /// Its claim on the port and its place among the calls, given back last and in this order: a call that is no longer
    /// listed has left nothing behind.
    pub(super) held: (Registration, Listed),
}

impl Pump {
    pub(super) async fn run(mut self) {
        let connected = self.connect().await;
        let Self { call, options, peer, payload_type, mute, route, happenings, ending, counters, patience, .. } = self;
        let (switchboard, seat, held) = (self.switchboard, self.seat, self.held);
        if !connected {
            peer.guarded.close().await;
            drop((held, seat));
            return;
        }
        let (Ok(inbound), Ok(outbound)) = (Inbound::new(), Outbound::new(EncoderSettings::default())) else {
            tracing::error!(%call, "no memory for one more call's audio; it is hung up");
            peer.guarded.close().await;
            return;
        };
        let owner = options.grant.map(|grant| grant.key);
        let closed = if options.session.keep_on_close == Some(true) { HangUp::Vanished } else { HangUp::ByCaller };
        let (line, LineEnd { incoming, outgoing }) = Line::new(call.clone(), options.door, options.session, owner);
        switchboard.connect(line, seat);
        let now = Instant::now();
        let talk = Talk {
            call,
            peer: Arc::clone(&peer),
            payload_type,
            mute,
            route,
            happenings,
            ending,
            closed,
            patience,
            incoming,
            outgoing,
            to_call: VecDeque::new(),
            backlog: VecDeque::new(),
            events: Events::new(options.protocol, Arc::clone(&counters)),
            counters,
            inbound,
            outbound,
            remote: None,
            pacer: Pacer::new(now),
            sequence: peer.ssrc as u16,
            timestamp: peer.ssrc.rotate_left(16),
            spurt: false,
            suspicious_until: None,
            reach: Reach::default(),
            held: false,
        };
        talk.run().await;
        peer.guarded.close().await;
        drop(held);
    }

    /// Waits for the client; `false` if it does not come.
    async fn connect(&mut self) -> bool {
        let deadline = tokio::time::sleep(self.patience.connect);
        tokio::pin!(deadline);
        loop {
            tokio::select! {
                changed = self.happenings.state.changed() => {
                    if changed.is_err() {
                        return false;
                    }
                    match *self.happenings.state.borrow_and_update() {
                        RTCPeerConnectionState::Connected => return true,
                        RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed => return false,
                        _ => {}
                    }
                }
                _why = ended(&mut self.ending) => return false,
                () = &mut deadline => {
                    tracing::info!(call = %self.call, "an offer was answered and abandoned");
                    return false;
                }
            }
        }
    }
}

/// A connected call.
struct Talk {
    call: CallId,
    peer: Arc<Peer>,
    payload_type: u8,
    mute: bool,
    route: Arc<Route>,
    happenings: Happenings,
    ending: watch::Receiver<Option<HangUp>>,
    /// What it means that the client closes the connection or the data channel.
    closed: HangUp,
    counters: Arc<CallCounters>,
    patience: Patience,
    incoming: mpsc::Sender<FromCaller>,
    outgoing: mpsc::Receiver<ToCaller>,
    to_call: VecDeque<FromCaller>,
    /// Reply audio beyond what the playout queue takes, in order; `None` is its end. At [`OUTGOING_BOUND`] the call
    /// waits.
    backlog: VecDeque<(ReplyId, Option<audio::pcm::Pcm>)>,
    events: Events,
    inbound: Inbound,
    outbound: Outbound<ReplyId>,
    remote: Option<Arc<dyn TrackRemote>>,
    pacer: Pacer,
    sequence: u16,
    timestamp: u32,
    /// The packet before was audible.
    spurt: bool,
    /// An alert came lately: look at each beat until then whether it was the client's goodbye.
    suspicious_until: Option<Instant>,
    reach: Reach,
    /// The reply is held back, because the client is out of reach.
    held: bool,
}

impl Talk {
    async fn run(mut self) {
        let why = self.carry().await;
        tracing::info!(call = %self.call, ?why, "a call has ended");
        self.notices(Instant::now());
        // The client may still listen: let it have what it was told last.
        if why == HangUp::ByServer {
            let _late = tokio::time::timeout(self.patience.farewell, self.last_events()).await;
        }
        let last_words = async {
            for word in self.to_call.drain(..).chain([FromCaller::HungUp(why)]) {
                if self.incoming.send(word).await.is_err() {
                    break;
                }
            }
        };
        if tokio::time::timeout(LAST_WORD, last_words).await.is_err() {
            tracing::warn!(call = %self.call, "a call does not take its hang-up; its line is dropped");
        }
        drop(self.incoming);
        if why != HangUp::Vanished {
            let _late = tokio::time::timeout(self.patience.farewell, close(self.events.channel())).await;
        }
    }

    /// Until the client has what it was told, on a channel that may only just be opening.
    async fn last_events(&mut self) {
        while self.events.lack_channel() {
            match self.happenings.opened.recv().await {
                Some(Opened::Channel(channel)) => self.events.open(channel).await,
                Some(Opened::Track(_)) => {}
                None => return,
            }
        }
        self.events.drain().await;
    }

    /// Until somebody hangs up.
    async fn carry(&mut self) -> HangUp {
        loop {
            let next_packet = tokio::time::Instant::from_std(self.pacer.next_wake());
            let next_heard = self.inbound.next_wake();
            tokio::select! {
                // The beat first, then what ends the call, then everything else.
                biased;
                () = tokio::time::sleep_until(next_packet) => {
                    if !self.beat().await {
                        return HangUp::Vanished;
                    }
                    if self.has_said_goodbye().await {
                        return self.closed;
                    }
                }
                () = self.route.alert.notified() => self.suspicious_until = Some(Instant::now() + SUSPICION),
                why = ended(&mut self.ending) => return why,
                changed = self.happenings.state.changed() => {
                    if changed.is_err() {
                        return HangUp::Vanished;
                    }
                    let state = *self.happenings.state.borrow_and_update();
                    match state {
                        RTCPeerConnectionState::Failed => return HangUp::Vanished,
                        RTCPeerConnectionState::Closed => return self.closed,
                        // A change of network; it comes back or it fails.
                        RTCPeerConnectionState::Disconnected => tracing::debug!(call = %self.call, "a client is out of reach"),
                        _ => {}
                    }
                }
                opened = self.happenings.opened.recv() => match opened {
                    // The newest counts: after an ICE restart the same track opens again.
                    Some(Opened::Track(track)) => self.remote = Some(track),
                    Some(Opened::Channel(channel)) => self.events.open(channel).await,
                    None => return HangUp::Vanished,
                },
                event = heard(self.remote.as_deref()) => match event {
                    Some(TrackRemoteEvent::OnRtpPacket(packet)) => self.receive(&packet),
                    Some(_) => {}
                    None => self.remote = None,
                },
                () = at(next_heard) => self.hear(Instant::now()),
                event = next(self.events.channel()), if self.to_call.len() < TO_CALL_BOUND => match event {
                    Some(DataChannelEvent::OnMessage(message)) => {
                        if let Some(command) = self.events.read(&message) {
                            self.to_call.push_back(FromCaller::Command(command));
                        }
                    }
                    Some(DataChannelEvent::OnClosing | DataChannelEvent::OnClose) | None => return self.closed,
                    Some(_) => {}
                },
                () = room(&self.incoming), if !self.to_call.is_empty() => {
                    // Nobody else sends on this line, so the room is still there; a line without a call ends below.
                    if let Some(word) = self.to_call.pop_front() {
                        let _line_gone = self.incoming.try_send(word);
                    }
                }
                said = self.outgoing.recv(), if self.backlog.len() < OUTGOING_BOUND => match said {
                    Some(ToCaller::HangUp) | None => return HangUp::ByServer,
                    Some(said) => self.say(said).await,
                },
            }
            if self.incoming.is_closed() {
                return HangUp::ByServer;
            }
            if self.to_call.len() > CALL_STUCK {
                tracing::error!(call = %self.call, "a call takes nothing from its line; it is hung up");
                return HangUp::ByServer;
            }
        }
    }

    /// One audio packet of the client.
    fn receive(&mut self, packet: &rtc::rtp::Packet) {
        count(&self.counters.packets_in);
        if packet.header.payload_type != self.payload_type {
            count(&self.counters.foreign_payload);
            return;
        }
        let payload: &[u8] = match packet.payload.len() {
            0 => {
                count(&self.counters.padding_in);
                &[]
            }
            length if length > PAYLOAD_BOUND => {
                count(&self.counters.oversize_payload);
                return;
            }
            _ => &packet.payload,
        };
        let now = Instant::now();
        let header = &packet.header;
        let arrived = self.route.arrival(header.sequence_number).unwrap_or(now);
        self.reach.heard(arrived);
        self.inbound.receive(arrived, header.sequence_number, header.timestamp, payload);
        self.hear(now);
    }

    /// Hands on what can be heard by now.
    fn hear(&mut self, now: Instant) {
        while let Some(frame) = self.inbound.poll(now) {
            count(&self.counters.frames_heard);
            if frame.concealed {
                count(&self.counters.frames_concealed);
            }
            let heard = CallerAudio { arrived: frame.arrived, samples: frame.samples, concealed: frame.concealed };
            // Late audio is worth nothing: what does not fit is dropped, and everything else waits its turn.
            if self.incoming.try_send(FromCaller::Audio(heard)).is_err() {
                count(&self.counters.frames_dropped);
            }
        }
        self.counters.note(self.inbound.stats());
    }

    async fn say(&mut self, said: ToCaller) {
        match said {
            ToCaller::Speak { reply, pcm } => self.backlog.push_back((reply, Some(pcm))),
            ToCaller::Finish { reply } => self.backlog.push_back((reply, None)),
            ToCaller::Cut { reply } => {
                self.backlog.retain(|(queued, _)| *queued != reply);
                self.outbound.cut(reply);
            }
            ToCaller::Event(event) => self.events.tell(&event).await,
            ToCaller::HangUp => {}
        }
        self.queue();
        self.notices(Instant::now());
    }

    /// Moves reply audio into the playout queue as far as it has room.
    fn queue(&mut self) {
        while let Some((reply, pcm)) = self.backlog.front() {
            match pcm {
                None => self.outbound.finish(reply.clone()),
                Some(pcm) => match self.outbound.speak(reply.clone(), pcm.clone()) {
                    Err(PlayoutError::Full | PlayoutError::TooManyReplies) => return,
                    Err(PlayoutError::Over) | Ok(()) => {}
                    Err(PlayoutError::Resample(error)) => {
                        tracing::error!(call = %self.call, %reply, %error, "reply audio was dropped");
                    }
                },
            }
            self.backlog.pop_front();
        }
    }

    /// Sends what is due; `false` when the connection is gone.
    async fn beat(&mut self) -> bool {
        self.queue();
        self.events.flush().await;
        let now = Instant::now();
        let held = self.reach.is_lost(now, self.route.seen());
        if std::mem::replace(&mut self.held, held) != held {
            tracing::info!(call = %self.call, held, "a client is out of reach, or back");
        }
        let due = self.pacer.due(now, held || self.outbound.idle());
        if held {
            // Time goes by without a packet, as after any pause of a sender.
            self.timestamp = self.timestamp.wrapping_add(TIMESTAMP_STEP.wrapping_mul(due.skipped + due.frames));
            self.spurt = false;
            return true;
        }
        if due.skipped > 0 {
            self.timestamp = self.timestamp.wrapping_add(TIMESTAMP_STEP.wrapping_mul(due.skipped));
            self.counters.slots_skipped.fetch_add(due.skipped.into(), Ordering::Relaxed);
        }
        for _ in 0..due.frames {
            if !self.send().await {
                return false;
            }
        }
        true
    }

    async fn has_said_goodbye(&mut self) -> bool {
        match self.suspicious_until {
            Some(until) if Instant::now() < until => self.peer.is_closed_by_client().await,
            _ => {
                self.suspicious_until = None;
                false
            }
        }
    }

    async fn send(&mut self) -> bool {
        let frame = self.outbound.next_frame();
        let packet = rtc::rtp::Packet {
            header: rtc::rtp::Header {
                version: 2,
                // The first packet of a talk spurt (RFC 3551 section 4.1).
                marker: frame.audible && !self.spurt,
                payload_type: self.payload_type,
                sequence_number: self.sequence,
                timestamp: self.timestamp,
                ssrc: self.peer.ssrc,
                ..Default::default()
            },
            payload: Bytes::from(frame.payload),
        };
        self.spurt = frame.audible;
        self.timestamp = self.timestamp.wrapping_add(TIMESTAMP_STEP);
        let sent = if self.mute {
            true
        } else {
            self.sequence = self.sequence.wrapping_add(1);
            count(&self.counters.packets_out);
            self.peer.track.write_rtp(packet).await.is_ok()
        };
        self.notices(Instant::now());
        sent
    }

    /// Tells the call what became of its replies.
    fn notices(&mut self, at: Instant) {
        while let Some(notice) = self.outbound.notice() {
            let playout = match notice {
                Notice::Started { reply } => Playout::Started { reply, at },
                Notice::Position { reply, played } => Playout::Position { reply, played },
                Notice::Starved { reply } => Playout::Starved { reply },
                Notice::Drained { reply, played } => Playout::Drained { reply, played },
                Notice::Cut { reply, played } => Playout::Cut { reply, played },
            };
            // A position says nothing that the next one does not say better.
            let stale = matches!(playout, Playout::Position { .. }) && self.to_call.len() >= TO_CALL_BOUND;
            if !stale {
                self.to_call.push_back(FromCaller::Playout(playout));
            }
        }
    }
}

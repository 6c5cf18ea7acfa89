//! One connection's task: between the socket and the line.
//!
//! What is sent goes through a second task, so that a client which does not read cannot keep the call from hearing it. Every
//! select arm finishes at once or only queues.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures_util::future::BoxFuture;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::hearing::{ChunkError, Hearing};
use super::playing::Playing;
use super::wording::{ChatError, ChatProtocol, read};
use super::{ChatDoor, Recorded, Recordings};
use crate::grant::Grant;
use crate::line::{Asking, CallEvent, CallId, FromCaller, HangUp, HqAudio, Line, LineEnd, SessionPatch, ToCaller};
use crate::protocol::Protocol;

/// A message beyond this is not read to its end: the connection is closed.
pub(super) const CUT_OFF_BYTES: usize = 4 * 1024 * 1024;
/// Messages, and bytes of them, that may wait for a client to read. At either bound the client is cut off.
const UNREAD_BOUND: usize = 256;
const UNREAD_BYTES_BOUND: usize = 4 * 1024 * 1024;
/// How long a client may take to take one message.
const READ_PATIENCE: Duration = Duration::from_secs(10);
/// How often a client is asked whether it is still there, and how long it may be silent altogether.
const PING_EVERY: Duration = Duration::from_secs(4);
const SILENCE_BOUND: Duration = Duration::from_secs(12);
/// Messages that could not be used, beyond which a client is cut off. One is forgiven every [`FORGIVEN_EVERY`].
const FAULTS_BOUND: u32 = 50;
const FORGIVEN_EVERY: Duration = Duration::from_millis(200);
/// Notices that may wait for the call; positions are left out at the bound.
const NOTICES_BOUND: usize = 256;
/// Replies whose better audio may wait to be sent (the oldest is left out), and the longest file that is: minutes of speech, which
/// [`READ_PATIENCE`] is enough for.
const BETTER_BOUND: usize = 16;
const BETTER_BYTES_BOUND: usize = 1024 * 1024;
/// How long a client that is hung up on may take to say that it has understood.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long the call may take to hear of the end.
const LAST_WORD: Duration = Duration::from_secs(5);

const GOING_AWAY: u16 = 1001;
const POLICY: u16 = 1008;
const TOO_BIG: u16 = 1009;
const TRY_LATER: u16 = 1013;

/// Why the connection ends, and what the client is told with the close.
struct Ending {
    why: HangUp,
    close: Option<(u16, &'static str)>,
}

impl Ending {
    fn vanished() -> Self {
        Self { why: HangUp::Vanished, close: None }
    }

    fn cut_off(code: u16, reason: &'static str) -> Self {
        Self { why: HangUp::ByServer, close: Some((code, reason)) }
    }
}

pub(super) struct Talk {
    call: CallId,
    stream: SplitStream<WebSocket>,
    writer: Writer,
    incoming: mpsc::Sender<FromCaller>,
    outgoing: mpsc::Receiver<ToCaller>,
    stopping: watch::Receiver<bool>,
    protocol: ChatProtocol,
    hearing: Hearing,
    playing: Playing,
    notices: VecDeque<FromCaller>,
    recordings: Arc<dyn Recordings>,
    /// Replies whose better audio is to be sent, and the one whose file is being read.
    better: VecDeque<HqAudio>,
    reading: Option<(HqAudio, BoxFuture<'static, Option<Recorded>>)>,
    /// When the client was heard of last, and asked last.
    heard_of: Instant,
    pinged: Instant,
    faults: u32,
    forgiven: Instant,
}

impl Talk {
    /// Runs the call until either end hangs up.
    pub(super) async fn begin(socket: WebSocket, door: Arc<ChatDoor>, session: SessionPatch, grant: Option<Grant>) {
        let (sink, stream) = socket.split();
        let mut writer = Writer::start(sink);
        let seat = match door.switchboard.admit(Asking { grant: grant.as_ref(), session: &session }) {
            Ok(seat) => seat,
            Err(refusal) => {
                writer.send(ChatError::from(&refusal).to_message());
                writer.close(Some((TRY_LATER, "no call can be had"))).await;
                return;
            }
        };
        let call = CallId::fresh();
        let (line, LineEnd { incoming, outgoing }) =
            Line::new(call.clone(), "websocket", session, grant.map(|grant| grant.key));
        door.switchboard.connect(line, seat);
        let now = clock();
        let mut talk = Self {
            call,
            stream,
            writer,
            incoming,
            outgoing,
            stopping: door.stopping.clone(),
            protocol: ChatProtocol::default(),
            hearing: Hearing::default(),
            playing: Playing::default(),
            notices: VecDeque::new(),
            recordings: door.recordings.clone(),
            better: VecDeque::new(),
            reading: None,
            heard_of: now,
            pinged: now,
            faults: 0,
            forgiven: now,
        };
        let ending = talk.carry().await;
        talk.end(ending).await;
    }

    async fn carry(&mut self) -> Ending {
        loop {
            let now = clock();
            if let Err(ending) = self.step(now) {
                return ending;
            }
            let wake = [self.hearing.next_wake(), self.playing.next_wake(now)].into_iter().flatten();
            let wake = wake.fold(self.pinged + PING_EVERY, Instant::min);
            let words = self.hearing.has_frame() || !self.notices.is_empty();
            tokio::select! {
                biased;
                () = stopped(&mut self.stopping) => {
                    return Ending { why: HangUp::ByServer, close: Some((GOING_AWAY, "the server stops")) };
                }
                () = self.writer.ended() => return Ending::vanished(),
                said = self.outgoing.recv(), if self.playing.has_room() => match said {
                    Some(ToCaller::HangUp) | None => return Ending::cut_off(GOING_AWAY, "the call has ended"),
                    Some(said) => self.say(clock(), said),
                },
                message = self.stream.next() => {
                    self.heard_of = clock();
                    if let Err(ending) = self.take(self.heard_of, message) {
                        return ending;
                    }
                }
                recorded = read_through(&mut self.reading) => self.send_better(recorded),
                () = room(&self.incoming), if words => {}
                () = tokio::time::sleep_until(wake.into()) => {}
            }
            if self.incoming.is_closed() {
                return Ending::cut_off(GOING_AWAY, "the call has ended");
            }
        }
    }

    /// What is due by the clock.
    fn step(&mut self, now: Instant) -> Result<(), Ending> {
        self.hearing.fill(now);
        while let Some(piece) = self.playing.piece(now) {
            match self.protocol.piece(&piece) {
                Ok(message) => self.writer.send(message),
                Err(error) => tracing::error!(call = %self.call, %error, "a piece of a reply was dropped"),
            }
        }
        while let Some(notice) = self.playing.notice() {
            // A position says nothing that the next one does not say better.
            if self.notices.len() < NOTICES_BOUND || !matches!(notice, crate::line::Playout::Position { .. }) {
                self.notices.push_back(FromCaller::Playout(notice));
            }
        }
        // Nobody else sends on this line: what has room now is sent now.
        while self.incoming.capacity() > 0 {
            let word = self.notices.pop_front().or_else(|| self.hearing.frame().map(FromCaller::Audio));
            let Some(word) = word else { break };
            let _line_gone = self.incoming.try_send(word);
        }
        // One at a time, so that a slow client is not cut off for what it did not ask for.
        if self.reading.is_none()
            && self.writer.is_idle()
            && let Some(audio) = self.better.pop_front()
        {
            let file = self.recordings.better(&audio, BETTER_BYTES_BOUND);
            self.reading = Some((audio, file));
        }
        if now >= self.heard_of + SILENCE_BOUND {
            return Err(Ending::vanished());
        }
        if now >= self.pinged + PING_EVERY {
            self.pinged = now;
            self.writer.ping();
        }
        if self.writer.is_full() {
            tracing::info!(call = %self.call, "a client does not read what it is sent; it is cut off");
            return Err(Ending { why: HangUp::Vanished, close: Some((POLICY, "overloaded: messages are not read")) });
        }
        Ok(())
    }

    fn say(&mut self, now: Instant, said: ToCaller) {
        match said {
            ToCaller::Speak { reply, pcm } => self.playing.speak(reply, pcm),
            ToCaller::Finish { reply } => self.playing.finish(reply),
            ToCaller::Cut { reply } => self.playing.cut(now, reply),
            ToCaller::Event(CallEvent::HqReady(audio)) => {
                if self.better.len() >= BETTER_BOUND {
                    self.better.pop_front();
                }
                self.better.push_back(audio);
            }
            ToCaller::Event(event) => {
                self.protocol.tell(&event).into_iter().for_each(|message| self.writer.send(message));
            }
            ToCaller::HangUp => {}
        }
    }

    /// Sends the file that was read; without one there is nothing to tell, as the reply was heard.
    fn send_better(&mut self, recorded: Option<Recorded>) {
        let Some((audio, _)) = self.reading.take() else { return };
        match recorded {
            Some(recorded) => self.writer.send(self.protocol.high_quality(&audio, &recorded)),
            None => {
                tracing::debug!(call = %self.call, reply = %audio.reply, "better audio is gone, or too long to be sent")
            }
        }
    }

    fn take(&mut self, now: Instant, message: Option<Result<Message, axum::Error>>) -> Result<(), Ending> {
        let text = match message {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Binary(_))) => {
                let error = ChatError::new("bad_message", "messages are JSON text; audio goes into `data` as base64");
                return self.refuse(now, &error);
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => return Ok(()),
            Some(Ok(Message::Close(_))) => return Err(Ending { why: HangUp::ByCaller, close: None }),
            Some(Err(error)) if is_too_long(&error) => {
                let message = format!("a message of more than {CUT_OFF_BYTES} bytes is not read; the call is ended");
                self.writer.send(ChatError::new("too_large", message).to_message());
                return Err(Ending { why: HangUp::ByServer, close: Some((TOO_BIG, "too_large")) });
            }
            Some(Err(_)) | None => return Err(Ending::vanished()),
        };
        let taken = read(&text).and_then(|chunk| {
            self.hearing.receive(now, chunk.rate, &chunk.samples).map_err(|error| match error {
                ChunkError::Ahead => ChatError::new("overloaded", error.to_string()),
                ChunkError::Resample(_) => ChatError::new("bad_rate", error.to_string()),
            })
        });
        taken.or_else(|error| self.refuse(now, &error))
    }

    /// Tells the client what is wrong; cuts it off when that is all it is told.
    fn refuse(&mut self, now: Instant, error: &ChatError) -> Result<(), Ending> {
        let forgiven = now.saturating_duration_since(self.forgiven).as_millis() / FORGIVEN_EVERY.as_millis();
        if forgiven > 0 {
            self.faults = self.faults.saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX));
            self.forgiven = now;
        }
        self.faults += 1;
        self.writer.send(error.to_message());
        if self.faults > FAULTS_BOUND {
            let message = "too many messages could not be used; the call is ended";
            self.writer.send(ChatError::new("overloaded", message).to_message());
            return Err(Ending::cut_off(POLICY, "too many messages could not be used"));
        }
        Ok(())
    }

    async fn end(mut self, Ending { why, close }: Ending) {
        tracing::info!(call = %self.call, ?why, "a WebSocket call has ended");
        let last_words = async {
            for word in self.notices.drain(..).chain([FromCaller::HungUp(why)]) {
                if self.incoming.send(word).await.is_err() {
                    break;
                }
            }
        };
        if tokio::time::timeout(LAST_WORD, last_words).await.is_err() {
            tracing::warn!(call = %self.call, "a call does not take its hang-up; its line is dropped");
        }
        drop(self.incoming);
        // What the client still sends is read and thrown away, or it would find its connection reset and not read why.
        let mut stream = self.stream;
        let discarded = async { while let Some(Ok(_)) = stream.next().await {} };
        let _late = tokio::join!(self.writer.close(close), tokio::time::timeout(FAREWELL, discarded));
    }
}

fn clock() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Until the server stops, or is gone.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    let _stopped = stopping.wait_for(|stopping| *stopping).await;
}

/// Until the file is read; for ever, while none is.
async fn read_through(reading: &mut Option<(HqAudio, BoxFuture<'static, Option<Recorded>>)>) -> Option<Recorded> {
    match reading {
        Some((_, file)) => file.await,
        None => std::future::pending().await,
    }
}

/// Until the call can take one more word, or none any more.
async fn room(incoming: &mpsc::Sender<FromCaller>) {
    let _room = incoming.reserve().await;
}

/// The library has no way to tell its errors apart but the text of their cause.
fn is_too_long(error: &axum::Error) -> bool {
    let text = error.to_string();
    text.contains("too long") || text.contains("too big")
}

/// The half of the socket that is written to, on a task of its own.
struct Writer {
    messages: mpsc::Sender<Message>,
    /// Bytes handed over and not yet written.
    unread: Arc<AtomicUsize>,
    full: bool,
    task: JoinHandle<()>,
}

impl Writer {
    fn start(mut sink: SplitSink<WebSocket, Message>) -> Self {
        let (messages, mut queue) = mpsc::channel::<Message>(UNREAD_BOUND);
        let unread = Arc::new(AtomicUsize::new(0));
        let left = Arc::clone(&unread);
        let task = tokio::spawn(async move {
            while let Some(message) = queue.recv().await {
                let bytes = bytes_of(&message);
                if !matches!(tokio::time::timeout(READ_PATIENCE, sink.send(message)).await, Ok(Ok(()))) {
                    return;
                }
                left.fetch_sub(bytes, Ordering::Relaxed);
            }
            let _gone = tokio::time::timeout(READ_PATIENCE, sink.close()).await;
        });
        Self { messages, unread, full: false, task }
    }

    fn send(&mut self, text: String) {
        self.push(Message::Text(Utf8Bytes::from(text)));
    }

    fn ping(&mut self) {
        self.push(Message::Ping(Default::default()));
    }

    fn push(&mut self, message: Message) {
        let bytes = bytes_of(&message);
        let unread = self.unread.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if unread > UNREAD_BYTES_BOUND || self.messages.try_send(message).is_err() {
            self.unread.fetch_sub(bytes, Ordering::Relaxed);
            self.full = true;
        }
    }

    /// Whether the client has taken all that it was sent.
    fn is_idle(&self) -> bool {
        self.unread.load(Ordering::Relaxed) == 0
    }

    fn is_full(&self) -> bool {
        self.full
    }

    /// Until the client can be told nothing any more.
    async fn ended(&self) {
        self.messages.closed().await;
    }

    /// Lets what was sent go out, then closes.
    async fn close(self, close: Option<(u16, &'static str)>) {
        let Self { messages, mut task, .. } = self;
        if let Some((code, reason)) = close {
            let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
            let _full = messages.try_send(Message::Close(Some(frame)));
        }
        drop(messages);
        if tokio::time::timeout(READ_PATIENCE, &mut task).await.is_err() {
            task.abort();
        }
    }
}

fn bytes_of(message: &Message) -> usize {
    match message {
        Message::Text(text) => text.len(),
        Message::Binary(bytes) | Message::Ping(bytes) | Message::Pong(bytes) => bytes.len(),
        Message::Close(_) => 0,
    }
}

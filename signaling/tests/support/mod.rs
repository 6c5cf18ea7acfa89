//! A server's peer whose calls the test itself holds, and a client to call it with. Real sockets on 127.0.0.1.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use audio::pcm::{Pcm, SampleRate};
use signaling::caller::{Caller, CallerEvent, CallerEventKind, CallerSettings};
use signaling::line::{
    Ask, Asking, CallEvent, Command, FromCaller, HangUp, Line, Refusal, Seat, SessionPatch, Switchboard, ToCaller,
};
use signaling::peer::{AnswerOptions, Answered, Patience, PeerHost, PeerSettings};
use signaling::protocol::Protocol;
use tokio::sync::mpsc;

/// No step of any test takes this long unless it never comes.
pub const NEVER: Duration = Duration::from_secs(20);

/// A switchboard that hands each call to the test.
pub struct Board {
    limit: usize,
    taken: Arc<AtomicUsize>,
    lines: mpsc::UnboundedSender<(Line, Seat)>,
}

/// Gives a seat back.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Switchboard for Board {
    fn admit(&self, _: Asking<'_>) -> Result<Seat, Refusal> {
        if self.taken.fetch_add(1, Ordering::SeqCst) >= self.limit {
            self.taken.fetch_sub(1, Ordering::SeqCst);
            return Err(Refusal::Full { limit: self.limit, retry_after: Duration::from_secs(1) });
        }
        Ok(Seat::new(Place(Arc::clone(&self.taken))))
    }

    fn connect(&self, line: Line, seat: Seat) {
        let _test_is_over = self.lines.send((line, seat));
    }
}

/// Words an event as its text, and understands every text as a command that quotes it.
pub struct Plain;

impl Protocol for Plain {
    fn tell(&mut self, event: &CallEvent) -> Vec<String> {
        match event {
            CallEvent::TranscriptDelta { delta, .. } => vec![delta.clone()],
            _ => Vec::new(),
        }
    }

    fn understand(&mut self, message: &str) -> Option<Command> {
        Some(Command { event_id: Some(message.to_owned()), ask: Ask::CommitInput })
    }
}

/// An event that [`Plain`] words as `text`.
pub fn saying(text: &str) -> ToCaller {
    let item = signaling::line::ItemId::from_text("item");
    ToCaller::Event(CallEvent::TranscriptDelta { item, delta: text.to_owned() })
}

pub struct Server {
    pub host: PeerHost,
    pub lines: mpsc::UnboundedReceiver<(Line, Seat)>,
    pub taken: Arc<AtomicUsize>,
}

pub fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

pub fn server(limit: usize, patience: Patience) -> Server {
    server_at(local(0), limit, patience)
}

pub fn server_at(bind: SocketAddr, limit: usize, patience: Patience) -> Server {
    let (lines, lines_rx) = mpsc::unbounded_channel();
    let taken = Arc::new(AtomicUsize::new(0));
    let board = Board { limit, taken: Arc::clone(&taken), lines };
    let settings = PeerSettings { bind, patience, ..Default::default() };
    let host = PeerHost::start(settings, Arc::new(board)).unwrap();
    Server { host, lines: lines_rx, taken }
}

pub fn options() -> AnswerOptions {
    AnswerOptions { door: "webrtc", session: SessionPatch::default(), grant: None, protocol: Box::new(Plain) }
}

/// A client that is connected, or will be.
pub struct Client {
    pub caller: Caller,
    pub events: mpsc::Receiver<CallerEvent>,
    pub answered: Answered,
}

pub async fn call(host: &PeerHost) -> Client {
    call_from(host, on_loopback()).await
}

pub fn on_loopback() -> CallerSettings {
    CallerSettings { bind: vec![local(0)], ..Default::default() }
}

pub async fn call_from(host: &PeerHost, settings: CallerSettings) -> Client {
    call_for(host, options(), settings).await
}

pub async fn call_for(host: &PeerHost, options: AnswerOptions, settings: CallerSettings) -> Client {
    let (mut caller, offer) = Caller::offer(settings).await.unwrap();
    let events = caller.events().unwrap();
    let answered = host.answer(&offer, options).await.unwrap();
    caller.accept(&answered.sdp).await.unwrap();
    Client { caller, events, answered }
}

impl Server {
    /// The next call that connects.
    pub async fn line(&mut self) -> (Line, Seat) {
        soon(self.lines.recv()).await.unwrap()
    }

    /// Until all seats are free.
    pub async fn empty(&self) {
        soon(async {
            while self.taken.load(Ordering::SeqCst) > 0 || !self.host.calls().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

/// Fails the test rather than hang it.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(NEVER, future).await.expect("what the test waits for did not come")
}

impl Client {
    /// The next event that `wanted` takes.
    pub async fn next<T>(&mut self, mut wanted: impl FnMut(CallerEvent) -> Option<T>) -> T {
        soon(async {
            loop {
                let event = self.events.recv().await.expect("the call is over");
                if let Some(found) = wanted(event) {
                    return found;
                }
            }
        })
        .await
    }

    pub async fn message(&mut self) -> String {
        self.next(|event| match event.kind {
            CallerEventKind::Message(text) => Some(text),
            _ => None,
        })
        .await
    }

    pub async fn closed(&mut self) {
        self.next(|event| matches!(event.kind, CallerEventKind::Closed { .. }).then_some(())).await;
    }
}

/// The next word of the caller that `wanted` takes.
pub async fn hear<T>(line: &mut Line, mut wanted: impl FnMut(FromCaller) -> Option<T>) -> T {
    soon(async {
        loop {
            let word = line.incoming.recv().await.expect("the line is gone without a hang-up");
            if let Some(found) = wanted(word) {
                return found;
            }
        }
    })
    .await
}

pub async fn hung_up(line: &mut Line) -> HangUp {
    hear(line, |word| match word {
        FromCaller::HungUp(why) => Some(why),
        _ => None,
    })
    .await
}

/// A steady tone: told apart from others by its pitch.
pub fn tone(hertz: f32, length: Duration) -> Pcm {
    let rate = SampleRate::HZ_48000;
    let step = std::f32::consts::TAU * hertz / 48_000.0;
    let samples = (0..rate.samples_in(length)).map(|n| 0.5 * (step * n as f32).sin()).collect();
    Pcm::new(rate, samples)
}

/// How much of `samples` is a tone of this pitch: 0 to 1 (Goertzel).
pub fn share_of(samples: &[f32], rate: f32, hertz: f32) -> f32 {
    let energy: f32 = samples.iter().map(|sample| sample * sample).sum();
    let step = std::f32::consts::TAU * hertz / rate;
    let (mut re, mut im) = (0.0_f32, 0.0_f32);
    for (n, sample) in samples.iter().enumerate() {
        re += sample * (step * n as f32).cos();
        im += sample * (step * n as f32).sin();
    }
    if energy < 1e-6 { 0.0 } else { 2.0 * (re * re + im * im) / (energy * samples.len() as f32) }
}

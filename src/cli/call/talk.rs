//! One talk with a server: says recordings, waits for what comes back, notes when.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use audio::pcm::Pcm;
use serde_json::Value;
use signaling::caller::recording::Recording;
use signaling::caller::{Caller, CallerEvent, CallerEventKind};
use tokio::sync::mpsc;
use tokio::time::{Instant as Deadline, timeout_at};

use super::report::{Turn, report};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(15);
/// After a turn the caller is silent for so long: people do not answer at once, and a false second reply would show.
const PAUSE: Duration = Duration::from_millis(700);

/// An event of the server, and when it came.
#[derive(Debug, Clone)]
pub struct Noted {
    pub at: Instant,
    pub event: Value,
}

impl Noted {
    pub fn kind(&self) -> &str {
        self.event["type"].as_str().unwrap_or_default()
    }
}

/// A call in progress.
pub struct Talk {
    caller: Caller,
    incoming: mpsc::Receiver<CallerEvent>,
    patience: Duration,
    start: Instant,
    recording: Recording,
    events: Vec<Noted>,
    turns: Vec<Turn>,
}

impl Talk {
    pub fn new(mut caller: Caller, patience: Duration) -> Option<Self> {
        let incoming = caller.events()?;
        let start = Instant::now();
        Some(Self {
            caller,
            incoming,
            patience,
            start,
            recording: Recording::default(),
            events: Vec::new(),
            turns: Vec::new(),
        })
    }

    /// Waits for the data channel and the session.
    pub async fn wait_until_open(&mut self) -> anyhow::Result<()> {
        self.listen_until(Instant::now() + CONNECT, |talk| talk.has("session.created", 0))
            .await
            .context("the call did not connect: no path to the server's UDP port, perhaps a firewall")?;
        Ok(())
    }

    /// Says `recording` and waits until the answer has been heard out.
    pub async fn ask(&mut self, file: &Path, recording: &Pcm) -> anyhow::Result<()> {
        let first_event = self.events.len();
        let spoken = self.caller.play(recording.clone()).await?;
        let mut last_voiced = Box::pin(spoken.last_voiced());
        // Events go on while the recording plays.
        let voice_end = loop {
            tokio::select! {
                end = &mut last_voiced => break end.context("the call ended while the recording was playing")?,
                event = self.incoming.recv() => self.note(event)?,
            }
        };
        let heard_out = self
            .listen_until(voice_end + self.patience, |talk| {
                let ended =
                    talk.has("output_audio_buffer.stopped", first_event) && talk.has("response.done", first_event);
                ended || talk.failed_since(first_event)
            })
            .await;
        let answered = heard_out.is_ok();
        self.listen_for(PAUSE).await?;
        self.turns.push(Turn {
            file: file.display().to_string(),
            voice_end,
            first_audible: self.recording.first_audible(voice_end),
            events: first_event..self.events.len(),
            answered,
        });
        Ok(())
    }

    fn has(&self, kind: &str, from: usize) -> bool {
        self.events.iter().skip(from).any(|noted| noted.kind() == kind)
    }

    /// A reply was made that has no sound to wait for.
    fn failed_since(&self, from: usize) -> bool {
        self.events.iter().skip(from).any(|noted| {
            noted.kind() == "response.done"
                && noted.event.pointer("/response/status").and_then(Value::as_str) == Some("failed")
        })
    }

    async fn listen_for(&mut self, duration: Duration) -> anyhow::Result<()> {
        match self.listen_until(Instant::now() + duration, |_| false).await {
            Err(error) if error.is::<Late>() => Ok(()),
            other => other,
        }
    }

    async fn listen_until(&mut self, deadline: Instant, enough: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        while !enough(self) {
            match timeout_at(Deadline::from_std(deadline), self.incoming.recv()).await {
                Ok(event) => self.note(event)?,
                Err(_) => return Err(Late.into()),
            }
        }
        Ok(())
    }

    fn note(&mut self, event: Option<CallerEvent>) -> anyhow::Result<()> {
        let Some(CallerEvent { at, kind }) = event else { bail!("the call has ended") };
        match kind {
            CallerEventKind::Connected | CallerEventKind::Open => {}
            CallerEventKind::Message(text) => {
                if let Ok(event) = serde_json::from_str(&text) {
                    self.events.push(Noted { at, event });
                }
            }
            CallerEventKind::Audio { pcm, timestamp } => self.recording.push(at, timestamp, &pcm.samples),
            CallerEventKind::Closed { .. } => bail!("the server ended the call"),
        }
        Ok(())
    }

    /// Hangs up; gives what came back and the report.
    pub async fn finish(self, with_events: bool) -> (Pcm, Value) {
        let report = report(self.start, &self.events, &self.turns, &self.recording, with_events);
        let recorded = self.recording.pcm();
        self.caller.hang_up().await;
        (recorded, report)
    }
}

/// Nothing came in time.
#[derive(Debug, thiserror::Error)]
#[error("nothing came in time")]
struct Late;

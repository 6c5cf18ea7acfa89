//! `avatar call FILE…`: a real WebRTC caller. Plays each recording at real time into a running server as one turn, waits for the
//! answer, and prints JSON with every event's time and the voice-to-voice of each turn.

mod report;
mod talk;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde_json::json;
use signaling::caller::{Caller, CallerSettings};
use ureq::http::Response;

use self::talk::Talk;

#[derive(Debug, Args)]
pub struct Options {
    /// Recordings, WAV or Ogg Opus, one a turn
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The server
    #[arg(long, default_value = "http://127.0.0.1:8080", value_name = "URL")]
    to: String,
    /// Which door to knock at
    #[arg(long, value_enum, default_value_t = Door::Realtime)]
    door: Door,
    /// API key, if the server wants one
    #[arg(long, env = "AVATAR_KEY", hide_env_values = true)]
    key: Option<String>,
    /// Write everything that came back to this WAV file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Voice of the replies (Realtime door)
    #[arg(long)]
    voice: Option<String>,
    /// Go through the recordings this often
    #[arg(long, default_value_t = 1)]
    repeat: usize,
    /// Longest wait for a reply to be played out, in seconds
    #[arg(long, default_value_t = 30)]
    patience: u64,
    /// Leave the events out of the report
    #[arg(long)]
    brief: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Door {
    Realtime,
    Whip,
}

impl Door {
    fn path(self) -> &'static str {
        match self {
            Self::Realtime => "/v1/realtime/calls",
            Self::Whip => "/whip",
        }
    }
}

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let recordings =
        options.files.iter().map(|file| super::transcribe::read(file)).collect::<anyhow::Result<Vec<_>>>()?;
    let runtime = super::runtime()?;
    let report = runtime.block_on(async {
        let (mut caller, offer) = Caller::offer(CallerSettings::default()).await?;
        let exchange = options.connect(&offer)?;
        caller.accept(&exchange.answer).await?;
        let mut talk = Talk::new(caller, Duration::from_secs(options.patience)).context("the call has no events")?;
        talk.wait_until_open().await?;
        let names = options.files.iter().zip(&recordings);
        for (file, recording) in names.cycle().take(options.files.len() * options.repeat) {
            talk.ask(file, recording).await?;
        }
        let (recorded, report) = talk.finish(!options.brief).await;
        if let Some(path) = &options.output {
            audio::wav::write_file(&recorded, path).with_context(|| format!("{} cannot be written", path.display()))?;
        }
        exchange.end(options)?;
        anyhow::Ok(json!({"call": exchange.location.rsplit('/').next(), "server": options.to, "report": report}))
    })?;
    super::print(&serde_json::to_string_pretty(&report)?)?;
    Ok(ExitCode::SUCCESS)
}

/// What the server answered an offer with.
struct Exchange {
    answer: String,
    /// What ends the call when it is deleted.
    location: String,
}

impl Options {
    fn connect(&self, offer: &str) -> anyhow::Result<Exchange> {
        let url = format!("{}{}", self.to.trim_end_matches('/'), self.door.path());
        let request = self.authorize(agent().post(&url));
        let answered = match &self.voice {
            Some(voice) if self.door == Door::Realtime => request.send_json(
                json!({"sdp": offer, "session": {"type": "realtime", "audio": {"output": {"voice": voice}}}}),
            ),
            _ => request.header("content-type", "application/sdp").send(offer),
        };
        let mut response: Response<ureq::Body> =
            answered.with_context(|| format!("{url} cannot be reached; is the server running?"))?;
        let body = response.body_mut().read_to_string().unwrap_or_default();
        if response.status() != 201 {
            bail!("the server refused the call ({}): {}", response.status(), refusal(&body));
        }
        let location = response.headers().get("location").and_then(|location| location.to_str().ok());
        let location = location.context("the server named no place where the call can be ended")?.to_owned();
        Ok(Exchange { answer: body, location })
    }

    fn authorize<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.key {
            Some(key) => request.header("authorization", format!("Bearer {key}")),
            None => request,
        }
    }
}

impl Exchange {
    /// Ends the call, which may have ended by itself when the data channel closed.
    fn end(&self, options: &Options) -> anyhow::Result<()> {
        let url = format!("{}{}", options.to.trim_end_matches('/'), self.location);
        let response = options.authorize(agent().delete(&url)).call()?;
        match response.status().as_u16() {
            200..=299 | 404 => Ok(()),
            status => bail!("the call could not be ended ({status})"),
        }
    }
}

fn agent() -> ureq::Agent {
    let config =
        ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(15)));
    config.build().into()
}

/// The message of an error body, or the body itself.
fn refusal(body: &str) -> String {
    let parsed: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let message = parsed.as_ref().and_then(|value| value.pointer("/error/message")?.as_str());
    message.unwrap_or(body).to_owned()
}

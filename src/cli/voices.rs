//! `avatar voices`: the voices of a running server; a new one of a recording.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::Value;
use ureq::http::Response;

/// Long enough for a sample to be checked on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug, Args)]
pub struct Options {
    /// The server
    #[arg(long, default_value = "http://127.0.0.1:8080", value_name = "URL", global = true)]
    to: String,
    /// API key, if the server wants one
    #[arg(long, env = "AVATAR_KEY", hide_env_values = true, global = true)]
    key: Option<String>,
    #[command(subcommand)]
    command: VoicesCommand,
}

#[derive(Debug, Subcommand)]
enum VoicesCommand {
    /// List all voices, with what calls ask for them by
    List,
    /// Make a voice of a recording of 3 to 30 seconds of speech
    Add {
        /// WAV, FLAC, MP3, Ogg, WebM or M4A
        file: PathBuf,
        /// What it is to be called
        #[arg(long)]
        name: String,
        /// What is said in the recording; found out if not given
        #[arg(long)]
        transcript: Option<String>,
        /// The speaker agrees that their voice is used
        #[arg(long)]
        consent: bool,
    },
    /// Delete a voice
    Remove {
        /// Its id, as listed
        id: String,
    },
}

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).build().into();
    let address = |path: &str| format!("{}{path}", options.to.trim_end_matches('/'));
    match &options.command {
        VoicesCommand::List => {
            let voices = options.told(options.authorize(agent.get(address("/api/voice-profiles"))).call())?;
            for voice in voices.as_array().context("the server did not send a list; is it an Avatar?")? {
                let text = |field: &str| voice[field].as_str().unwrap_or_default().to_owned();
                let more = voice["reason"].as_str().map(|reason| format!(" ({reason})")).unwrap_or_default();
                let mark = if voice["default"] == true { "*" } else { " " };
                super::print(&format!("{mark} {}  {}  {}{more}", text("id"), text("name"), text("state")))?;
            }
        }
        VoicesCommand::Add { file, name, transcript, consent } => {
            let recording = std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
            let consent = consent.to_string();
            let mut fields = vec![("name", name.as_bytes()), ("consent", consent.as_bytes())];
            fields.extend(transcript.as_ref().map(|text| ("transcript", text.as_bytes())));
            fields.push(("audio", &recording));
            let (boundary, form) = form(&fields);
            let request = options.authorize(agent.post(address("/api/voice-profile")));
            let request = request.header("content-type", format!("multipart/form-data; boundary={boundary}"));
            let made = options.told(request.send(&form[..]))?;
            super::print(made["profile_id"].as_str().context("the server named no profile; is it an Avatar?")?)?;
            for warning in made["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                super::print(&format!("note: {warning}"))?;
            }
        }
        VoicesCommand::Remove { id } => {
            let plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-:.".contains(&byte));
            if !plain {
                bail!("there is no voice {id}; see `avatar voices list`");
            }
            options.told(options.authorize(agent.delete(address(&format!("/api/voice-profile/{id}")))).call())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Options {
    fn authorize<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.key {
            Some(key) => request.header("authorization", format!("Bearer {key}")),
            None => request,
        }
    }

    /// The answer, or the server's own words for why there is none.
    fn told(&self, answer: Result<Response<ureq::Body>, ureq::Error>) -> anyhow::Result<Value> {
        let mut answer = answer.with_context(|| format!("{} cannot be reached; is the server running?", self.to))?;
        let body = answer.body_mut().read_to_string()?;
        let told: Value = serde_json::from_str(&body).unwrap_or_default();
        if !answer.status().is_success() {
            bail!("{}", told["error"]["message"].as_str().unwrap_or("the server refused, and does not say why"));
        }
        Ok(told)
    }
}

/// A boundary that is in none of the fields, and the form as RFC 7578 has it.
fn form(fields: &[(&str, &[u8])]) -> (String, Vec<u8>) {
    let boundary = uuid::Uuid::new_v4().simple().to_string();
    let mut form = Vec::new();
    for (name, content) in fields {
        let file = if *name == "audio" { "; filename=\"sample\"" } else { "" };
        form.extend(format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n").bytes());
        form.extend(*content);
        form.extend(b"\r\n");
    }
    form.extend(format!("--{boundary}--\r\n").bytes());
    (boundary, form)
}

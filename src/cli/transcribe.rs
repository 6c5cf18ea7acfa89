//! `avatar transcribe FILE`: a recording as text, by the engine that calls use.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use audio::pcm::{Pcm, SampleRate};
use audio::resample::resample;
use clap::Args;
use models::stt::{TranscribeRequest, Urgency};

use crate::config::Config;
use crate::engines;

#[derive(Debug, Args)]
pub struct Options {
    /// WAV or Ogg Opus files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Language, BCP 47, as `en` or `zh-TW`; found out if not given
    #[arg(long)]
    language: Option<String>,
    /// Print one JSON object a file
    #[arg(long)]
    json: bool,
}

pub fn run(config: &Config, options: &Options) -> anyhow::Result<ExitCode> {
    let stt = engines::open_stt(config)?;
    let runtime = super::runtime()?;
    for file in &options.files {
        let recording = read(file)?;
        let heard = resample(&recording, SampleRate::HZ_16000)?;
        // However long: the engine cuts it itself.
        let request = TranscribeRequest {
            audio: heard.samples.into(),
            language: options.language.clone(),
            urgency: Urgency::Background,
            speech: None,
        };
        let text = runtime.block_on(async { stt.transcribe(request)?.finished().await })?.text;
        if options.json {
            let seconds = recording.duration().as_secs_f64();
            super::print(&serde_json::json!({"file": file, "text": text, "seconds": seconds}).to_string())?;
        } else {
            super::print(&text)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A recording by what is in it, not by its name.
pub(crate) fn read(file: &Path) -> anyhow::Result<Pcm> {
    let bytes = std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let recording = if bytes.starts_with(b"OggS") {
        audio::ogg::read(&bytes[..]).map_err(anyhow::Error::from)
    } else {
        audio::wav::read(&bytes[..]).map_err(anyhow::Error::from)
    };
    recording
        .with_context(|| format!("{} is no recording that can be read; give a WAV or Ogg Opus file", file.display()))
}

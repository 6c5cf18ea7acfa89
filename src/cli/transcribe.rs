//! `avatar transcribe FILE`: a recording as text, by the engine that calls use.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use audio::pcm::{Pcm, SampleRate};
use audio::resample::resample;
use clap::Args;
use models::stt::{TranscribeRequest, Urgency};

use crate::config::Config;
use crate::engines;

/// Whisper and Moonshine hear at most so much at once; longer recordings are cut where it is quietest.
const PIECE: Duration = Duration::from_secs(28);
/// How far back from a piece's end a quiet place is looked for.
const SEARCH: Duration = Duration::from_secs(8);
const QUIET: Duration = Duration::from_millis(200);

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
        let mut texts = Vec::new();
        for piece in pieces(&heard) {
            let request = TranscribeRequest {
                audio: piece.into(),
                language: options.language.clone(),
                urgency: Urgency::Background,
                speech: None,
            };
            let transcript = runtime.block_on(async { stt.transcribe(request)?.finished().await })?;
            texts.push(transcript.text);
        }
        texts.retain(|text| !text.is_empty());
        let text = texts.join(" ");
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

/// Cuts a long recording at its quietest places.
fn pieces(pcm: &Pcm) -> Vec<&[f32]> {
    let (longest, search, quiet) =
        (pcm.rate.samples_in(PIECE), pcm.rate.samples_in(SEARCH), pcm.rate.samples_in(QUIET));
    let mut rest = &pcm.samples[..];
    let mut pieces = Vec::new();
    while rest.len() > longest {
        let from = longest - search;
        let energy = |at: usize| rest[at..at + quiet].iter().map(|sample| sample * sample).sum::<f32>();
        let quietest = (from..longest - quiet).step_by(quiet / 4).min_by(|a, b| energy(*a).total_cmp(&energy(*b)));
        let (piece, after) = rest.split_at(quietest.unwrap_or(longest) + quiet / 2);
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_recording_is_cut_in_its_pauses_and_nothing_is_lost() {
        let rate = SampleRate::HZ_16000;
        // Two minutes of sound with a pause every seven seconds.
        let samples: Vec<f32> = (0..rate.samples_in(Duration::from_secs(120)))
            .map(|n| if n % (7 * 16_000) < 8_000 { 0.0 } else { 0.5 })
            .collect();
        let pcm = Pcm::new(rate, samples);
        let pieces = pieces(&pcm);
        assert_eq!(pieces.iter().map(|piece| piece.len()).sum::<usize>(), pcm.samples.len());
        for piece in &pieces[..pieces.len() - 1] {
            assert!(rate.duration_of(piece.len()) <= PIECE);
            assert_eq!(piece.last(), Some(&0.0));
        }
    }
}

//! `avatar say TEXT -o FILE`: a text as a recording, by the engines that calls use.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::bail;
use audio::pcm::Pcm;
use clap::Args;
use models::text::sentences::SentenceSplitter;
use models::tts::SpeakRequest;

use crate::config::Config;
use crate::engines;

#[derive(Debug, Args)]
pub struct Options {
    /// What to say
    text: String,
    /// WAV file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Voice, as `flite/slt`; the default one if not given
    #[arg(long)]
    voice: Option<String>,
}

pub fn run(config: &Config, options: &Options) -> anyhow::Result<ExitCode> {
    let tts = engines::open_tts(config)?;
    let voice = options.voice.clone().unwrap_or_default();
    if !voice.is_empty() && !tts.voices().iter().any(|known| known.id == voice) {
        let known: Vec<_> = tts.voices().iter().map(|voice| voice.id.clone()).collect();
        bail!("there is no voice {voice}; there are {}", known.join(", "));
    }
    let mut splitter = SentenceSplitter::new();
    let mut sentences = splitter.push(&options.text);
    sentences.extend(splitter.finish());
    sentences.retain(|sentence| !sentence.spoken.is_empty());
    if sentences.is_empty() {
        bail!("there is nothing to say in that text");
    }
    let runtime = super::runtime()?;
    let spoken: Pcm = runtime.block_on(async {
        let mut spoken: Option<Pcm> = None;
        for sentence in sentences {
            let speech =
                tts.speak(SpeakRequest { text: sentence.spoken, voice: voice.clone(), deadline: Instant::now() })?;
            let Some(said) = speech.whole().await? else { continue };
            match &mut spoken {
                Some(spoken) => spoken.samples.extend(said.samples),
                None => spoken = Some(said),
            }
        }
        spoken.ok_or_else(|| anyhow::anyhow!("the voice made no sound of that text"))
    })?;
    audio::wav::write_file(&spoken, &options.output)
        .map_err(|error| anyhow::anyhow!("{} cannot be written: {error}", options.output.display()))?;
    super::print(&format!("{} ({:.1} s)", options.output.display(), spoken.duration().as_secs_f64()))?;
    Ok(ExitCode::SUCCESS)
}

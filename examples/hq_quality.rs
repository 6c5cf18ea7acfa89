//! Whether the better audio of the history is better: replies as a call speaks them and as they are rendered again, both as their files in
//! the history, written down again by Moonshine and measured.
//!
//! `scripts/hq-quality [MODELS_FOLDER]`, with the starter models in that folder (else `AVATAR_MODELS`, else `data/models`);
//! `--verbose` shows each reply. The replies are those of `tests/speech/replies.json`.

#![allow(clippy::print_stdout, reason = "the numbers are what it is for")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context, bail};
use audio::pcm::{Pcm, SampleRate};
use audio::resample::resample;
use avatar::call::record::{Answer, Keeper, TurnRecord};
use avatar::config::{BesideCalls, KeepFast};
use avatar::history::news::{Heard, HistoryNews};
use avatar::history::renders::RenderState;
use avatar::history::{History, Side, Viewer};
use avatar::hq::master::loudness;
use avatar::hq::quiet::Quiet;
use avatar::hq::renderer::{RenderSettings, Renderer};
use avatar::hq::voices::HqVoices;
use models::cancel::Cancelled;
use models::onnx::OnnxRuntime;
use models::stt::moonshine::Moonshine;
use models::stt::sliding;
use models::stt::wer::{word_error_rate, words};
use models::text::{SentenceSplitter, speakable, spoken_form};
use models::tts::festival::Festival;
use models::tts::flite::Flite;
use models::tts::service::SpeechService;
use models::tts::{SpeakRequest, TextToSpeech};
use realfft::RealFftPlanner;
use signaling::line::{CallId, ConversationId, ItemId, ReplyId, Timings};
use tokio::sync::watch;

/// Samples of one spectrum at 48 kHz: 43 ms.
const WINDOW: usize = 2_048;
/// A band in which bandwidth is judged.
const BAND_HZ: f32 = 500.0;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let verbose = arguments.iter().any(|argument| argument == "--verbose");
    let folder = arguments.iter().find(|argument| !argument.starts_with("--")).map(PathBuf::from);
    let folder = folder.or_else(|| std::env::var_os("AVATAR_MODELS").map(PathBuf::from));
    let folder = folder.unwrap_or_else(|| "data/models".into());
    let replies = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/speech/replies.json");
    let replies: Vec<String> = serde_json::from_slice(&std::fs::read(replies)?)?;
    let runtime = OnnxRuntime::load(&folder.join("onnxruntime/libonnxruntime.so"))?;
    let mut ear = Moonshine::load(&runtime, &folder.join("moonshine-tiny-en"), 1)?;
    let data = tempfile::tempdir()?;
    let history = Arc::new(History::open(data.path())?);
    let conversation = speak_and_render(&history, &replies).await?;

    let (mut fast, mut better) = (Measured::new("fast"), Measured::new("better"));
    let (mut won, mut lost) = (0, 0);
    for (text, turn) in replies.iter().zip(1..) {
        let file = |name: Option<String>| -> anyhow::Result<Pcm> {
            Ok(audio::ogg::read_file(&history.audio_path(&name.context("a file is missing")?))?)
        };
        let id = conversation.as_str();
        let sounds = [
            file(history.audio(&Viewer::Everyone, id, turn, Side::Assistant)?)?,
            file(history.better_audio(&Viewer::Everyone, id, turn)?)?,
        ];
        let mut errors = [0.0; 2];
        for ((measured, sound), errors) in [&mut fast, &mut better].into_iter().zip(sounds).zip(&mut errors) {
            let listened = resample(&sound, SampleRate::HZ_16000)?;
            let heard = sliding::whole(&mut ear, &listened.samples, Some("en"), &Cancelled::default())?.text;
            *errors = measured.add(text, &heard, &sound)?;
            if verbose {
                println!("{:6} {:5.1} % {heard}", measured.name, 100.0 * *errors);
            }
        }
        won += usize::from(errors[1] < errors[0]);
        lost += usize::from(errors[1] > errors[0]);
    }
    println!(
        "{} replies, {} words; better audio understood better {won} times, worse {lost} times\n",
        replies.len(),
        fast.words
    );
    println!(
        "| audio | word error rate | above 8 kHz | bandwidth at -60 dB | loudness, mean ± spread | highest true peak |"
    );
    println!("|---|---|---|---|---|---|");
    println!("{}\n{}", fast.row(), better.row());
    Ok(())
}

/// Keeps each reply as a call that speaks with Flite would, and renders it with Festival.
async fn speak_and_render(history: &Arc<History>, replies: &[String]) -> anyhow::Result<ConversationId> {
    let flite = SpeechService::start("flite", vec![Box::new(Flite::open()?)])?;
    let festival = SpeechService::start("festival", vec![Box::new(Festival::open()?)])?;
    let voices = HqVoices::new([("festival", Arc::new(festival) as Arc<dyn TextToSpeech>)]);
    let conversation = ConversationId::fresh();
    let mut news = history.news().listen()?;
    history.render_replies(true);
    let (_stop, stopping) = watch::channel(false);
    let renderer = Renderer {
        history: Arc::clone(history),
        voices,
        quiet: Quiet::new(history.calls(), BesideCalls::Always),
        settings: RenderSettings { bitrate: 64_000, keep_fast: KeepFast::Always },
        clock: Arc::new(SystemTime::now),
        stopping,
    };
    tokio::spawn(renderer.run());
    for text in replies {
        history.keep(record(&conversation, text, speak(&flite, text).await?)).await?;
        loop {
            let Some(Heard::News(told)) = news.next().await else { bail!("the history's news are lost") };
            match &told.what {
                HistoryNews::Render(render) if render.state == RenderState::Ready => break,
                HistoryNews::Render(render) if render.state == RenderState::Failed => {
                    bail!("{text}: {:?}", render.reason)
                }
                _ => {}
            }
        }
    }
    Ok(conversation)
}

fn record(conversation: &ConversationId, text: &str, audio: Pcm) -> TurnRecord {
    let answer = Answer {
        reply: ReplyId::fresh(),
        item: ItemId::fresh(),
        text: text.to_owned(),
        heard: text.to_owned(),
        audio: Some(audio),
        interrupted: false,
        failure: None,
        voice: "flite/slt".to_owned(),
        model: "written by hand".to_owned(),
    };
    TurnRecord {
        conversation: conversation.clone(),
        call: CallId::fresh(),
        owner: None,
        door: "example",
        started: SystemTime::now(),
        question: None,
        answer: Some(answer),
        timings: Timings::default(),
    }
}

/// As a call does: piece by piece, one after the other.
async fn speak(voice: &SpeechService, text: &str) -> anyhow::Result<Pcm> {
    let mut splitter = SentenceSplitter::new();
    let mut pieces = splitter.push(text);
    pieces.extend(splitter.finish());
    let mut said = Pcm::new(SampleRate::HZ_16000, Vec::new());
    for piece in pieces.into_iter().filter(|piece| !piece.spoken.is_empty()) {
        let request =
            SpeakRequest { text: piece.spoken, voice: "flite/slt".to_owned(), deadline: std::time::Instant::now() };
        let mut speech = voice.speak(request)?;
        while let Some(chunk) = speech.next().await {
            let chunk = chunk?;
            said.rate = chunk.rate;
            said.samples.extend(chunk.samples);
        }
    }
    Ok(said)
}

/// What was found of one kind of audio.
struct Measured {
    name: &'static str,
    errors: f32,
    words: usize,
    loudness: Vec<f64>,
    peak: f64,
    /// Mean power by frequency, of all its sound.
    spectrum: Vec<f64>,
}

impl Measured {
    fn new(name: &'static str) -> Self {
        Self { name, errors: 0.0, words: 0, loudness: Vec::new(), peak: f64::MIN, spectrum: vec![0.0; WINDOW / 2 + 1] }
    }

    /// The word error rate of this one.
    fn add(&mut self, text: &str, heard: &str, sound: &Pcm) -> anyhow::Result<f32> {
        // The ear writes numbers as it likes; words are compared.
        let (said, heard) = (spoken_form(&speakable(text), "en-US"), spoken_form(heard, "en-US"));
        let count = words(&said).len();
        let rate = word_error_rate(&said, &heard);
        self.errors += rate * count as f32;
        self.words += count;
        let found = loudness(&sound.samples)?;
        self.loudness.push(found.integrated);
        self.peak = self.peak.max(found.true_peak);
        add_spectrum(&sound.samples, &mut self.spectrum)?;
        Ok(rate)
    }

    fn row(&self) -> String {
        let hertz = |bin: usize| bin as f32 * SampleRate::HZ_48000.hertz() as f32 / WINDOW as f32;
        let all: f64 = self.spectrum.iter().sum();
        let above: f64 =
            self.spectrum.iter().enumerate().filter(|(bin, _)| hertz(*bin) >= 8_000.0).map(|(_, p)| p).sum();
        let bins = (BAND_HZ / hertz(1)).round() as usize;
        let bands: Vec<f64> =
            self.spectrum.chunks(bins).map(|band| band.iter().sum::<f64>() / band.len() as f64).collect();
        let loudest = bands.iter().copied().fold(0.0, f64::max);
        let highest = bands.iter().rposition(|band| *band > loudest * 1e-6).map_or(0, |band| band + 1);
        let mean = self.loudness.iter().sum::<f64>() / self.loudness.len() as f64;
        let spread =
            (self.loudness.iter().map(|one| (one - mean).powi(2)).sum::<f64>() / self.loudness.len() as f64).sqrt();
        format!(
            "| {} | {:.1} % | {:.1} dB | {:.1} kHz | {mean:.1} ± {spread:.2} LUFS | {:.1} dBTP |",
            self.name,
            100.0 * self.errors / self.words as f32,
            10.0 * (above / all).log10(),
            highest as f32 * bins as f32 * hertz(1) / 1_000.0,
            self.peak,
        )
    }
}

/// Adds the power spectra of Hann windows.
fn add_spectrum(samples: &[f32], sum: &mut [f64]) -> anyhow::Result<()> {
    let transform = RealFftPlanner::<f32>::new().plan_fft_forward(WINDOW);
    let mut output = transform.make_output_vec();
    for window in samples.windows(WINDOW).step_by(WINDOW / 2) {
        let hann = |n: usize| 0.5 - 0.5 * (n as f32 * std::f32::consts::TAU / WINDOW as f32).cos();
        let mut input: Vec<f32> = window.iter().enumerate().map(|(n, sample)| sample * hann(n)).collect();
        transform.process(&mut input, &mut output)?;
        for (sum, bin) in sum.iter_mut().zip(&output) {
            *sum += f64::from(bin.norm_sqr());
        }
    }
    Ok(())
}

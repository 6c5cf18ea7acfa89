//! How soon the floor finds a turn's end, and how often it cuts in: the real engines over recordings, in the floor's own windows.
//!
//! `cargo run --release --workspace --example turn_ends -- --speech DIR [--manifest FILE]… [--as clean|phone|noise] [--json]`
//!
//! For each pause of 96 ms or more: where it is, whether the speaker has finished, what Smart Turn says of it as the silence grows,
//! the transcript, and what the floor did. Then the time from the last voiced window to the commit, and the false cut-ins. Answers of
//! the engines reach the floor as late as `--answer-ms` says, so that the numbers do not depend on how busy the machine is.

#![allow(clippy::print_stdout, reason = "the numbers are what it is for")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use audio::pcm::{Pcm, SampleRate};
use audio::resample::resample;
use avatar::call::floor::{Change, Floor, FloorSettings, Reads, WINDOW};
use avatar::call::utterance::Utterance;
use clap::Parser;
use models::onnx::OnnxRuntime;
use models::stt::moonshine::Moonshine;
use models::stt::pool::{PoolLimits, RecognizerPool};
use models::stt::{SpeechToText, TranscribeRequest, Urgency};
use models::tts::Synthesizer;
use models::tts::festival::Festival;
use models::tts::flite::Flite;
use models::vad::silero::Silero;
use models::vad::smart_turn::SmartTurn;
use models::vad::{TurnModel, VoiceDetector};
use serde::Deserialize;
use signaling::line::TurnEnd;

const RATE: SampleRate = SampleRate::HZ_16000;
const WINDOW_SAMPLES: usize = models::vad::WINDOW;
/// Silence at which the turn model is asked for the table, in windows: 96, 128, 160, 192, 256, 320 ms.
const PROBES: [u32; 6] = [3, 4, 5, 6, 8, 10];
/// Those of them at which the JSON also has what a transcript would say then.
const READ_AGAIN: [u32; 3] = [6, 8, 10];
/// Quiet put after each piece, so that every policy comes to its end.
const AFTER: Duration = Duration::from_millis(1_600);
/// In a text read aloud, where clause follows clause, an answer after a pause this long is no longer rude.
const READING_PAUSE: Duration = Duration::from_millis(700);

#[derive(Debug, Parser)]
struct Options {
    /// Folders with recordings; those of the starter models are known
    #[arg(long)]
    speech: Vec<PathBuf>,
    /// Lists of pieces
    #[arg(long)]
    manifest: Vec<PathBuf>,
    /// What the line does to the sound
    #[arg(long = "as", value_enum, default_value = "clean")]
    line: Line,
    /// How long an engine takes to answer the floor
    #[arg(long, default_value_t = 64)]
    answer_ms: u64,
    /// One JSON object a pause, with the transcripts as the silence grows
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Line {
    Clean,
    /// 300–3400 Hz and 8 kHz, as telephones have it.
    Phone,
    /// White noise 20 dB under the speech.
    Noise,
}

#[derive(Debug, Deserialize)]
struct Manifest {
    #[serde(default)]
    recordings: Vec<Piece>,
    #[serde(default)]
    optional: Vec<Piece>,
    /// Files whose pieces, in whichever list, are of [`Kind::Aloud`].
    #[serde(default)]
    aloud: Vec<PathBuf>,
    /// Sentences that each of `voices` says.
    #[serde(default)]
    spoken: Vec<String>,
    #[serde(default)]
    voices: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Piece {
    id: String,
    file: PathBuf,
    #[serde(default)]
    start: f64,
    end: Option<f64>,
    #[serde(default)]
    kind: Kind,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// One utterance: its end is a turn's end, every pause before that is inside it.
    #[default]
    Sentence,
    /// Several sentences: the pauses before its end may be between two of them, which is reported apart.
    Several,
    /// An utterance of a text read for an audience, with the pauses that readers make: those before its end are reported apart.
    Aloud,
    /// A text read aloud that goes on after its last pause too: no pause is a turn's end.
    Reading,
    /// One utterance with a hesitation put in where it leads on: reported apart.
    Hesitating,
}

/// What a pause really was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Truth {
    End,
    Inside,
    /// Perhaps after a sentence, and the speaker went on.
    Between,
    /// Inside a text read aloud.
    Aloud,
    Hesitation,
}

struct Engines {
    vad: Silero,
    turn: SmartTurn,
    stt: RecognizerPool,
    runtime: tokio::runtime::Runtime,
}

/// A pause as the floor met it.
struct Met {
    at: Duration,
    /// Until the speaker went on; `None`: they did not.
    lasted: Option<Duration>,
    /// By [`PROBES`]; `None` where the pause was over before.
    sounds: Vec<Option<f32>>,
    text: String,
    /// By [`READ_AGAIN`], while the pause lasted.
    texts: Vec<String>,
    /// Silence at which the floor ended the turn.
    committed: Option<Duration>,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let models = std::env::var_os("AVATAR_MODELS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("data/models"), PathBuf::from);
    let engines = Engines::open(&models).context("the starter models are needed: run `make models`")?;
    let mut tally = Tally::default();
    for (id, kind, samples) in pieces(&options, &models)? {
        let heard = through(options.line, samples)?;
        for met in engines.listen(&heard, options.answer_ms, options.json)? {
            let truth = match (met.lasted, kind) {
                (None, Kind::Reading) => continue,
                (None, _) => Truth::End,
                (Some(lasted), Kind::Reading) if lasted >= READING_PAUSE => continue,
                (Some(_), Kind::Sentence) => Truth::Inside,
                (Some(_), Kind::Several) => Truth::Between,
                (Some(_), Kind::Aloud | Kind::Reading) => Truth::Aloud,
                (Some(_), Kind::Hesitating) => Truth::Hesitation,
            };
            tally.count(truth, &met);
            print(&options, &id, truth, &met);
        }
    }
    tally.print();
    Ok(())
}

fn print(options: &Options, id: &str, truth: Truth, met: &Met) {
    let reads = Reads::of(&met.text);
    if options.json {
        let pause = serde_json::json!({
            "id": id, "line": format!("{:?}", options.line), "at_ms": met.at.as_millis(), "truth": format!("{truth:?}"),
            "lasted_ms": met.lasted.map(|lasted| lasted.as_millis()), "sounds": met.sounds, "text": met.text, "texts": met.texts,
            "reads": format!("{reads:?}"), "committed_ms": met.committed.map(|after| after.as_millis()),
        });
        println!("{pause}");
        return;
    }
    let sounds = met.sounds.iter().map(|p| p.map_or_else(|| "  – ".to_owned(), |p| format!("{p:.2}")));
    let sounds = sounds.collect::<Vec<_>>().join(" ");
    let lasted = met.lasted.map_or_else(|| "end".to_owned(), |lasted| lasted.as_millis().to_string());
    let committed = met.committed.map_or_else(|| "–".to_owned(), |after| after.as_millis().to_string());
    let tail: String = met.text.chars().rev().take(40).collect::<Vec<_>>().into_iter().rev().collect();
    let at = met.at.as_secs_f64();
    println!("{id:24} {at:6.2} s {truth:10?} {lasted:>5} | {sounds} | {reads:9?} …{tail:40} | {committed}");
}

impl Engines {
    fn open(models: &Path) -> anyhow::Result<Self> {
        let onnx = OnnxRuntime::load(&models.join("onnxruntime/libonnxruntime.so"))?;
        let moonshine = Moonshine::load(&onnx, &models.join("moonshine-tiny-en"), 1)?;
        Ok(Self {
            vad: Silero::load(&onnx, &models.join("silero-vad/silero_vad_16k_op15.onnx"))?,
            turn: SmartTurn::load(&onnx, &models.join("smart-turn-v3/smart-turn-v3.2-cpu.onnx"), 1)?,
            stt: RecognizerPool::start(vec![Box::new(moonshine)], vec!["en"], PoolLimits::default())?,
            runtime: tokio::runtime::Builder::new_current_thread().build()?,
        })
    }

    fn judge(&self, utterance: &[f32]) -> anyhow::Result<f32> {
        Ok(self.runtime.block_on(self.turn.judge(utterance.to_vec()))?)
    }

    fn transcribe(&self, utterance: Arc<[f32]>, speech: Duration) -> anyhow::Result<String> {
        let request =
            TranscribeRequest { audio: utterance, language: None, urgency: Urgency::Final, speech: Some(speech) };
        let transcript = self.runtime.block_on(async { self.stt.transcribe(request)?.finished().await })?;
        Ok(transcript.text)
    }

    /// Lets a floor hear the piece as a call would, and gives the pauses it met.
    fn listen(&self, heard: &[f32], answer_ms: u64, json: bool) -> anyhow::Result<Vec<Met>> {
        let late = Duration::from_millis(answer_ms);
        let mut floor = Floor::new(FloorSettings { turn_end: TurnEnd::Semantic, ..FloorSettings::default() });
        let mut utterance = Utterance::default();
        let mut stream = self.vad.stream();
        let start = Instant::now();
        let mut met: Vec<Met> = Vec::new();
        let mut answers: Vec<(Instant, Answer)> = Vec::new();
        // After a commit the pause goes on: how long, and how its judgements would have gone on, is still to be seen.
        let (mut silent, mut turn_so_far) = (0, Vec::new());
        for (n, window) in (1..).zip(heard.as_chunks::<WINDOW_SAMPLES>().0) {
            let now = start + WINDOW * n;
            utterance.hear(window);
            turn_so_far.extend_from_slice(window);
            let mut changes: Vec<Change> = floor.hear(now, stream.push(window)?).into_iter().collect();
            let due = answers.extract_if(.., |(at, _)| *at <= now).map(|(_, answer)| answer);
            changes.extend(due.collect::<Vec<_>>().into_iter().filter_map(|answer| answer.give(&mut floor)));
            silent += 1;
            if floor.caller_speaks() {
                if let Some(last) = met.last_mut().filter(|last| last.lasted.is_none() && silent > 1) {
                    last.lasted = Some(WINDOW * (silent - 1));
                }
                silent = 0;
            }
            for change in changes {
                match change {
                    Change::Started => {
                        utterance.start();
                        turn_so_far = utterance.so_far().to_vec();
                    }
                    Change::Paused { pause } => {
                        let text = self.transcribe(utterance.so_far(), floor.voiced())?;
                        let sounds_finished = self.judge(&utterance.so_far())?;
                        answers.push((now + late, Answer::Sounds { pause, sounds_finished }));
                        answers.push((now + late, Answer::Reads { pause, text: text.clone() }));
                        let at = WINDOW * n - floor.silence();
                        met.push(Met {
                            at,
                            lasted: None,
                            sounds: Vec::new(),
                            text,
                            texts: Vec::new(),
                            committed: None,
                        });
                    }
                    Change::Resumed => answers.clear(),
                    Change::Over => {
                        answers.clear();
                        utterance.finish();
                        if let Some(last) = met.last_mut() {
                            last.committed = Some(WINDOW * silent);
                        }
                    }
                }
            }
            if let Some(last) = met.last_mut().filter(|last| last.lasted.is_none() && PROBES.contains(&silent)) {
                last.sounds.push(Some(self.judge(&turn_so_far)?));
                if json && READ_AGAIN.contains(&silent) {
                    last.texts.push(self.transcribe(turn_so_far.as_slice().into(), floor.voiced())?);
                }
            }
        }
        for pause in &mut met {
            pause.sounds.resize(PROBES.len(), None);
        }
        Ok(met)
    }
}

enum Answer {
    Sounds { pause: u64, sounds_finished: f32 },
    Reads { pause: u64, text: String },
}

impl Answer {
    fn give(self, floor: &mut Floor) -> Option<Change> {
        match self {
            Self::Sounds { pause, sounds_finished } => floor.judged(pause, sounds_finished),
            Self::Reads { pause, text } => floor.read(pause, Reads::of(&text)),
        }
    }
}

#[derive(Default)]
struct Tally {
    /// Silence until the commit, of true ends.
    ends: Vec<Duration>,
    /// Pauses after which the speaker went on, and how many of them were taken for the end.
    others: BTreeMap<Truth, (usize, usize)>,
}

impl Tally {
    fn count(&mut self, truth: Truth, met: &Met) {
        if truth == Truth::End {
            self.ends.extend(met.committed);
        } else {
            let (pauses, committed) = self.others.entry(truth).or_default();
            (*pauses, *committed) = (*pauses + 1, *committed + usize::from(met.committed.is_some()));
        }
    }

    fn print(mut self) {
        self.ends.sort();
        let ends = self.ends.len();
        let ms = |share: f64| {
            let at = ((ends as f64 * share) as usize).min(ends.saturating_sub(1));
            self.ends.get(at).map_or(0, Duration::as_millis)
        };
        println!("# {ends} ends: median {} ms, P95 {} ms, worst {} ms", ms(0.5), ms(0.95), ms(1.0));
        for (truth, (pauses, committed)) in &self.others {
            let percent = 100.0 * *committed as f64 / (ends + committed).max(1) as f64;
            println!(
                "# {pauses} pauses, {truth:?}: {committed} taken for the end, {percent:.1} % of {} turns",
                ends + committed
            );
        }
    }
}

type Samples = Vec<f32>;

/// All pieces with their sound at 16 kHz; those whose file is not here are left out.
fn pieces(options: &Options, models: &Path) -> anyhow::Result<Vec<(String, Kind, Samples)>> {
    let mut folders = options.speech.clone();
    folders.push(models.join("speech-samples"));
    let mut manifests = options.manifest.clone();
    if manifests.is_empty() {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/speech");
        manifests.extend([tests.join("utterances.json"), tests.join("turn_ends.json")]);
    }
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
        serde_json::from_str::<Manifest>(&text).with_context(|| path.display().to_string())
    };
    let manifests = manifests.iter().map(read).collect::<anyhow::Result<Vec<_>>>()?;
    let aloud: Vec<_> = manifests.iter().flat_map(|manifest| manifest.aloud.clone()).collect();
    let mut pieces = Vec::new();
    for manifest in manifests {
        for mut piece in manifest.recordings.into_iter().chain(manifest.optional) {
            if piece.kind == Kind::Sentence && aloud.contains(&piece.file) {
                piece.kind = Kind::Aloud;
            }
            let Some(file) = folders.iter().map(|folder| folder.join(&piece.file)).find(|file| file.exists()) else {
                continue;
            };
            let samples = cut(&piece, &audio::wav::read_file(&file)?)?;
            pieces.push((piece.id, piece.kind, samples));
        }
        for voice in &manifest.voices {
            let mut synthesizer: Box<dyn Synthesizer> = match voice.split('/').next() {
                Some("festival") => Box::new(Festival::open()?),
                _ => Box::new(Flite::open()?),
            };
            for (n, text) in manifest.spoken.iter().enumerate() {
                pieces.push((format!("{voice} {n}"), Kind::Sentence, say(&mut *synthesizer, text, voice)?));
            }
        }
    }
    Ok(pieces)
}

fn cut(piece: &Piece, recording: &Pcm) -> anyhow::Result<Samples> {
    let all = resample(recording, RATE)?.samples;
    let at = |seconds: f64| RATE.samples_in(Duration::from_secs_f64(seconds)).min(all.len());
    let (start, end) = (at(piece.start), piece.end.map_or(all.len(), at));
    Ok(all.get(start..end).with_context(|| format!("{} ends before it starts", piece.id))?.to_vec())
}

fn say(synthesizer: &mut dyn Synthesizer, text: &str, voice: &str) -> anyhow::Result<Samples> {
    let mut said: Option<Pcm> = None;
    synthesizer.synthesize(text, voice, &mut |chunk| {
        match &mut said {
            Some(said) => said.samples.extend(chunk.samples),
            None => said = Some(chunk),
        }
        std::ops::ControlFlow::Continue(())
    })?;
    let said = said.with_context(|| format!("{voice} said nothing"))?;
    Ok(resample(&said, RATE)?.samples)
}

/// The piece between its own room's quiet, and what the line makes of it.
fn through(line: Line, samples: Samples) -> anyhow::Result<Samples> {
    let mut random = Noise(0x9E37_79B9);
    let levels = samples.chunks(1_600).map(audio::level::rms);
    let room = levels.clone().fold(f32::INFINITY, f32::min).clamp(0.0, 0.003);
    let loud = audio::level::rms(&samples);
    let lead = RATE.samples_in(Duration::from_millis(300));
    let mut heard: Samples = (0..lead).map(|_| room * random.next()).collect();
    heard.extend(samples);
    heard.extend((0..RATE.samples_in(AFTER)).map(|_| room * random.next()));
    match line {
        Line::Clean => Ok(heard),
        Line::Phone => {
            // One pole at 300 Hz takes the low end; 8 kHz the high one.
            let (mut last, mut out) = (0.0, 0.0);
            for sample in &mut heard {
                out = 0.89 * (out + *sample - last);
                last = *sample;
                *sample = out;
            }
            Ok(resample(&resample(&Pcm::new(RATE, heard), SampleRate::HZ_8000)?, RATE)?.samples)
        }
        Line::Noise => Ok(heard.into_iter().map(|sample| sample + 0.1 * loud * random.next()).collect()),
    }
}

/// White noise of RMS 1, the same at each run.
struct Noise(u32);

impl Noise {
    fn next(&mut self) -> f32 {
        // xorshift32 (Marsaglia 2003).
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        (self.0 as f32 / u32::MAX as f32 - 0.5) * 12f32.sqrt()
    }
}

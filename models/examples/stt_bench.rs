//! Measures speech to text. `scripts/bench-stt` drives it beside its peer.
//!
//! `stt_bench serve MODEL.bin THREADS`: reads lines `SECONDS FRAMES TOKENS` and answers `ENCODE_MS DECODE_MS` for one pass of
//! Whisper over so much noise, of whose encoding it looks at so many frames, and so many tokens.
//!
//! `stt_bench cancel MODEL.bin THREADS SECONDS FRAMES RUNS`: the time from giving a request up, at moments spread over its encoder,
//! to a free worker.
//!
//! `stt_bench tail MOONSHINE_FOLDER ONNXRUNTIME.so SPEECH.wav`: what the final pass costs after 3, 10, 30 and 60 s of speech and
//! more, with every piece transcribed again, and with only the tail left to do; and the word errors of either against the text in
//! `SPEECH.txt`, if that is there.
#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use audio::pcm::SampleRate;
use models::cancel::{CancelOnDrop, Cancelled};
use models::error::EngineError;
use models::onnx::OnnxRuntime;
use models::stt::moonshine::Moonshine;
use models::stt::pieces::Cutting;
use models::stt::pool::{PoolLimits, RecognizerPool};
use models::stt::wer::word_error_rate;
use models::stt::whisper::{Whisper, WhisperOptions};
use models::stt::{Piece, Recognized, Recognizer, SpeechToText, TranscribeRequest, Urgency, sliding};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["serve", model, threads] => serve(Path::new(model), threads.parse()?),
        ["cancel", model, threads, seconds, frames, runs] => {
            cancel(Path::new(model), threads.parse()?, seconds.parse()?, frames.parse()?, runs.parse()?)
        }
        ["tail", folder, runtime, speech] => tail(Path::new(folder), Path::new(runtime), Path::new(speech)),
        _ => Err("usage: stt_bench serve | cancel | tail, see the source".into()),
    }
}

fn whisper(model: &Path, threads: usize) -> Result<Whisper, EngineError> {
    let options = WhisperOptions { recognizers: 1, threads, ..WhisperOptions::default() };
    let mut whispers = Whisper::load(model, &options)?;
    Ok(whispers.remove(0))
}

fn noise(seconds: f32) -> Vec<f32> {
    let mut random = StdRng::seed_from_u64(7);
    (0..SampleRate::HZ_16000.samples_in(Duration::from_secs_f32(seconds)))
        .map(|_| random.random_range(-0.1..0.1))
        .collect()
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn serve(model: &Path, threads: usize) -> Result<(), Failure> {
    let mut whisper = whisper(model, threads)?;
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let mut fields = line.split_whitespace();
        let mut next = || fields.next().ok_or("SECONDS FRAMES TOKENS");
        let (seconds, frames, tokens) = (next()?.parse()?, next()?.parse()?, next()?.parse()?);
        let (encode, decode) = whisper.measure(&noise(seconds), frames, tokens, &Cancelled::default())?;
        println!("{:.3} {:.3}", milliseconds(encode), milliseconds(decode));
    }
    Ok(())
}

fn cancel(model: &Path, threads: usize, seconds: f32, frames: i32, runs: u32) -> Result<(), Failure> {
    let mut whisper = whisper(model, threads)?;
    let audio = noise(seconds);
    let (encode, _) = whisper.measure(&audio, frames, 1, &Cancelled::default())?;
    let mut waits = Vec::new();
    for run in 0..runs {
        let guard = CancelOnDrop::default();
        let cancelled = guard.watch();
        let delay = encode.mul_f64(f64::from(run) / f64::from(runs.max(1)));
        let giving_up = std::thread::spawn(move || {
            std::thread::sleep(delay);
            drop(guard);
            Instant::now()
        });
        let stopped = whisper.measure(&audio, frames, 1_000, &cancelled).is_err();
        let free = Instant::now();
        let given_up = giving_up.join().map_err(|_| "the thread panicked")?;
        if !stopped {
            return Err("it was not stopped".into());
        }
        waits.push(milliseconds(free.saturating_duration_since(given_up)));
    }
    waits.sort_by(f64::total_cmp);
    let at = |share: f64| waits.get(((waits.len() - 1) as f64 * share) as usize).copied().unwrap_or(f64::NAN);
    println!(
        "encoder alone {:.0} ms; given up to free: median {:.1}, longest {:.1} ms",
        milliseconds(encode),
        at(0.5),
        at(1.0)
    );
    Ok(())
}

/// Moonshine with other cuts.
struct Recut(Moonshine, Cutting);

impl Recognizer for Recut {
    fn name(&self) -> String {
        self.0.name()
    }

    fn cutting(&self) -> Cutting {
        self.1
    }

    fn recognize(&mut self, piece: &Piece<'_>, cancelled: &Cancelled) -> Result<Recognized, EngineError> {
        self.0.recognize(piece, cancelled)
    }
}

/// How long utterances grow between passes.
const EVERY: Duration = Duration::from_millis(500);
const REPEATS: usize = 5;

fn tail(folder: &Path, runtime: &Path, speech: &Path) -> Result<(), Failure> {
    let runtime = OnnxRuntime::load(runtime)?;
    let pcm = audio::wav::read_file(speech)?;
    let once = audio::resample::resample(&pcm, SampleRate::HZ_16000)?.samples;
    let twice: Vec<f32> = once.iter().chain(&once).chain(&once).copied().collect();
    let moonshine = || Moonshine::load(&runtime, folder, 1);
    let cutting = |shortest, longest| Cutting {
        shortest: Duration::from_secs_f32(shortest),
        longest: Duration::from_secs_f32(longest),
    };
    if let Ok(text) = std::fs::read_to_string(speech.with_extension("txt")) {
        for (shortest, longest) in
            [(19.0, 20.0), (10.0, 20.0), (8.0, 16.0), (6.0, 12.0), (5.0, 12.0), (4.0, 10.0), (3.0, 8.0), (2.0, 6.0)]
        {
            let mut recut = Recut(moonshine()?, cutting(shortest, longest));
            let heard = sliding::whole(&mut recut, &once, None, &Cancelled::default())?;
            let error = word_error_rate(&text, &heard.text);
            println!("pieces of {shortest} to {longest} s: {:.1} % of words wrong", 100.0 * error);
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut before = Recut(moonshine()?, cutting(10.0, 20.0));
    for seconds in [3.0, 10.0, 30.0, 60.0, 120.0] {
        let Some(audio) = twice.get(..SampleRate::HZ_16000.samples_in(Duration::from_secs_f32(seconds))) else { break };
        let (mut olds, mut news) = (Vec::new(), Vec::new());
        for _ in 0..REPEATS {
            let started = Instant::now();
            sliding::whole(&mut before, audio, None, &Cancelled::default())?;
            olds.push(milliseconds(started.elapsed()));
            // A pool that knows nothing yet, and hears the utterance grow.
            let pool = RecognizerPool::start(vec![Box::new(moonshine()?)], vec!["en"], PoolLimits::default())?;
            let ask = |audio: &[f32], urgency| -> Result<Duration, Failure> {
                let audio = Arc::from(audio);
                let request = TranscribeRequest { audio, language: None, urgency, speech: None };
                let transcription = pool.transcribe(request)?;
                Ok(runtime.block_on(transcription.finished())?.computed)
            };
            let step = SampleRate::HZ_16000.samples_in(EVERY);
            for end in (step..audio.len().saturating_sub(step / 2)).step_by(step) {
                ask(audio.get(..end).unwrap_or(audio), Urgency::Partial)?;
            }
            news.push(milliseconds(ask(audio, Urgency::Final)?));
        }
        let least = |times: &[f64]| times.iter().copied().fold(f64::INFINITY, f64::min);
        let (old, new) = (least(&olds), least(&news));
        println!("{seconds:>4} s: all again {old:.0} ms, the tail {new:.0} ms, {:.1} times less", old / new);
    }
    Ok(())
}

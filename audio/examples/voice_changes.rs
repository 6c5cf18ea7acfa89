//! How often one voice is taken for two, and two for one: `voice_changes FOLDER…`, a folder a speaker with recordings of them.
//!
//! Each trial joins recordings of one speaker, or of one and then another, to what somebody might send as a sample of a voice.
#![expect(clippy::print_stdout, reason = "it is what it is for")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use audio::pcm::{Pcm, SampleRate};
use audio::recording;
use audio::voice_sample::{Activity, Refusal, Warning, judge, measure};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const RATE: SampleRate = SampleRate::HZ_16000;
const TRIALS: usize = 400;

fn main() -> Result<(), Box<dyn Error>> {
    let mut speakers = Vec::new();
    for folder in std::env::args().skip(1).map(PathBuf::from) {
        let recordings = read(&folder)?;
        for (name, samples) in &recordings {
            let pcm = Pcm::new(RATE, samples.clone());
            let measured = measure(&pcm, &Activity::by_energy(&pcm))?;
            if recordings.len() <= 5 {
                println!("{name}: {measured:.3?}");
            }
        }
        speakers.push(recordings.into_iter().map(|(_, samples)| samples).collect::<Vec<_>>());
    }
    let mut random = StdRng::seed_from_u64(1);
    let choose = |random: &mut StdRng, not: usize| loop {
        let at = random.random_range(0..speakers.len());
        if at != not {
            return at;
        }
    };
    for (what, parts, range) in
        [("one voice", 1, 6.0..30.0), ("two voices", 2, 3.0..13.0), ("two that take turns", 6, 1.5..4.0)]
    {
        let (mut refused, mut warned, mut gains) = (0, 0, Vec::new());
        for _ in 0..TRIALS {
            let first = choose(&mut random, usize::MAX);
            let second = choose(&mut random, first);
            let mut samples = Vec::new();
            for part in 0..parts {
                let speaker = if part % 2 == 0 { first } else { second };
                let seconds: f32 = random.random_range(range.clone());
                let recordings = speakers.get(speaker).map(Vec::as_slice).unwrap_or_default();
                samples.extend(take(&mut random, recordings, (seconds * 16_000.0) as usize));
            }
            let pcm = Pcm::new(RATE, samples);
            let mut measured = measure(&pcm, &Activity::by_energy(&pcm))?;
            gains.push(measured.change);
            // What else may be wrong with it is not the question here.
            (measured.speech, measured.clipped, measured.above_noise) = (Duration::from_secs(9), 0.0, 60.0);
            match judge(&measured) {
                Err(Refusal::SeveralVoices) => refused += 1,
                Ok(warnings) => warned += usize::from(warnings.contains(&Warning::PerhapsTwoVoices)),
                Err(_) => {}
            }
        }
        gains.sort_by(f32::total_cmp);
        let rank = |share: usize| gains.get(gains.len() * share / 100).copied().unwrap_or(f32::NAN);
        println!(
            "{what}: of {TRIALS} {refused} refused, {warned} warned of; gain P5 {:.0}, P50 {:.0}, P95 {:.0}, P99 {:.0}",
            rank(5),
            rank(50),
            rank(95),
            rank(99)
        );
    }
    Ok(())
}

/// Names and samples.
type Recordings = Vec<(String, Vec<f32>)>;

fn read(folder: &Path) -> Result<Recordings, Box<dyn Error>> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    paths.sort();
    let mut recordings = Vec::new();
    for path in paths {
        let pcm = recording::read(std::fs::read(&path)?, RATE, Duration::from_secs(600))?;
        recordings.push((path.display().to_string(), pcm.samples));
    }
    Ok(recordings)
}

/// So many samples of one speaker, from some recording on, or as many as there are.
fn take(random: &mut StdRng, recordings: &[Vec<f32>], count: usize) -> Vec<f32> {
    let mut taken = Vec::new();
    let from = random.random_range(0..recordings.len());
    for at in 0..recordings.len() {
        let recording = recordings.get((from + at) % recordings.len()).map(Vec::as_slice).unwrap_or_default();
        let start =
            if at == 0 && recording.len() > count { random.random_range(0..recording.len() - count) } else { 0 };
        taken.extend(recording.iter().skip(start).take(count - taken.len()));
        if taken.len() >= count {
            break;
        }
    }
    taken
}

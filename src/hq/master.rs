//! Sentences into one file that sounds finished: joined with pauses, at one loudness, never clipped.
//!
//! Loudness is measured as EBU R 128 has it (ITU-R BS.1770-4), of the mono signal; the peak is the true peak, between the samples too, and
//! measured of the file as it decodes, since a codec moves peaks. Peaks above the ceiling are turned down by a limiter that sees them
//! coming: its gain is the smallest that any sample within [`LOOK`] needs, smoothed over the same time, so it never clips and never clicks.

use std::collections::VecDeque;
use std::time::Duration;

use audio::level::{VOICE_FLOOR, trim};
use audio::ogg::{self, OggError, OggOpusWriter};
use audio::opus::EncoderSettings;
use audio::pcm::{Pcm, SampleRate};
use audio::resample::{ResampleError, resample};
use ebur128::{EbuR128, Mode};
use models::cancel::Cancelled;

/// What speech alone is at home at: podcasts have -16 in stereo, which is as loud as -19 in mono; a little above that for one voice.
pub const TARGET_LUFS: f64 = -18.0;
/// Decibels of full scale that the true peak never passes.
pub const CEILING_DBTP: f64 = -1.0;
const RATE: SampleRate = SampleRate::HZ_48000;
/// Kept of the silence at a sentence's edges: weak consonants are in it.
const EDGE: Duration = Duration::from_millis(30);
/// Before the first sentence and after the last.
const LEAD_IN: Duration = Duration::from_millis(40);
const LEAD_OUT: Duration = Duration::from_millis(240);
/// So long before a peak the limiter begins to turn down, and so long after it ends.
const LOOK: Duration = Duration::from_millis(4);
/// What is quieter than that by so much is not a voice; it is not made into one.
const GAIN_MAX_DB: f64 = 40.0;
/// Passes in which loudness is brought to where it should be; two are enough for speech. After them only peaks are brought down.
const PASSES: usize = 5;
/// A reply shorter than loudness can be measured of is measured as if it went on.
const MEASURED: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
pub enum MasterError {
    #[error("the voice made no sound; choose another with hq.engine")]
    Silent,
    #[error(transparent)]
    Resample(#[from] ResampleError),
    #[error(transparent)]
    Encode(#[from] OggError),
    /// Whoever asked has gone.
    #[error("it was stopped")]
    Stopped,
    #[error("its loudness cannot be measured: {0}")]
    Measure(#[from] ebur128::Error),
}

/// A sentence as its voice made it, and the silence after it.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    pub pcm: Pcm,
    pub pause: Duration,
}

/// A finished file.
#[derive(Debug, Clone)]
pub struct Mastered {
    /// Ogg Opus, 48 kHz, mono.
    pub file: Vec<u8>,
    pub duration: Duration,
    pub loudness: Loudness,
}

/// How loud a sound is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loudness {
    /// Integrated, LUFS.
    pub integrated: f64,
    /// dBTP.
    pub true_peak: f64,
}

/// Joins, levels and encodes. Takes some percent of the sound's length of one core: not for a tokio worker. Looks at `stopped` after each
/// second of sound, which takes some milliseconds.
pub fn master(parts: &[Part], bitrate: u32, stopped: &Cancelled) -> Result<Mastered, MasterError> {
    let joined = join(parts)?;
    let mut ceiling = CEILING_DBTP - 0.2;
    let mut gain = TARGET_LUFS - loudness(&joined)?.integrated;
    if !gain.is_finite() || gain > GAIN_MAX_DB {
        return Err(MasterError::Silent);
    }
    let mut pass = 0;
    loop {
        pass += 1;
        let levelled = limit(&amplified(&joined, gain), ceiling);
        let settings = EncoderSettings { bitrate, complexity: 10, fec: false, expected_loss: 0 };
        let mut writer = OggOpusWriter::with(Vec::new(), settings)?;
        for second in levelled.chunks(RATE.hertz() as usize) {
            if stopped.is_set() {
                return Err(MasterError::Stopped);
            }
            writer.push(&Pcm::new(RATE, second.to_vec()))?;
        }
        let file = writer.finish()?;
        let heard = ogg::read(&file[..])?;
        let found = loudness(&heard.samples)?;
        let (excess, missing) = (found.true_peak - CEILING_DBTP, TARGET_LUFS - found.integrated);
        // In the end no peak matters more than the loudness.
        if excess <= 0.0 && (missing.abs() <= 0.1 || pass >= PASSES) || pass >= 2 * PASSES {
            return Ok(Mastered { file, duration: heard.duration(), loudness: found });
        }
        ceiling -= if excess > 0.0 { excess + 0.1 } else { 0.0 };
        if pass < PASSES {
            gain = (gain + missing).min(GAIN_MAX_DB);
        }
    }
}

fn join(parts: &[Part]) -> Result<Vec<f32>, MasterError> {
    let silence = |duration| std::iter::repeat_n(0.0, RATE.samples_in(duration));
    let mut joined: Vec<f32> = silence(LEAD_IN).collect();
    let mut pause = Duration::ZERO;
    for part in parts {
        let sound = trim(&resample(&part.pcm, RATE)?, VOICE_FLOOR, EDGE);
        if !sound.samples.is_empty() {
            joined.extend(silence(pause));
            joined.extend(faded(sound.samples));
            pause = part.pause;
        }
    }
    joined.extend(silence(LEAD_OUT));
    Ok(joined)
}

/// The edges of a sentence rise from nothing and fall to nothing within a few milliseconds.
fn faded(mut samples: Vec<f32>) -> Vec<f32> {
    let fade = RATE.samples_in(Duration::from_millis(5));
    let length = samples.len();
    for (at, sample) in samples.iter_mut().enumerate() {
        let from_edge = at.min(length - 1 - at);
        if from_edge < fade {
            *sample *= (from_edge as f32 + 0.5) / fade as f32;
        }
    }
    samples
}

/// Of 48 kHz mono; what is too short to be measured is repeated.
pub fn loudness(samples: &[f32]) -> Result<Loudness, MasterError> {
    if samples.is_empty() {
        return Err(MasterError::Silent);
    }
    let mut meter = EbuR128::new(1, RATE.hertz(), Mode::I | Mode::TRUE_PEAK)?;
    let rounds = RATE.samples_in(MEASURED).div_ceil(samples.len());
    for _ in 0..rounds {
        meter.add_frames_f32(samples)?;
    }
    let true_peak = 20.0 * meter.true_peak(0)?.max(1e-9).log10();
    Ok(Loudness { integrated: meter.loudness_global()?, true_peak })
}

fn amplified(samples: &[f32], gain_db: f64) -> Vec<f32> {
    let gain = amplitude(gain_db);
    samples.iter().map(|sample| sample * gain).collect()
}

fn amplitude(db: f64) -> f32 {
    10.0_f64.powf(db / 20.0) as f32
}

/// Turns down what would pass the ceiling.
fn limit(samples: &[f32], ceiling_db: f64) -> Vec<f32> {
    let ceiling = amplitude(ceiling_db);
    if samples.iter().all(|sample| sample.abs() <= ceiling) {
        return samples.to_vec();
    }
    let look = RATE.samples_in(LOOK);
    let needed: Vec<f32> = samples.iter().map(|sample| (ceiling / sample.abs().max(ceiling)).min(1.0)).collect();
    let lowest = lowest_within(&needed, look);
    // Each of those that are averaged is what its neighbourhood needs, so their mean is no more than any sample in it needs.
    let gains = mean_within(&lowest, look);
    samples.iter().zip(gains).map(|(sample, gain)| (sample * gain).clamp(-ceiling, ceiling)).collect()
}

/// Of each value the lowest from `reach` before it to `reach` after it.
fn lowest_within(values: &[f32], reach: usize) -> Vec<f32> {
    let mut lowest = Vec::with_capacity(values.len());
    // Those that may yet be the lowest, rising, with their places.
    let mut candidates: VecDeque<(usize, f32)> = VecDeque::new();
    let mut coming = values.iter().copied().enumerate().peekable();
    for at in 0..values.len() {
        while let Some((place, value)) = coming.next_if(|(place, _)| *place <= at + reach) {
            while candidates.back().is_some_and(|(_, other)| *other >= value) {
                candidates.pop_back();
            }
            candidates.push_back((place, value));
        }
        while candidates.front().is_some_and(|(place, _)| place + reach < at) {
            candidates.pop_front();
        }
        lowest.push(candidates.front().map_or(1.0, |(_, value)| *value));
    }
    lowest
}

/// Of each value the mean from `reach` before it to `reach` after it; beyond the ends everything is 1.
fn mean_within(values: &[f32], reach: usize) -> Vec<f32> {
    let width = 2 * reach + 1;
    let at = |index: usize| {
        index.checked_sub(reach).and_then(|index| values.get(index)).map_or(1.0, |value| f64::from(*value))
    };
    let mut sum: f64 = (0..width).map(at).sum();
    let mut means = Vec::with_capacity(values.len());
    for index in 0..values.len() {
        means.push((sum / width as f64) as f32);
        sum += at(index + width) - at(index);
    }
    means
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use audio::level::{longest_clipping, longest_gap};
    use models::cancel::CancelOnDrop;

    use super::*;

    const BITRATE: u32 = 64_000;

    /// Something like a voice: a buzz of 120 Hz with harmonics, loud and soft four times a second.
    fn buzz(rate: SampleRate, level: f32, duration: Duration) -> Pcm {
        let hertz = rate.hertz() as f32;
        let sample = |n: usize| {
            let at = n as f32 / hertz;
            let tone: f32 = (1..20).map(|k| (at * 120.0 * k as f32 * std::f32::consts::TAU).sin() / k as f32).sum();
            tone * level * (0.55 - 0.45 * (at * 4.0 * std::f32::consts::TAU).cos())
        };
        Pcm::new(rate, (0..rate.samples_in(duration)).map(sample).collect())
    }

    fn part(level: f32, ms: u64) -> Part {
        let rate = SampleRate::new(32_000).unwrap();
        Part { pcm: buzz(rate, level, Duration::from_millis(ms)), pause: Duration::from_millis(300) }
    }

    #[test]
    fn a_whisper_and_a_shout_come_out_equally_loud_and_never_clip() {
        for (level, ms) in [(0.004, 2_500), (0.05, 2_500), (0.4, 2_500), (1.5, 2_500), (0.1, 250)] {
            let mastered = master(&[part(level, ms)], BITRATE, &Cancelled::default()).unwrap();
            let heard = ogg::read(&mastered.file[..]).unwrap();
            let found = loudness(&heard.samples).unwrap();
            assert!((found.integrated - TARGET_LUFS).abs() < 0.5, "{level}, {ms} ms: {found:?}");
            assert!(found.true_peak <= CEILING_DBTP, "{level}, {ms} ms: {found:?}");
            assert!(longest_clipping(&heard.samples) < 2);
            assert_eq!(mastered.loudness, found, "what is told is of the file");
        }
    }

    #[test]
    fn sentences_are_apart_by_the_pause_between_them() {
        let tone = Pcm::new(RATE, (0..24_000).map(|n| (n as f32 * 0.05).sin() * 0.2).collect());
        let mut silent_edges = vec![0.0; 9_600];
        silent_edges.extend(&tone.samples);
        silent_edges.extend(vec![0.0; 9_600]);
        let parts = [
            Part { pcm: Pcm::new(RATE, silent_edges), pause: Duration::from_millis(300) },
            Part { pcm: tone, pause: Duration::from_millis(900) },
        ];
        let gap = longest_gap(&Pcm::new(RATE, join(&parts).unwrap()), VOICE_FLOOR).as_millis();
        assert!((330..=336).contains(&gap), "{gap} ms: the pause and a sentence's edge");
    }

    #[test]
    fn a_voice_of_silence_is_refused() {
        let silence = Part { pcm: Pcm::new(RATE, vec![0.0; 48_000]), pause: Duration::ZERO };
        let stopped = Cancelled::default();
        assert!(matches!(master(&[silence], BITRATE, &stopped), Err(MasterError::Silent)));
        assert!(matches!(master(&[], BITRATE, &stopped), Err(MasterError::Silent)));
    }

    #[test]
    fn who_has_gone_is_not_worked_for() {
        let guard = CancelOnDrop::default();
        let stopped = guard.watch();
        drop(guard);
        assert!(matches!(master(&[part(0.1, 2_500)], BITRATE, &stopped), Err(MasterError::Stopped)));
    }

    #[test]
    fn a_lone_peak_is_turned_down_smoothly_and_the_rest_is_left_alone() {
        let mut samples = vec![0.1; 4_800];
        samples[2_400] = 4.0;
        let limited = limit(&samples, -6.0);
        assert!((limited[2_400] - amplitude(-6.0)).abs() < 1e-4);
        let largest = limited
            .windows(2)
            .filter(|pair| pair.iter().all(|s| *s <= 0.1))
            .map(|pair| (pair[0] - pair[1]).abs())
            .fold(0.0, f32::max);
        assert!(largest < 0.001, "{largest}");
        assert_eq!((limited[1_900], limited[2_900]), (0.1, 0.1));
    }

    #[test]
    fn the_lowest_nearby_is_found_wherever_it_is() {
        let values: Vec<f32> = (0..200).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 8) as f32).collect();
        for reach in [0, 1, 7, 300] {
            let slow: Vec<f32> = (0..values.len())
                .map(|at| {
                    values[at.saturating_sub(reach)..(at + reach + 1).min(values.len())]
                        .iter()
                        .copied()
                        .fold(f32::MAX, f32::min)
                })
                .collect();
            assert_eq!(lowest_within(&values, reach), slow, "{reach}");
        }
    }
}

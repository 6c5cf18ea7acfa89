//! Whether a recording will do as the sample of a voice, and how it is made ready.
//!
//! Three steps, all pure: [`measure`] puts numbers to what is heard ([`Measures`]); [`judge`] is a table of limits that turns numbers
//! into a refusal, or warnings; [`prepare`] cuts and levels what was accepted. Where speech is, the caller says ([`Activity`]): a
//! trained detector where there is one, energy otherwise.
//!
//! Several voices are looked for, not identified: the test ([`change`]) asks whether the sound of voiced speech is better described
//! by one distribution or by one before and another after some moment. It finds who follows whom, and misses voices that take
//! turns every second or two.

mod activity;
mod change;
mod features;
mod judgement;
mod spectrum;

use std::ops::Range;
use std::time::Duration;

pub use activity::Activity;
pub use judgement::{Judgement, LONGEST, Refusal, SHORTEST, Warning, judge};

use crate::level::{self, SILENCE_DBFS, dbfs};
use crate::pcm::{Pcm, SampleRate};
use crate::resample::{ResampleError, resample};

/// What is kept of the silence before and after the speech.
const MARGIN: Duration = Duration::from_millis(150);
const FADE: Duration = Duration::from_millis(10);
/// What the speech of a prepared sample has as its effective value, unless its peaks forbid.
const TARGET_DBFS: f32 = -21.0;
const HIGHEST_PEAK_DBFS: f32 = -1.0;
/// A sample of speech at least this near to the greatest amplitude belongs to its flat top, if there is one.
const FLAT_TOP: f32 = 0.93;
/// Speech is what is above this share of the greatest amplitude, for the share of the flat top.
const LOUD: f32 = 0.05;

/// What was heard in a recording.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measures {
    pub speech: Duration,
    /// Of the loud samples, how many are at the greatest amplitude, 0.0 to 1.0. Speech reaches it rarely (below 0.004), an overdriven
    /// microphone often.
    pub clipped: f32,
    /// Effective value of the speech.
    pub level_dbfs: f32,
    /// Effective value of the pauses.
    pub noise_dbfs: f32,
    /// Speech against the pauses, in decibels.
    pub above_noise: f32,
    /// Up to where there is speech in the spectrum.
    pub bandwidth_hz: u32,
    /// How much better two voices explain the recording than one, in nats; see [`change`].
    pub change: f32,
}

/// Measures `pcm`, of which `activity` says where the speech is.
pub fn measure(pcm: &Pcm, activity: &Activity) -> Result<Measures, ResampleError> {
    let speech = activity.samples(pcm, true);
    let (noise, loud) = (pauses(pcm, activity), level::rms(&speech));
    let power = (loud * loud - noise * noise).max(0.0);
    let above_noise = if loud == 0.0 { 0.0 } else { dbfs(power.sqrt()) - dbfs(noise) };
    let narrow = resample(pcm, SampleRate::HZ_16000)?;
    Ok(Measures {
        speech: activity.speech(),
        clipped: flat_top(&speech),
        level_dbfs: dbfs(loud),
        noise_dbfs: dbfs(noise),
        above_noise,
        bandwidth_hz: spectrum::bandwidth(&speech, &activity.samples(pcm, false), pcm.rate),
        change: change::gain(&features::voiced(&narrow.samples, activity)),
    })
}

/// Effective value of what is between the words: the quieter half of the pauses, or where there are none the quietest
/// twentieth of everything.
fn pauses(pcm: &Pcm, activity: &Activity) -> f32 {
    const WINDOW: Duration = Duration::from_millis(20);
    /// Pauses of less than this in all say little.
    const ENOUGH: usize = 10;
    let window = pcm.rate.samples_in(WINDOW).max(1);
    let levels = |samples: &[f32]| {
        let mut levels: Vec<f32> = samples.chunks_exact(window).map(level::rms).collect();
        levels.sort_by(f32::total_cmp);
        levels
    };
    let quiet = levels(&activity.samples(pcm, false));
    let (levels, rank) = if quiet.len() >= ENOUGH { (quiet, 2) } else { (levels(&pcm.samples), 20) };
    levels.get(levels.len() / rank).copied().unwrap_or(0.0)
}

/// The share of loud samples that are at the top.
fn flat_top(speech: &[f32]) -> f32 {
    let peak = level::peak(speech);
    let count = |from: f32| speech.iter().filter(|sample| sample.abs() >= from * peak).count();
    if peak == 0.0 { 0.0 } else { count(FLAT_TOP) as f32 / count(LOUD).max(1) as f32 }
}

/// The stretch of `pcm` that is used: from the first word to the last, or to the last pause before `longest` is over.
pub fn stretch(pcm: &Pcm, activity: &Activity, longest: Duration) -> Range<usize> {
    let most = longest.saturating_sub(2 * MARGIN);
    let Some(sounding) = activity.stretch(most) else { return 0..0 };
    let at = |time: Duration| pcm.rate.samples_in(time).min(pcm.samples.len());
    at(sounding.start.saturating_sub(MARGIN))..at(sounding.end + MARGIN)
}

/// The sample that a voice is made of: without offset, at an even level, faded at both ends. `activity` belongs to `pcm`.
pub fn prepare(pcm: &Pcm, activity: &Activity) -> Pcm {
    let mean = pcm.samples.iter().map(|sample| f64::from(*sample)).sum::<f64>() / pcm.samples.len().max(1) as f64;
    let mut samples: Vec<f32> = pcm.samples.iter().map(|sample| sample - mean as f32).collect();
    let speech = level::rms_dbfs(&activity.samples(&Pcm::new(pcm.rate, samples.clone()), true));
    let peak = level::peak_dbfs(&samples);
    if speech > SILENCE_DBFS {
        let gain = 10_f32.powf((TARGET_DBFS - speech).min(HIGHEST_PEAK_DBFS - peak) / 20.0);
        samples.iter_mut().for_each(|sample| *sample *= gain);
    }
    let fade = pcm.rate.samples_in(FADE).min(samples.len() / 2);
    for at in 0..fade {
        let factor = (at as f32 + 0.5) / fade as f32;
        let end = samples.len() - 1 - at;
        for at in [at, end] {
            if let Some(sample) = samples.get_mut(at) {
                *sample *= factor;
            }
        }
    }
    Pcm::new(pcm.rate, samples)
}

#[cfg(test)]
mod tests;

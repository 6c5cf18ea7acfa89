//! What Smart Turn looks at: Whisper's log-mel spectrogram of exactly eight seconds.
//!
//! The audio ends at the pause in question; what is older than eight seconds is left out, what is missing is silence before.
//! The whole window is brought to zero mean and unit variance first, silence included. Then frames of 400 samples every 160,
//! mirrored at both ends, under a periodic Hann window; power; 80 triangular bands on Slaney's mel scale, each of area one;
//! decimal logarithm, no lower than eight decades under the loudest; scaled by (x + 4) / 4. (Radford et al., "Robust Speech
//! Recognition via Large-Scale Weak Supervision", 2022; Slaney, "Auditory Toolbox", 1998.)
//!
//! In double precision, because the model's dynamic quantisation magnifies the last bits: a millionth more or less in the
//! features moves its probability by up to a tenth.

use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

pub const BANDS: usize = 80;
pub const FRAMES: usize = 800;

const RATE: f64 = 16_000.0;
const SAMPLES: usize = 128_000;
const FRAME: usize = 400;
const HOP: usize = 160;
const BINS: usize = FRAME / 2 + 1;
const VARIANCE_FLOOR: f32 = 1e-7;
const POWER_FLOOR: f64 = 1e-10;
const DECADES: f64 = 8.0;

/// The tables and the transform; made once.
pub struct Features {
    transform: Arc<dyn RealToComplex<f64>>,
    window: Vec<f64>,
    bands: Vec<Band>,
}

/// A triangle over the bins from `first` on.
struct Band {
    first: usize,
    weights: Vec<f64>,
}

impl Features {
    pub fn new() -> Self {
        let phase = |index: usize| std::f64::consts::TAU * index as f64 / FRAME as f64;
        Self {
            transform: RealFftPlanner::new().plan_fft_forward(FRAME),
            window: (0..FRAME).map(|index| 0.5 - 0.5 * phase(index).cos()).collect(),
            bands: bands(),
        }
    }

    /// The spectrogram, [`BANDS`] rows of [`FRAMES`].
    pub fn of(&self, utterance: &[f32]) -> Vec<f32> {
        let audio = mirrored(&normalised(utterance));
        let mut logarithms = vec![0.0; BANDS * FRAMES];
        let mut frame = vec![0.0; FRAME];
        let mut spectrum = vec![Complex::default(); BINS];
        let mut scratch = self.transform.make_scratch_vec();
        for (index, samples) in audio.windows(FRAME).step_by(HOP).take(FRAMES).enumerate() {
            for ((windowed, sample), weight) in frame.iter_mut().zip(samples).zip(&self.window) {
                *windowed = f64::from(*sample) * weight;
            }
            // The lengths are the plan's own, so it cannot fail; if it did, the frame would be as silence.
            if self.transform.process_with_scratch(&mut frame, &mut spectrum, &mut scratch).is_err() {
                spectrum.fill(Complex::default());
            }
            for (row, band) in logarithms.chunks_exact_mut(FRAMES).zip(&self.bands) {
                let bins = spectrum.iter().skip(band.first);
                let power: f64 = bins.zip(&band.weights).map(|(bin, weight)| bin.norm_sqr() * weight).sum();
                if let Some(cell) = row.get_mut(index) {
                    *cell = power.max(POWER_FLOOR).log10();
                }
            }
        }
        let lowest = logarithms.iter().copied().fold(f64::NEG_INFINITY, f64::max) - DECADES;
        logarithms.into_iter().map(|value| ((value.max(lowest) + 4.0) / 4.0) as f32).collect()
    }
}

/// The last eight seconds with silence before, at zero mean and unit variance. Samples that are no numbers are silence.
fn normalised(utterance: &[f32]) -> Vec<f32> {
    let recent = utterance.get(utterance.len().saturating_sub(SAMPLES)..).unwrap_or(utterance);
    let mut audio = vec![0.0; SAMPLES - recent.len()];
    audio.extend(recent.iter().map(|sample| if sample.is_finite() { *sample } else { 0.0 }));
    let mean = (audio.iter().map(|sample| f64::from(*sample)).sum::<f64>() / SAMPLES as f64) as f32;
    audio.iter_mut().for_each(|sample| *sample -= mean);
    let variance = audio.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / SAMPLES as f64;
    // Single precision from here to the transform, as the reference has it.
    let deviation = (variance as f32 + VARIANCE_FLOOR).sqrt();
    audio.iter_mut().for_each(|sample| *sample /= deviation);
    audio
}

/// Half a frame more at each end, mirrored without repeating the end itself.
fn mirrored(audio: &[f32]) -> Vec<f32> {
    let before = audio.iter().skip(1).take(FRAME / 2).rev();
    let after = audio.iter().rev().skip(1).take(FRAME / 2);
    before.chain(audio).chain(after).copied().collect()
}

fn bands() -> Vec<Band> {
    let top = mel(RATE / 2.0);
    let edges: Vec<f64> = (0..BANDS + 2).map(|edge| hertz(top * edge as f64 / (BANDS + 1) as f64)).collect();
    let triangle = |low: f64, centre: f64, high: f64| {
        let weight = move |bin: usize| {
            let at = bin as f64 * RATE / FRAME as f64;
            let height = ((at - low) / (centre - low)).min((high - at) / (high - centre)).max(0.0);
            height * 2.0 / (high - low)
        };
        let first = (0..BINS).find(|bin| weight(*bin) > 0.0).unwrap_or(0);
        Band { first, weights: (first..BINS).map(weight).take_while(|weight| *weight > 0.0).collect() }
    };
    edges
        .windows(3)
        .filter_map(|edges| match *edges {
            [low, centre, high] => Some(triangle(low, centre, high)),
            _ => None,
        })
        .collect()
}

/// Slaney's scale: linear to 1 kHz, logarithmic above.
fn mel(hertz: f64) -> f64 {
    if hertz < 1_000.0 { hertz * 3.0 / 200.0 } else { 15.0 + (hertz / 1_000.0).ln() * 27.0 / 6.4_f64.ln() }
}

fn hertz(mel: f64) -> f64 {
    if mel < 15.0 { mel * 200.0 / 3.0 } else { 1_000.0 * ((mel - 15.0) * 6.4_f64.ln() / 27.0).exp() }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn features_are_those_the_model_was_trained_on() {
        let features = Features::new();
        let fixture = fixture::read();
        for (seconds, expected) in &fixture.features {
            let found = features.of(&fixture::chirp(seconds.parse().unwrap_or_default()));
            let sampled: Vec<f32> = found.iter().copied().step_by(fixture.every).collect();
            assert_eq!(sampled.len(), expected.len());
            let worst = sampled.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            // The fixture is rounded to five places.
            assert!(worst < 1e-5, "{seconds} s: {worst}");
        }
    }

    #[test]
    fn nothing_silence_and_broken_samples_give_numbers() {
        let features = Features::new();
        let broken = [f32::NAN, f32::INFINITY, -1e30, 1e30];
        for audio in [&[][..], &[0.0; 300], &broken] {
            let found = features.of(audio);
            assert_eq!(found.len(), BANDS * FRAMES);
            assert!(found.iter().all(|value| value.is_finite()));
        }
    }
}

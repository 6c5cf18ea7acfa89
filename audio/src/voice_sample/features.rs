//! What a voice sounds like from moment to moment: its pitch, and the shape of its spectrum (mel cepstra), where it is voiced.
//!
//! Mel bands as far as a telephone carries them, so that recordings of any kind compare. Without the first two cepstra, which are
//! loudness and tilt: they change with the distance to the microphone.

use std::f32::consts::{PI, TAU};
use std::time::Duration;

use realfft::RealFftPlanner;

use super::Activity;

/// Pitch, and cepstra 2 to 12.
pub(super) const SIZE: usize = 12;
const RATE: f32 = 16_000.0;
const HOP: usize = 160;
const FRAME: usize = 512;
/// Twice as long, since the lowest voices have three periods in it.
const PITCH_FRAME: usize = 1_024;
const BANDS: usize = 24;
const LOWEST_HZ: f32 = 120.0;
const HIGHEST_HZ: f32 = 3_600.0;
/// Lags of 400 and of 60 Hz.
const LAGS: std::ops::Range<usize> = 40..266;
/// The share of a frame that repeats itself after a period, in voiced speech.
const VOICED: f32 = 0.6;
/// Softer than the loud frames by this factor in power, a frame is not looked at.
const SOFT: f32 = 1e-3;
/// The logarithm of the pitch is weighed so, to be of the size of a cepstrum.
const PITCH_WEIGHT: f32 = 10.0;
/// Of a longer lag's repetition so much is taken off, or the period's double would be chosen as often as the period.
const LONG_LAG_COST: f32 = 0.15;

pub(super) type Feature = [f64; SIZE];

/// One each 10 ms of voiced speech in `samples` at 16 kHz.
pub(super) fn voiced(samples: &[f32], activity: &Activity) -> Vec<Feature> {
    let mut planner = RealFftPlanner::<f32>::new();
    let (short, long) = (planner.plan_fft_forward(FRAME), planner.plan_fft_forward(2 * PITCH_FRAME));
    let back = planner.plan_fft_inverse(2 * PITCH_FRAME);
    let hamming: Vec<f32> = window(FRAME, 0.54, 0.46);
    let hann: Vec<f32> = window(PITCH_FRAME, 0.5, 0.5);
    let autocorrelation = |frame: &[f32]| -> Option<Vec<f32>> {
        let mut padded: Vec<f32> = frame.iter().zip(&hann).map(|(sample, weight)| sample * weight).collect();
        padded.resize(2 * PITCH_FRAME, 0.0);
        let mut bins = long.make_output_vec();
        long.process(&mut padded, &mut bins).ok()?;
        bins.iter_mut().for_each(|bin| *bin = realfft::num_complex::Complex::new(bin.norm_sqr(), 0.0));
        back.process(&mut bins, &mut padded).ok()?;
        Some(padded)
    };
    // What the window alone would repeat.
    let Some(of_window) = autocorrelation(&[1.0; PITCH_FRAME]) else { return Vec::new() };
    let bank = mel_bank();
    let mut found: Vec<(f32, Feature)> = Vec::new();
    let (mut frame, mut bins) = (short.make_input_vec(), short.make_output_vec());
    for (index, around) in samples.windows(PITCH_FRAME).step_by(HOP).enumerate() {
        let middle = Duration::from_micros(((index * HOP + PITCH_FRAME / 2) as f32 / RATE * 1e6) as u64);
        if !activity.is_speech(middle) {
            continue;
        }
        let Some(repeats) = autocorrelation(around) else { break };
        let Some((lag, strength)) = pitch(&repeats, &of_window) else { continue };
        if strength < VOICED {
            continue;
        }
        let inner = around.get(PITCH_FRAME / 2 - FRAME / 2..PITCH_FRAME / 2 + FRAME / 2).unwrap_or_default();
        let power = inner.iter().map(|sample| sample * sample).sum::<f32>();
        frame.iter_mut().zip(inner.iter().zip(&hamming)).for_each(|(to, (sample, weight))| *to = sample * weight);
        if short.process(&mut frame, &mut bins).is_err() {
            break;
        }
        let spectrum: Vec<f32> = bins.iter().map(realfft::num_complex::Complex::norm_sqr).collect();
        let mel =
            bank.iter().map(|band| band.iter().map(|(bin, weight)| weight * spectrum.get(*bin).unwrap_or(&0.0)).sum());
        let mel: Vec<f32> = mel.map(|power: f32| (power + 1e-10).ln()).collect();
        let mut feature = [0.0; SIZE];
        for (order, value) in feature.iter_mut().enumerate() {
            *value = f64::from(match order {
                0 => PITCH_WEIGHT * (RATE / lag as f32).ln(),
                _ => cepstrum(&mel, order + 1),
            });
        }
        found.push((power, feature));
    }
    let mut powers: Vec<f32> = found.iter().map(|(power, _)| *power).collect();
    powers.sort_by(f32::total_cmp);
    let floor = powers.get(powers.len() * 19 / 20).copied().unwrap_or(0.0) * SOFT;
    found.into_iter().filter(|(power, _)| *power > floor).map(|(_, feature)| feature).collect()
}

fn window(length: usize, middle: f32, swing: f32) -> Vec<f32> {
    (0..length).map(|at| middle - swing * (TAU * at as f32 / (length - 1) as f32).cos()).collect()
}

/// The period in samples, and how much of the frame repeats after it.
fn pitch(repeats: &[f32], of_window: &[f32]) -> Option<(usize, f32)> {
    let (whole, of_whole) = (repeats.first()?.max(1e-9), of_window.first()?);
    let spread = (LAGS.end as f32 / LAGS.start as f32).ln();
    let strength = |lag: usize| {
        let window = (of_window.get(lag).unwrap_or(&1.0) / of_whole).max(1e-3);
        repeats.get(lag).unwrap_or(&0.0) / whole / window
    };
    let cost = |lag: usize| 1.0 - LONG_LAG_COST * (lag as f32 / LAGS.start as f32).ln() / spread;
    let best = LAGS.map(|lag| (lag, strength(lag))).max_by(|a, b| (a.1 * cost(a.0)).total_cmp(&(b.1 * cost(b.0))));
    best.filter(|(_, strength)| strength.is_finite())
}

/// Triangles, evenly spaced in mel: bins and weights of each.
fn mel_bank() -> Vec<Vec<(usize, f32)>> {
    let mel = |hertz: f32| 1_127.0 * (1.0 + hertz / 700.0).ln();
    let bin = |mel: f32| 700.0 * ((mel / 1_127.0).exp() - 1.0) * FRAME as f32 / RATE;
    let (low, high) = (mel(LOWEST_HZ), mel(HIGHEST_HZ));
    let edge = |index: usize| bin(low + (high - low) * index as f32 / (BANDS + 1) as f32);
    let band = |index: usize| {
        let (left, centre, right) = (edge(index), edge(index + 1), edge(index + 2));
        let weight = |bin: usize| ((bin as f32 - left) / (centre - left)).min((right - bin as f32) / (right - centre));
        (0..=FRAME / 2).map(|bin| (bin, weight(bin))).filter(|(_, weight)| *weight > 0.0).collect()
    };
    (0..BANDS).map(band).collect()
}

/// One coefficient of the orthonormal DCT-II.
fn cepstrum(mel: &[f32], order: usize) -> f32 {
    let size = mel.len() as f32;
    let wave = |at: usize| (PI * order as f32 * (at as f32 + 0.5) / size).cos();
    (2.0 / size).sqrt() * mel.iter().enumerate().map(|(at, value)| value * wave(at)).sum::<f32>()
}

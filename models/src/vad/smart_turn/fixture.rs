//! What the reference gives, as `scripts/smart_turn_fixture.py` wrote it down.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::f64::consts::TAU;

#[derive(serde::Deserialize)]
pub struct Fixture {
    /// Every how many values of the spectrogram are given.
    pub every: usize,
    /// Seconds of chirp, and the values.
    pub features: BTreeMap<String, Vec<f32>>,
    pub probabilities: Vec<Judged>,
}

/// Clip, seconds of its beginning, the probability of a finished turn, and the lowest and the highest near it: see the script.
#[derive(serde::Deserialize)]
pub struct Judged(pub String, pub f32, pub f32, pub f32, pub f32);

pub fn read() -> Fixture {
    serde_json::from_str(include_str!("fixture.json")).unwrap()
}

/// 100 Hz rising by 800 Hz a second, swelling and fading twice a second.
pub fn chirp(seconds: f32) -> Vec<f32> {
    let times = (0..(seconds * 16_000.0) as usize).map(|index| index as f64 / 16_000.0);
    let sample = |time: f64| 0.4 * (TAU * (100.0 * time + 400.0 * time * time)).sin() * (TAU * time).sin().powi(2);
    times.map(|time| sample(time) as f32).collect()
}

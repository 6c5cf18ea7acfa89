//! What the tests of listening engines listen to: the human recordings that come with the starter models, and what is no speech.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::f32::consts::TAU;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::onnx::OnnxRuntime;

pub const SECOND: usize = 16_000;

/// A file of the starter models.
pub fn model(relative: &str) -> PathBuf {
    let root = std::env::var_os("AVATAR_MODELS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/models"), PathBuf::from);
    let path = root.join(relative);
    assert!(path.exists(), "{} is missing: run `make models`, or set AVATAR_MODELS", path.display());
    path
}

pub fn runtime() -> Arc<OnnxRuntime> {
    OnnxRuntime::load(&model("onnxruntime/libonnxruntime.so")).unwrap()
}

/// One of `beckett`, `clone-test`, `endgame_nagg_nell`, `two_cities`, at 16 kHz.
pub fn speech(name: &str) -> Vec<f32> {
    read(&model(&format!("speech-samples/{name}.wav")))
}

fn read(path: &Path) -> Vec<f32> {
    let mut reader = hound::WavReader::open(path).unwrap();
    let rate = reader.spec().sample_rate as usize;
    let samples: Vec<f32> = reader.samples::<i16>().map(|sample| f32::from(sample.unwrap()) / 32_768.0).collect();
    if rate == SECOND { samples } else { resampled(&samples, rate) }
}

/// A windowed-sinc low-pass of 24 zero crossings a side, sampled where the 16 kHz samples fall.
fn resampled(samples: &[f32], rate: usize) -> Vec<f32> {
    assert!(rate > SECOND, "only ever downwards");
    let ratio = rate as f64 / SECOND as f64;
    let reach = (24.0 * ratio) as usize;
    let kernel = |phase: usize| -> Vec<f32> {
        let offsets = (0..=2 * reach).map(|at| (at as f64 - reach as f64 - phase as f64 / SECOND as f64) / ratio);
        let taps = offsets.map(|x| {
            let angle = std::f64::consts::PI * x;
            let sinc = if angle.abs() < 1e-9 { 1.0 } else { angle.sin() / angle };
            sinc * 0.5 * (1.0 + (angle / 25.0).cos()) / ratio
        });
        taps.map(|tap| tap as f32).collect()
    };
    let mut kernels = std::collections::HashMap::new();
    let padded: Vec<f32> = std::iter::repeat_n(0.0, reach)
        .chain(samples.iter().copied())
        .chain(std::iter::repeat_n(0.0, reach + 1))
        .collect();
    (0..samples.len() * SECOND / rate)
        .map(|index| {
            let (start, phase) = (index * rate / SECOND, index * rate % SECOND);
            let kernel = kernels.entry(phase).or_insert_with(|| kernel(phase));
            kernel.iter().zip(&padded[start..]).map(|(tap, sample)| tap * sample).sum()
        })
        .collect()
}

pub fn white_noise(samples: usize, amplitude: f32) -> Vec<f32> {
    let mut random = StdRng::seed_from_u64(7);
    (0..samples).map(|_| random.random_range(-amplitude..amplitude)).collect()
}

/// A major chord with a slow tremolo, near enough to held music.
pub fn chord(samples: usize) -> Vec<f32> {
    let at = |index: usize| index as f32 / SECOND as f32;
    let voice = |time: f32| [261.6, 329.6, 392.0].iter().map(|hertz| (TAU * hertz * time).sin()).sum::<f32>();
    (0..samples).map(at).map(|time| 0.1 * voice(time) * (1.0 + 0.5 * (TAU * 2.0 * time).sin())).collect()
}

pub fn tone(samples: usize, hertz: f32) -> Vec<f32> {
    (0..samples).map(|index| 0.3 * (TAU * hertz * index as f32 / SECOND as f32).sin()).collect()
}

/// Four seconds each of what a caller's line carries when nobody speaks.
pub fn not_speech() -> Vec<(&'static str, Vec<f32>)> {
    let length = 4 * SECOND;
    vec![
        ("silence", vec![0.0; length]),
        ("faint noise", white_noise(length, 0.003)),
        ("loud noise", white_noise(length, 0.3)),
        ("440 Hz tone", tone(length, 440.0)),
        ("chord", chord(length)),
    ]
}

/// Recordings that not every machine has, by the folder that `AVATAR_SPEECH` names.
pub fn extra(name: &str) -> Option<Vec<f32>> {
    let folder = std::env::var_os("AVATAR_SPEECH").map(PathBuf::from)?;
    let path = folder.join(format!("{name}.wav"));
    path.exists().then(|| read(&path))
}

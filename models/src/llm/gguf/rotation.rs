//! Rotary positions: the angles of one position, and the rotation of queries and keys by them.
//!
//! Pairs lie half a rotated width apart. What is not rotated (partial rotary) passes through. Stretchings of the context follow
//! the Hugging Face `rope_utils` of the same names: linear, YaRN (arXiv 2309.00071), and divisors from the file (Llama 3,
//! LongRoPE, arXiv 2402.13753).

use candle_core::{Device, Result, Tensor};

use super::file::Flaw;
use super::steps::rotate;

/// Tensors that hold a divisor for each pair, in the order in which they are loaded: Llama 3's, and LongRoPE's two.
pub(super) const DIVISORS: [&str; 3] = ["rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"];

/// YaRN's bounds, in turns that a pair makes within the original context: faster ones stay as they are, slower ones are
/// stretched in full.
const YARN_FAST: f64 = 32.0;
const YARN_SLOW: f64 = 1.0;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Stretch {
    None,
    Linear(f64),
    Yarn(f64),
}

/// What the metadata says about positions.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scaling {
    /// Rotated pairs of a head.
    pub pairs: usize,
    pub base: f64,
    /// The base of layers with a sliding window, if it is their own: they are not stretched then.
    pub window_base: Option<f64>,
    pub stretch: Stretch,
    pub original_context: Option<usize>,
    pub trained_context: usize,
    /// Cosines and sines are multiplied by this, where the file says so.
    pub gain: Option<f64>,
}

/// Divisors by which the file changes the angles, as loaded: one entry for each of [`DIVISORS`].
pub(super) type Divisors = [Option<Vec<f32>>; 3];

/// One kind of rotation; a network has one, or two if some layers see a window only.
#[derive(Debug, Clone)]
pub(super) struct Rotation {
    /// Angle of one position, for each pair.
    angles: Vec<f64>,
    gain: f64,
}

impl Rotation {
    /// The rotation of layers that see everything, for conversations of up to `context` tokens.
    pub fn new(scaling: &Scaling, divisors: &Divisors, context: usize) -> std::result::Result<Self, Flaw> {
        let [plain, long, short] = divisors;
        let original = scaling.original_context.unwrap_or(scaling.trained_context);
        let chosen = if context > original { long.as_ref() } else { short.as_ref() };
        let divisors = plain.as_ref().or(chosen);
        if divisors.is_some_and(|divisors| divisors.iter().any(|divisor| !divisor.is_finite() || *divisor <= 0.0)) {
            return Err("its rope divisors make no sense".into());
        }
        let mut rotation = Self::plain(scaling.pairs, scaling.base)?;
        if let Some(divisors) = divisors {
            for (angle, divisor) in rotation.angles.iter_mut().zip(divisors) {
                *angle /= f64::from(*divisor);
            }
        }
        match scaling.stretch {
            Stretch::None => {}
            Stretch::Linear(factor) => rotation.angles.iter_mut().for_each(|angle| *angle /= factor),
            Stretch::Yarn(factor) => rotation.yarn(scaling.base, factor, original),
        }
        let growth = scaling.trained_context as f64 / original as f64;
        if chosen.is_some() && plain.is_none() && growth > 1.0 && original > 1 {
            rotation.gain = (1.0 + growth.ln() / (original as f64).ln()).sqrt();
        }
        rotation.gain = match (scaling.stretch, scaling.gain) {
            (_, None) => rotation.gain,
            // YaRN's comes on top of what the file says, LongRoPE's is what the file says.
            (Stretch::Yarn(_), Some(gain)) => gain * rotation.gain,
            (_, Some(gain)) => gain,
        };
        if rotation.gain <= 0.0 {
            return Err("its rope numbers make no sense".into());
        }
        Ok(rotation)
    }

    /// By `base` alone.
    pub fn plain(pairs: usize, base: f64) -> std::result::Result<Self, Flaw> {
        if base <= 1.0 {
            return Err(format!("its rope base is {base}"));
        }
        let angles = (0..pairs).map(|pair| base.powf(-(pair as f64) / pairs as f64)).collect();
        Ok(Self { angles, gain: 1.0 })
    }

    fn yarn(&mut self, base: f64, factor: f64, original: usize) {
        let width = 2.0 * self.angles.len() as f64;
        let pair_of_turns =
            |turns: f64| width * (original as f64 / (turns * std::f64::consts::TAU)).ln() / (2.0 * base.ln());
        let low = pair_of_turns(YARN_FAST).floor().max(0.0);
        let high = pair_of_turns(YARN_SLOW).ceil().min(width - 1.0);
        for (pair, angle) in self.angles.iter_mut().enumerate() {
            let stretched = ((pair as f64 - low) / (high - low).max(1e-3)).clamp(0.0, 1.0);
            *angle *= stretched / factor + 1.0 - stretched;
        }
        if factor > 1.0 {
            self.gain = 0.1 * factor.ln() + 1.0;
        }
    }

    /// Cosines and sines for rows at `positions`, `[rows, pairs]` each.
    pub fn turns(&self, positions: &[usize], device: &Device) -> Result<Turns> {
        let shape = (positions.len(), self.angles.len());
        let angles =
            || positions.iter().flat_map(|&position| self.angles.iter().map(move |angle| position as f64 * angle));
        let cos: Vec<f32> = angles().map(|angle| (angle.cos() * self.gain) as f32).collect();
        let sin: Vec<f32> = angles().map(|angle| (angle.sin() * self.gain) as f32).collect();
        Ok(Turns { cos: Tensor::from_vec(cos, shape, device)?, sin: Tensor::from_vec(sin, shape, device)? })
    }
}

/// How far each row of a step is rotated.
pub(super) struct Turns {
    cos: Tensor,
    sin: Tensor,
}

impl Turns {
    /// Rotates `[rows, heads, head_width]`.
    pub fn apply(&self, heads: &Tensor) -> Result<Tensor> {
        rotate(heads, &self.cos, &self.sin)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn scaling() -> Scaling {
        Scaling {
            pairs: 4,
            base: 10_000.0,
            window_base: None,
            stretch: Stretch::None,
            original_context: Some(100),
            trained_context: 1600,
            gain: None,
        }
    }

    const NONE: Divisors = [None, None, None];

    #[test]
    fn a_long_context_is_divided_by_the_long_divisors_and_a_short_one_by_the_short() {
        let divisors = [None, Some(vec![8.0; 4]), Some(vec![2.0; 4])];
        let (short, long) = [100, 101].map(|context| Rotation::new(&scaling(), &divisors, context).unwrap()).into();
        assert_eq!((short.angles[0], long.angles[0]), (0.5, 0.125));
        let gain = (1.0 + 16f64.ln() / 100f64.ln()).sqrt();
        assert_eq!((short.gain, long.gain), (gain, gain), "how far it was stretched, whatever the context");
        let said = Scaling { gain: Some(1.25), ..scaling() };
        assert_eq!(Rotation::new(&said, &divisors, 100).unwrap().gain, 1.25);
    }

    #[test]
    fn yarn_leaves_fast_pairs_alone_and_stretches_slow_ones_in_full() {
        let yarn = Scaling { stretch: Stretch::Yarn(4.0), original_context: Some(2048), gain: Some(2.0), ..scaling() };
        let (plain, stretched) =
            (Rotation::new(&scaling(), &NONE, 64).unwrap(), Rotation::new(&yarn, &NONE, 64).unwrap());
        assert_eq!(stretched.angles[0], plain.angles[0]);
        assert!((stretched.angles[3] * 4.0 - plain.angles[3]).abs() < 1e-12);
        assert!((stretched.gain - 2.0 * (0.1 * 4f64.ln() + 1.0)).abs() < 1e-12);
    }

    #[test]
    fn divisors_and_bases_that_make_no_sense_are_refused() {
        for divisor in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert!(Rotation::new(&scaling(), &[Some(vec![divisor; 4]), None, None], 64).is_err());
        }
        assert!(Rotation::plain(4, 1.0).is_err());
        assert!(Rotation::new(&Scaling { gain: Some(-1.0), ..scaling() }, &NONE, 64).is_err());
    }
}

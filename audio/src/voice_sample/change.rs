//! Whether the voice changes: the test by which speaker changes are found in broadcasts (Chen and Gopalakrishnan, 1998), at every
//! moment that leaves a second of voiced speech on both sides.
//!
//! The features before and after the moment are described by a Gaussian each, and all of them by one; the gain in log-likelihood of
//! the best moment says how little the two sides have in common. One voice gains too, and the more the longer it speaks: that is
//! taken off ([`USUAL`]). The limits in [`super::judgement`] are set so that one or two in a hundred recordings of one person are
//! refused; the crate's `voice_changes` example measures how often that and its opposite happen.

use super::features::{Feature, SIZE};

/// Voiced frames (10 ms each) that each side needs.
const LEAST: usize = 100;
/// Frames between the moments that are tried.
const STEP: usize = 25;
/// Added to each variance: no feature is known better.
const SMALLEST_VARIANCE: f64 = 1e-3;

/// What a frame of one and the same voice gains, in nats: so much more for each, as measured on recordings of 2 to 18 s of voiced speech.
const USUAL: f64 = 0.2;

type Square = [[f64; SIZE]; SIZE];

/// The gain of the best moment over the usual one, in nats; 0 if there is none, or the recording is too short to be divided.
pub(super) fn gain(features: &[Feature]) -> f32 {
    let mut before = Moments::default();
    let mut all = Moments::default();
    features.iter().for_each(|feature| all.add(feature));
    let mut best: f64 = 0.0;
    for (index, feature) in features.iter().enumerate() {
        let count = index + 1;
        before.add(feature);
        if count >= LEAST && features.len() - count >= LEAST && count.is_multiple_of(STEP) {
            let after = all.without(&before);
            best = best.max((all.spread() - before.spread() - after.spread()) / 2.0);
        }
    }
    (best - USUAL * features.len() as f64).max(0.0) as f32
}

/// Of a set of features: how many, their sum, and the sum of their products.
#[derive(Clone, Default)]
struct Moments {
    count: f64,
    sum: Feature,
    products: Square,
}

impl Moments {
    fn add(&mut self, feature: &Feature) {
        self.count += 1.0;
        for ((sum, row), value) in self.sum.iter_mut().zip(&mut self.products).zip(feature) {
            *sum += value;
            row.iter_mut().zip(feature).for_each(|(product, other)| *product += value * other);
        }
    }

    fn without(&self, other: &Self) -> Self {
        let mut rest = self.clone();
        rest.count -= other.count;
        rest.sum.iter_mut().zip(&other.sum).for_each(|(sum, other)| *sum -= other);
        let products = rest.products.iter_mut().flatten().zip(other.products.iter().flatten());
        products.for_each(|(product, other)| *product -= other);
        rest
    }

    /// The count times the logarithm of the determinant of the covariance.
    fn spread(&self) -> f64 {
        let mut covariance = self.products;
        for (row, (values, mean)) in covariance.iter_mut().zip(&self.sum).enumerate() {
            for (column, (value, other)) in values.iter_mut().zip(&self.sum).enumerate() {
                *value = *value / self.count - mean * other / self.count / self.count;
                if row == column {
                    *value += SMALLEST_VARIANCE;
                }
            }
        }
        self.count * log_determinant(covariance)
    }
}

/// By elimination; of a covariance, whose pivots are positive.
fn log_determinant(mut matrix: Square) -> f64 {
    let mut log = 0.0;
    for pivot in 0..SIZE {
        let (done, rest) = matrix.split_at_mut(pivot + 1);
        let Some(row) = done.last() else { break };
        let head = row.get(pivot).copied().unwrap_or(1.0).max(1e-12);
        log += head.ln();
        for below in rest {
            let factor = below.get(pivot).copied().unwrap_or(0.0) / head;
            below.iter_mut().zip(row).for_each(|(value, above)| *value -= factor * above);
        }
    }
    log
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn determinant_is_that_of_the_textbook() {
        let mut matrix = [[0.0; SIZE]; SIZE];
        for (at, row) in matrix.iter_mut().enumerate() {
            row[at] = 2.0;
        }
        (matrix[0][1], matrix[1][0]) = (1.0, 1.0);
        // (2 · 2 − 1 · 1) · 2¹⁰
        assert!((log_determinant(matrix) - (3.0 * 1_024.0_f64).ln()).abs() < 1e-9);
    }

    #[test]
    fn the_gain_is_large_where_the_features_change_and_small_where_they_do_not() {
        let at = |index: usize, shift: f64| -> Feature {
            std::array::from_fn(|order| ((index * 37 + order * 101) as f64 * 0.7).sin() + shift)
        };
        let same: Vec<Feature> = (0..800).map(|index| at(index, 0.0)).collect();
        let changed: Vec<Feature> = (0..800).map(|index| at(index, if index < 400 { 0.0 } else { 3.0 })).collect();
        assert!(gain(&changed) > 4.0 * gain(&same).max(50.0), "{} {}", gain(&changed), gain(&same));
        assert_eq!(gain(&changed[300..490]), 0.0);
        assert_eq!(gain(&[]), 0.0);
    }
}

//! Choosing the next token: repeat penalty, temperature, nucleus, seed.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::llm::Sampling;

/// How far back a token counts as repeated.
const REPEAT_WINDOW: usize = 64;
/// A token this far below the best, in natural-log units after temperature, is never chosen (1 in 10⁹ at most).
const NEGLIGIBLE: f32 = 21.0;

pub(super) struct Sampler {
    temperature: f32,
    top_p: f32,
    repeat_penalty: f32,
    random: StdRng,
}

impl Sampler {
    /// Nonsense is brought into range: a request from outside can ask for anything.
    pub fn new(sampling: &Sampling) -> Self {
        let within =
            |value: f64, low: f64, high: f64| if value.is_nan() { low } else { value.clamp(low, high) as f32 as f64 };
        Self {
            temperature: within(sampling.temperature, 0.0, 10.0) as f32,
            top_p: within(sampling.top_p.unwrap_or(1.0), 0.0, 1.0) as f32,
            repeat_penalty: within(sampling.repeat_penalty.into(), 1.0, 10.0) as f32,
            random: StdRng::seed_from_u64(sampling.seed),
        }
    }

    /// The next token, or `None` if the logits are no numbers. `context` is all that was read and written, oldest first;
    /// tokens for which `is_control` holds are never penalised, or a reply could not end.
    pub fn choose(&mut self, logits: &mut [f32], context: &[u32], is_control: impl Fn(u32) -> bool) -> Option<u32> {
        self.penalise(logits, context, is_control);
        let (best, highest) = logits
            .iter()
            .copied()
            .enumerate()
            .filter(|(_, logit)| !logit.is_nan())
            .max_by(|a, b| a.1.total_cmp(&b.1))?;
        if !highest.is_finite() {
            return None;
        }
        if self.temperature < 1e-6 {
            return u32::try_from(best).ok();
        }
        let mut candidates: Vec<(u32, f32)> = (0u32..)
            .zip(logits.iter())
            .map(|(token, logit)| (token, (logit - highest) / self.temperature))
            .filter(|(_, log_weight)| *log_weight > -NEGLIGIBLE)
            .map(|(token, log_weight)| (token, log_weight.exp()))
            .collect();
        candidates.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        self.draw(&candidates)
    }

    fn penalise(&self, logits: &mut [f32], context: &[u32], is_control: impl Fn(u32) -> bool) {
        if self.repeat_penalty == 1.0 {
            return;
        }
        let mut window: Vec<u32> = context.iter().rev().take(REPEAT_WINDOW).copied().collect();
        window.sort_unstable();
        window.dedup();
        for token in window.into_iter().filter(|&token| !is_control(token)) {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit = if *logit > 0.0 { *logit / self.repeat_penalty } else { *logit * self.repeat_penalty };
            }
        }
    }

    /// Draws from the smallest set of candidates, best first, that holds `top_p` of the weight.
    fn draw(&mut self, candidates: &[(u32, f32)]) -> Option<u32> {
        let total: f32 = candidates.iter().map(|(_, weight)| weight).sum();
        let mut kept = 0;
        let mut kept_weight = 0.0;
        for (_, weight) in candidates {
            kept += 1;
            kept_weight += weight;
            if kept_weight >= self.top_p * total {
                break;
            }
        }
        let mut target = self.random.random::<f32>() * kept_weight;
        for (token, weight) in candidates.iter().take(kept) {
            target -= weight;
            if target <= 0.0 {
                return Some(*token);
            }
        }
        candidates.first().map(|(token, _)| *token)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sampler(temperature: f64, top_p: Option<f64>, repeat_penalty: f32) -> Sampler {
        Sampler::new(&Sampling { temperature, top_p, repeat_penalty, seed: 7, ..Sampling::default() })
    }

    fn never(_: u32) -> bool {
        false
    }

    #[test]
    fn greedy_takes_the_highest_and_ignores_nan() {
        let mut logits = [0.5, f32::NAN, 2.0, 1.0];
        assert_eq!(sampler(0.0, None, 1.0).choose(&mut logits, &[], never), Some(2));
        assert_eq!(sampler(0.0, None, 1.0).choose(&mut [f32::NAN; 3], &[], never), None);
        assert_eq!(sampler(0.7, None, 1.0).choose(&mut [f32::INFINITY, 0.0], &[], never), None);
        assert_eq!(sampler(0.7, None, 1.0).choose(&mut [], &[], never), None);
    }

    #[test]
    fn frequencies_follow_the_softmax() {
        let mut sampler = sampler(0.5, None, 1.0);
        let mut counts = [0u32; 3];
        for _ in 0..20_000 {
            let token = sampler.choose(&mut [0.0, 0.5, 1.0], &[], never).unwrap();
            counts[token as usize] += 1;
        }
        let weights = [1.0f64, 1f64.exp(), 2f64.exp()];
        let total: f64 = weights.iter().sum();
        for (count, weight) in counts.iter().zip(weights) {
            assert!((f64::from(*count) / 20_000.0 - weight / total).abs() < 0.015, "{counts:?}");
        }
    }

    #[test]
    fn nucleus_never_leaves_its_set() {
        let mut sampler = sampler(1.0, Some(0.6), 1.0);
        for _ in 0..2_000 {
            let token = sampler.choose(&mut [3.0, 2.9, 0.0, -1.0], &[], never).unwrap();
            assert!(token < 2, "{token} is outside the nucleus");
        }
    }

    #[test]
    fn a_repeated_token_loses_but_a_control_token_does_not() {
        let mut greedy = sampler(0.0, None, 1.5);
        assert_eq!(greedy.choose(&mut [2.0, 1.9], &[0], never), Some(1));
        assert_eq!(greedy.choose(&mut [-1.0, -1.1], &[0], never), Some(1));
        assert_eq!(greedy.choose(&mut [2.0, 1.9], &[0], |token| token == 0), Some(0));
        let old = [&[0][..], &[1; REPEAT_WINDOW][..]].concat();
        assert_eq!(greedy.choose(&mut [2.0, 1.9], &old, never), Some(0));
    }

    #[test]
    fn the_same_seed_gives_the_same_tokens() {
        let draw = |seed| {
            let mut sampler = Sampler::new(&Sampling { seed, ..Sampling::default() });
            (0..50).map(|_| sampler.choose(&mut [0.1, 0.2, 0.3, 0.4], &[], never)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}

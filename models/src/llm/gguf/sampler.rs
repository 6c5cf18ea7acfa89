//! Choosing the next token: penalties, temperature, the best k, nucleus, least share, seed, in that order.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::llm::Sampling;

/// How far back a token counts as repeated.
const REPEAT_WINDOW: usize = 64;
/// A token this far below the best, in natural-log units after temperature, is never chosen (1 in 10⁹ at most).
const NEGLIGIBLE: f32 = 21.0;

pub(super) struct Sampler {
    temperature: f32,
    top_k: usize,
    top_p: f32,
    min_p: f32,
    repeat_penalty: f32,
    frequency_penalty: f32,
    presence_penalty: f32,
    random: StdRng,
}

impl Sampler {
    /// Nonsense is brought into range: a request from outside can ask for anything.
    pub fn new(sampling: &Sampling) -> Self {
        let within = |value: f64, low: f64, high: f64, otherwise: f64| {
            (if value.is_nan() { otherwise } else { value.clamp(low, high) }) as f32
        };
        Self {
            temperature: within(sampling.temperature, 0.0, 10.0, 0.0),
            top_k: sampling.top_k.filter(|k| *k > 0).unwrap_or(usize::MAX),
            top_p: within(sampling.top_p.unwrap_or(1.0), 0.0, 1.0, 1.0),
            min_p: within(sampling.min_p.unwrap_or(0.0), 0.0, 1.0, 0.0),
            repeat_penalty: within(sampling.repeat_penalty.into(), 1.0, 10.0, 1.0),
            frequency_penalty: within(sampling.frequency_penalty.into(), -2.0, 2.0, 0.0),
            presence_penalty: within(sampling.presence_penalty.into(), -2.0, 2.0, 0.0),
            random: StdRng::seed_from_u64(sampling.seed),
        }
    }

    /// The next token, or `None` if the logits are no numbers. `context` is all that was read and written, oldest first, the
    /// reply from `reply` on; tokens for which `is_control` holds are never penalised, or a reply could not end.
    pub fn choose(
        &mut self,
        logits: &mut [f32],
        context: &[u32],
        reply: usize,
        is_control: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        self.penalise(logits, context, reply, is_control);
        if logits.iter().any(|logit| logit.is_nan()) {
            return None;
        }
        let (best, highest) = logits.iter().copied().enumerate().max_by(|a, b| a.1.total_cmp(&b.1))?;
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
        let best_first = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        if self.top_k < candidates.len() {
            candidates.select_nth_unstable_by(self.top_k, best_first);
            candidates.truncate(self.top_k);
        }
        // Without a nucleus any order will do, as long as it is always the same.
        if self.top_p < 1.0 || self.top_k < logits.len() {
            candidates.sort_unstable_by(best_first);
        }
        self.draw(&candidates)
    }

    fn penalise(&self, logits: &mut [f32], context: &[u32], reply: usize, is_control: impl Fn(u32) -> bool) {
        if self.repeat_penalty != 1.0 {
            let mut window: Vec<u32> = context.iter().rev().take(REPEAT_WINDOW).copied().collect();
            window.sort_unstable();
            window.dedup();
            for token in window.into_iter().filter(|&token| !is_control(token)) {
                if let Some(logit) = logits.get_mut(token as usize) {
                    *logit = if *logit > 0.0 { *logit / self.repeat_penalty } else { *logit * self.repeat_penalty };
                }
            }
        }
        if self.frequency_penalty != 0.0 || self.presence_penalty != 0.0 {
            let mut written = context.get(reply..).unwrap_or_default().to_vec();
            written.sort_unstable();
            for run in written.chunk_by(|a, b| a == b) {
                let Some(&token) = run.first().filter(|&&token| !is_control(token)) else { continue };
                if let Some(logit) = logits.get_mut(token as usize) {
                    *logit -= self.presence_penalty + self.frequency_penalty * run.len() as f32;
                }
            }
        }
    }

    /// Draws from the smallest set of candidates, best first, that holds `top_p` of the weight, as far as they have `min_p` of
    /// the best one's weight, which is 1.
    fn draw(&mut self, candidates: &[(u32, f32)]) -> Option<u32> {
        let nucleus = if self.top_p < 1.0 {
            let total: f32 = candidates.iter().map(|(_, weight)| weight).sum();
            let mut left = self.top_p * total;
            let is_inside = |(_, weight): &&(u32, f32)| {
                let is_inside = left > 0.0;
                left -= weight;
                is_inside
            };
            candidates.iter().take_while(is_inside).count().max(1)
        } else {
            candidates.len()
        };
        let kept = || candidates.iter().take(nucleus).filter(|(_, weight)| *weight >= self.min_p);
        let mut target = self.random.random::<f32>() * kept().map(|(_, weight)| weight).sum::<f32>();
        let drawn = kept().find(|(_, weight)| {
            target -= weight;
            target <= 0.0
        });
        drawn.or_else(|| kept().next()).map(|(token, _)| *token)
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
    fn greedy_takes_the_highest_and_nothing_is_made_of_what_is_no_number() {
        let mut logits = [0.5, 0.0, 2.0, 1.0];
        assert_eq!(sampler(0.0, None, 1.0).choose(&mut logits, &[], 0, never), Some(2));
        assert_eq!(sampler(0.0, None, 1.0).choose(&mut [0.5, f32::NAN, 2.0], &[], 0, never), None);
        assert_eq!(sampler(0.0, None, 1.0).choose(&mut [f32::NAN; 3], &[], 0, never), None);
        assert_eq!(sampler(0.7, None, 1.0).choose(&mut [f32::INFINITY, 0.0], &[], 0, never), None);
        assert_eq!(sampler(0.7, None, 1.0).choose(&mut [], &[], 0, never), None);
    }

    #[test]
    fn frequencies_follow_the_softmax() {
        let mut sampler = sampler(0.5, None, 1.0);
        let mut counts = [0u32; 3];
        for _ in 0..20_000 {
            let token = sampler.choose(&mut [0.0, 0.5, 1.0], &[], 0, never).unwrap();
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
            let token = sampler.choose(&mut [3.0, 2.9, 0.0, -1.0], &[], 0, never).unwrap();
            assert!(token < 2, "{token} is outside the nucleus");
        }
    }

    #[test]
    fn the_best_k_and_the_least_share_bound_the_choice() {
        for (sampling, most) in [
            (Sampling { top_k: Some(2), ..Sampling::default() }, 2),
            (Sampling { min_p: Some(0.5), ..Sampling::default() }, 2),
            (Sampling { top_k: Some(1), top_p: Some(0.9), ..Sampling::default() }, 1),
            (Sampling { top_k: Some(0), ..Sampling::default() }, 4),
            (Sampling { top_p: Some(f64::NAN), min_p: Some(f64::NAN), ..Sampling::default() }, 4),
        ] {
            let mut sampler = Sampler::new(&sampling);
            let drawn: std::collections::BTreeSet<u32> =
                (0..2_000).filter_map(|_| sampler.choose(&mut [2.6, 3.0, 1.0, 0.9], &[], 0, never)).collect();
            assert_eq!(drawn.len(), most, "{sampling:?} drew {drawn:?}");
            assert!(drawn.contains(&1));
        }
    }

    #[test]
    fn openais_penalties_count_the_reply_and_not_the_prompt() {
        let choose = |presence_penalty, frequency_penalty, context: &[u32], reply| {
            let sampling = Sampling { temperature: 0.0, presence_penalty, frequency_penalty, ..Sampling::default() };
            let mut logits = [2.0, 1.0, 0.0];
            let token = Sampler::new(&sampling).choose(&mut logits, context, reply, |token| token == 2).unwrap();
            (token, logits)
        };
        assert_eq!(choose(1.5, 0.0, &[0, 0, 0], 0), (1, [0.5, 1.0, 0.0]));
        assert_eq!(choose(0.0, 0.5, &[0, 1, 0, 0], 1), (0, [1.0, 0.5, 0.0]));
        assert_eq!(choose(1.5, 1.0, &[0, 0, 0], 3), (0, [2.0, 1.0, 0.0]), "the prompt is free");
        assert_eq!(choose(2.0, 2.0, &[2, 2], 0), (0, [2.0, 1.0, 0.0]), "control tokens are free");
        assert_eq!(choose(9.0, 0.0, &[0], 0).1[0], 0.0, "out of range is brought into it");
    }

    #[test]
    fn a_repeated_token_loses_but_a_control_token_does_not() {
        let mut greedy = sampler(0.0, None, 1.5);
        assert_eq!(greedy.choose(&mut [2.0, 1.9], &[0], 1, never), Some(1));
        assert_eq!(greedy.choose(&mut [-1.0, -1.1], &[0], 1, never), Some(1));
        assert_eq!(greedy.choose(&mut [2.0, 1.9], &[0], 1, |token| token == 0), Some(0));
        let old = [&[0][..], &[1; REPEAT_WINDOW][..]].concat();
        assert_eq!(greedy.choose(&mut [2.0, 1.9], &old, old.len(), never), Some(0));
    }

    #[test]
    fn the_same_seed_gives_the_same_tokens() {
        let draw = |seed| {
            let mut sampler = Sampler::new(&Sampling { seed, ..Sampling::default() });
            (0..50).map(|_| sampler.choose(&mut [0.1, 0.2, 0.3, 0.4], &[], 0, never)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}

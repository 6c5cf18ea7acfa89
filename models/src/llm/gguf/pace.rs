//! How much of the prompts a step may read, so that a step takes no longer than others can wait for their next token.
//!
//! The pace follows what steps took: a large model on a slow machine reads a few tokens of a prompt at a time, a small one on a
//! card hundreds. Times are arguments.

use std::time::Duration;

/// The first guess, in tokens a step.
pub(super) const FIRST_SHARE: usize = 64;
/// A prompt must get on, whatever the step takes.
const LEAST: usize = 8;
/// Bounds the memory that a step's activations take.
const MOST: usize = 256;
/// While others are being answered: speech is heard at some four tokens a second, so this is still ahead of it.
const BESIDE_OTHERS: Duration = Duration::from_millis(80);
/// While nobody waits for tokens; also how long a reply that is not wanted any more goes on.
const ALONE: Duration = Duration::from_millis(200);

#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Rows a second, as measured; `None` until then.
    rows_per_second: Option<f64>,
}

impl Pace {
    /// Tokens of prompts that the next step may read, all together.
    pub fn share(&self, others_wait: bool) -> usize {
        let target = if others_wait { BESIDE_OTHERS } else { ALONE };
        let fits = |rate: f64| (rate * target.as_secs_f64()) as usize;
        self.rows_per_second.map_or(FIRST_SHARE, fits).clamp(LEAST, MOST)
    }

    /// A step that read `rows` tokens took that long. Steps of a few tokens say nothing about prompts.
    pub fn learn(&mut self, rows: usize, took: Duration) {
        if rows < LEAST {
            return;
        }
        let measured = rows as f64 / took.as_secs_f64().max(1e-6);
        // Slower is believed at once, faster by halves: one lucky step must not make the next one late.
        self.rows_per_second = Some(match self.rows_per_second {
            Some(known) if measured > known => (known + measured) / 2.0,
            _ => measured,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shares of twenty steps on a machine that takes `per_row` for each token.
    fn shares(per_row: Duration, others_wait: bool) -> Vec<usize> {
        let mut pace = Pace::default();
        (0..20)
            .map(|_| {
                let share = pace.share(others_wait);
                pace.learn(share, per_row * share as u32);
                share
            })
            .collect()
    }

    #[test]
    fn a_slow_machine_reads_little_at_a_time_and_a_fast_one_much() {
        assert_eq!(shares(Duration::from_millis(4), true).last(), Some(&20));
        assert_eq!(shares(Duration::from_millis(4), false).last(), Some(&50));
        assert_eq!(shares(Duration::from_micros(1), true).last(), Some(&MOST));
        assert_eq!(shares(Duration::from_secs(1), true).last(), Some(&LEAST));
    }

    #[test]
    fn no_step_after_the_first_is_late_and_the_pace_recovers() {
        let mut pace = Pace::default();
        pace.learn(64, Duration::from_secs(6));
        assert_eq!(pace.share(true), LEAST);
        for _ in 0..20 {
            let share = pace.share(true);
            let took = Duration::from_micros(500) * share as u32;
            assert!(took <= BESIDE_OTHERS);
            pace.learn(share, took);
        }
        assert!(pace.share(true) > 140);
    }

    #[test]
    fn single_tokens_say_nothing_about_prompts() {
        let mut pace = Pace::default();
        pace.learn(5, Duration::from_millis(400));
        assert_eq!(pace.share(true), FIRST_SHARE);
    }
}

//! Who is served next: pure, so that it can be tested without a model or a clock.

use std::time::{Duration, Instant};

/// Most speeches that take a step together. A step of the backbone costs little more for some than for one, but the codec costs each.
pub(super) const TOGETHER_MAX: usize = 4;
/// A speech joins the most urgent one's step if its listener runs dry at most this much later.
const JOINS_WITHIN: Duration = Duration::from_millis(400);

/// Which of the speeches, whose listeners run out of audio at `dry`, take the next step: the most urgent one first, then those that are
/// nearly as urgent. One that has audio for longer waits, so that a new speech's first frame is not slowed down for nothing.
pub(super) fn next(dry: &[Instant]) -> Vec<usize> {
    let mut order: Vec<(Instant, usize)> = dry.iter().copied().enumerate().map(|(at, dry)| (dry, at)).collect();
    order.sort();
    let Some(first) = order.first().map(|(dry, _)| *dry) else { return Vec::new() };
    order
        .into_iter()
        .take(TOGETHER_MAX)
        .take_while(|(dry, _)| dry.saturating_duration_since(first) <= JOINS_WITHIN)
        .map(|(_, at)| at)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(dry_ms: &[u64]) -> Vec<usize> {
        let now = Instant::now();
        let dry: Vec<Instant> = dry_ms.iter().map(|ms| now + Duration::from_millis(*ms)).collect();
        next(&dry)
    }

    #[test]
    fn new_speech_does_not_wait_for_one_with_audio_in_hand() {
        assert_eq!(served(&[3_000, 0]), [1]);
        assert_eq!(served(&[300, 0, 900]), [1, 0]);
    }

    #[test]
    fn speeches_that_run_dry_together_step_together_up_to_a_bound() {
        assert_eq!(served(&[10, 0, 20, 5, 30, 40]), [1, 3, 0, 2]);
        assert!(served(&[]).is_empty());
    }

    #[test]
    fn three_calls_are_served_in_turn_so_that_none_runs_dry() {
        // Each step takes 60 ms for all that take part and gives each of them 80 ms.
        let start = Instant::now();
        let mut dry = [start, start, start + Duration::from_millis(35)];
        for step in 0..100_u32 {
            for at in next(&dry) {
                dry[at] += Duration::from_millis(80);
            }
            let now = start + Duration::from_millis(60) * (step + 1);
            assert!(dry.iter().all(|dry| *dry >= now), "a listener ran dry in step {step}");
        }
    }
}

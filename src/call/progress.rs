//! How far a reply had been played at a moment past.
//!
//! That a listener has gone is noticed seconds after the last packet reached them; what was sent since has been heard by nobody.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Marks that are kept, one each 100 ms: 25 seconds, longer than any listener is gone unnoticed.
const MARKS_BOUND: usize = 256;

/// Playout positions with their times, oldest first.
#[derive(Debug, Default)]
pub struct Progress {
    marks: VecDeque<(Instant, Duration)>,
}

impl Progress {
    /// At `now`, `played` had been played.
    pub fn mark(&mut self, now: Instant, played: Duration) {
        if self.marks.len() >= MARKS_BOUND {
            self.marks.pop_front();
        }
        self.marks.push_back((now, played));
    }

    /// What had been played at `then`: at a mark exactly, between two of them as if it had played on from the first.
    pub fn at(&self, then: Instant) -> Duration {
        let later = self.marks.partition_point(|(at, _)| *at <= then);
        let Some((at, played)) = later.checked_sub(1).and_then(|before| self.marks.get(before)) else {
            return Duration::ZERO;
        };
        match self.marks.get(later) {
            Some((_, next)) => (*played + (then - *at)).min(*next),
            None => *played,
        }
    }

    /// Forgets everything, but that `played` has been played by `now`.
    pub fn restart(&mut self, now: Instant, played: Duration) {
        self.marks.clear();
        self.mark(now, played);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(100);

    #[test]
    fn what_was_sent_after_the_listener_had_gone_was_not_heard() {
        let start = Instant::now();
        let mut progress = Progress::default();
        assert_eq!(progress.at(start), Duration::ZERO);
        for n in 0..100 {
            progress.mark(start + STEP * n, STEP * n);
        }
        assert_eq!(progress.at(start + Duration::from_millis(2_040)), Duration::from_millis(2_040));
        assert_eq!(progress.at(start + STEP * 500), STEP * 99);
        assert_eq!(progress.at(start.checked_sub(STEP).unwrap_or(start)), Duration::ZERO);
    }

    #[test]
    fn a_reply_that_waited_for_its_voice_was_not_heard_meanwhile() {
        let start = Instant::now();
        let mut progress = Progress::default();
        progress.mark(start, STEP);
        progress.mark(start + STEP * 30, STEP * 2);
        assert_eq!(progress.at(start + STEP * 20), STEP * 2);
        progress.restart(start + STEP * 40, STEP);
        assert_eq!(progress.at(start + STEP * 50), STEP);
    }

    #[test]
    fn a_reply_of_an_hour_keeps_few_marks() {
        let start = Instant::now();
        let mut progress = Progress::default();
        for n in 0..36_000 {
            progress.mark(start + STEP * n, STEP * n);
        }
        assert_eq!(progress.marks.len(), MARKS_BOUND);
        assert_eq!(progress.at(start + STEP * 35_900), STEP * 35_900);
    }
}

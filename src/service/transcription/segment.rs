//! Where speech is in a recording, in stretches that a recogniser takes well: pure.
//!
//! A stretch ends at a pause. While it is short only a long pause ends it, for recognisers understand a sentence better than half of
//! one; one without any pause is cut where it is most likely quiet.

use std::ops::Range;
use std::time::Duration;

use models::vad::WINDOW;

/// Speech begins at this probability, and goes on down to the lower one.
const BEGINS: f32 = 0.5;
const GOES_ON: f32 = 0.35;
/// One window of the detector, at 16 kHz.
const WINDOW_TIME: Duration = Duration::from_millis(32);
/// What ends a stretch that has [`ENOUGH`].
const PAUSE: usize = windows(Duration::from_millis(500));
/// What ends any.
const LONG_PAUSE: usize = windows(Duration::from_millis(1_500));
const ENOUGH: usize = windows(Duration::from_secs(8));
/// The longest stretch; one that is longer is cut in its second half.
const LONGEST: usize = windows(Duration::from_secs(24));
/// Kept before and after: the detector is late for soft beginnings.
const MARGIN: usize = windows(Duration::from_millis(200));
/// Less speech than this is a click.
const LEAST: usize = 3;

const fn windows(time: Duration) -> usize {
    time.as_millis() as usize / 32
}

/// A stretch with speech in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// Samples of the recording.
    pub samples: Range<usize>,
    /// How much of it is speech.
    pub speech: Duration,
}

/// Finds stretches as the detector goes through a recording.
#[derive(Debug, Default)]
pub struct Segmenter {
    /// Windows seen.
    at: usize,
    open: Option<Open>,
    /// Where the last stretch ended: the next does not begin before it.
    taken: usize,
}

#[derive(Debug)]
struct Open {
    first: usize,
    /// Of each window since.
    probabilities: Vec<f32>,
    /// Windows since the last with speech.
    quiet: usize,
}

impl Segmenter {
    /// The next window's probability of speech; the stretch that ends with it, if one does.
    pub fn push(&mut self, probability: f32) -> Option<Stretch> {
        self.at += 1;
        let Some(open) = &mut self.open else {
            if probability >= BEGINS {
                self.open = Some(Open { first: self.at - 1, probabilities: vec![probability], quiet: 0 });
            }
            return None;
        };
        open.probabilities.push(probability);
        open.quiet = if probability >= GOES_ON { 0 } else { open.quiet + 1 };
        let length = open.probabilities.len();
        if open.quiet >= LONG_PAUSE || (open.quiet >= PAUSE && length - open.quiet >= ENOUGH) {
            return self.finish();
        }
        (length >= LONGEST).then(|| self.cut()).flatten()
    }

    /// The recording is over, or a pause is long enough: the stretch that is open.
    pub fn finish(&mut self) -> Option<Stretch> {
        let open = self.open.take()?;
        let spoken = open.probabilities.len() - open.quiet;
        let end = (open.first + spoken + MARGIN).min(self.at);
        self.stretch(open.first, end, open.probabilities.get(..spoken).unwrap_or_default())
    }

    /// Ends a stretch in its second half, where it is quietest; the rest stays open.
    fn cut(&mut self) -> Option<Stretch> {
        let mut open = self.open.take()?;
        let half = open.probabilities.len() / 2;
        let second = open.probabilities.iter().enumerate().skip(half);
        // The last of equals: the longer a stretch, the better it is understood.
        let quietest = second.min_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0))).map_or(half, |(at, _)| at);
        let rest = open.probabilities.split_off(quietest);
        let (first, end) = (open.first, open.first + quietest);
        let quiet = open.quiet.min(rest.len());
        let stretch = self.stretch(first, end, &open.probabilities);
        self.open = Some(Open { first: end, probabilities: rest, quiet });
        stretch
    }

    fn stretch(&mut self, first: usize, end: usize, probabilities: &[f32]) -> Option<Stretch> {
        let speech = probabilities.iter().filter(|probability| **probability >= BEGINS).count();
        let begin = first.saturating_sub(MARGIN).max(self.taken);
        self.taken = end;
        let speech_time = WINDOW_TIME * u32::try_from(speech).unwrap_or(u32::MAX);
        (speech >= LEAST).then_some(Stretch { samples: begin * WINDOW..end * WINDOW, speech: speech_time })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: f32 = 0.02;
    const LOUD: f32 = 0.95;

    /// Stretches, in windows, of parts that last so many seconds.
    fn stretches(parts: &[(f32, f32)]) -> Vec<Range<usize>> {
        let mut segmenter = Segmenter::default();
        let probabilities = parts.iter().flat_map(|(probability, seconds)| {
            std::iter::repeat_n(*probability, windows(Duration::from_secs_f32(*seconds)))
        });
        let mut found: Vec<_> = probabilities.filter_map(|probability| segmenter.push(probability)).collect();
        found.extend(segmenter.finish());
        found.into_iter().map(|stretch| stretch.samples.start / WINDOW..stretch.samples.end / WINDOW).collect()
    }

    #[test]
    fn silence_and_clicks_have_no_stretch() {
        assert!(stretches(&[(QUIET, 60.0)]).is_empty());
        assert!(stretches(&[(QUIET, 1.0), (LOUD, 0.064), (QUIET, 5.0)]).is_empty());
        assert!(stretches(&[]).is_empty());
    }

    #[test]
    fn speech_is_found_with_a_margin_and_without_the_silence_around_it() {
        let found = stretches(&[(QUIET, 10.0), (LOUD, 3.2), (QUIET, 10.0)]);
        assert_eq!(found, [312 - MARGIN..312 + 100 + MARGIN]);
    }

    #[test]
    fn a_breath_does_not_tear_a_sentence_and_a_long_pause_parts_two() {
        assert_eq!(stretches(&[(LOUD, 2.0), (QUIET, 0.8), (LOUD, 2.0)]).len(), 1);
        assert_eq!(stretches(&[(LOUD, 2.0), (QUIET, 3.0), (LOUD, 2.0)]).len(), 2);
        assert_eq!(stretches(&[(LOUD, 9.0), (QUIET, 0.8), (LOUD, 2.0)]).len(), 2);
    }

    #[test]
    fn an_endless_talk_is_cut_at_its_quietest_and_no_window_is_lost_or_heard_twice() {
        let found = stretches(&[(LOUD, 20.0), (0.6, 0.1), (LOUD, 70.0)]);
        assert_eq!(found.first().map(|first| first.end), Some(625 + 2));
        assert!(found.iter().all(|stretch| stretch.len() <= LONGEST + 2 * MARGIN), "{found:?}");
        assert!(found.windows(2).all(|pair| pair[0].end == pair[1].start), "{found:?}");
        assert_eq!(found.last().map(|last| last.end), Some(625 + 3 + 2187));
    }
}

//! Cutting a long recording into pieces that a recogniser can take at once.

use std::ops::Range;
use std::time::Duration;

use audio::pcm::SampleRate;

const RATE: SampleRate = SampleRate::HZ_16000;
/// The length of silence a cut looks for.
const QUIET: Duration = Duration::from_millis(200);

/// The ranges of samples (16 kHz) of pieces no longer than `longest`, in order. A cut falls in the middle of the quietest
/// [`QUIET`] between `shortest` and `longest`, and depends on nothing after that: the cuts stay as the recording grows.
pub fn pieces(audio: &[f32], shortest: Duration, longest: Duration) -> Vec<Range<usize>> {
    let (shortest, longest) = (RATE.samples_in(shortest), RATE.samples_in(longest));
    let mut pieces = Vec::new();
    let mut start = 0;
    while let Some(rest) = audio.get(start..).filter(|rest| !rest.is_empty()) {
        let end = start + cut(rest, shortest, longest);
        pieces.push(start..end);
        start = end;
    }
    pieces
}

fn cut(audio: &[f32], shortest: usize, longest: usize) -> usize {
    if audio.len() <= longest {
        return audio.len();
    }
    let width = RATE.samples_in(QUIET);
    let energy = |at: usize| audio.iter().skip(at).take(width).map(|sample| sample * sample).sum::<f32>();
    let starts = (shortest..longest.saturating_sub(width)).step_by(width / 4);
    starts.min_by(|a, b| energy(*a).total_cmp(&energy(*b))).map_or(longest.max(1), |quietest| quietest + width / 2)
}

#[cfg(test)]
mod tests {
    use super::super::recordings::{self, SECOND};
    use super::*;

    const SHORTEST: Duration = Duration::from_secs(10);
    const LONGEST: Duration = Duration::from_secs(20);

    #[test]
    fn a_cut_stays_where_it_is_as_the_recording_grows() {
        let speech = recordings::speech("two_cities");
        let all = pieces(&speech, SHORTEST, LONGEST);
        for length in [21, 30, 40] {
            let some = pieces(&speech[..length * SECOND], SHORTEST, LONGEST);
            assert_eq!(some[..some.len() - 1], all[..some.len() - 1]);
        }
    }

    #[test]
    fn no_sample_is_lost_or_heard_twice() {
        let noise = recordings::white_noise(95 * SECOND + 7, 0.1);
        let pieces = pieces(&noise, SHORTEST, LONGEST);
        assert!(pieces.len() >= 5);
        assert!(pieces.iter().all(|piece| piece.len() <= 20 * SECOND));
        assert!(pieces.windows(2).all(|pair| pair[0].end == pair[1].start));
        assert_eq!((pieces[0].start, pieces[pieces.len() - 1].end), (0, noise.len()));
    }

    #[test]
    fn a_cut_falls_into_the_pause() {
        let mut noise = recordings::white_noise(25 * SECOND, 0.1);
        noise[14 * SECOND..14 * SECOND + SECOND / 2].fill(0.0);
        let pieces = pieces(&noise, SHORTEST, LONGEST);
        assert!((14 * SECOND..14 * SECOND + SECOND / 2).contains(&pieces[0].end), "{pieces:?}");
    }

    #[test]
    fn nothing_has_no_pieces_and_short_speech_is_whole() {
        assert!(pieces(&[], SHORTEST, LONGEST).is_empty());
        assert_eq!(pieces(&[0.0; 5], SHORTEST, LONGEST), vec![0..5; 1]);
        assert_eq!(pieces(&[0.0; 5], Duration::ZERO, Duration::ZERO).len(), 5);
    }
}

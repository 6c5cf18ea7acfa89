//! Cutting speech into pieces that a recogniser takes at once, so that the cuts stay where they are as the speech grows.
//!
//! Pure. A piece ends in the first pause after `shortest`; if the speaker makes none, where it is quietest before `longest`.
//! Either depends on nothing that comes after, so what has been cut off once is the same piece in every later pass.

use std::ops::Range;
use std::time::Duration;

use audio::pcm::SampleRate;

const RATE: SampleRate = SampleRate::HZ_16000;
/// Loudness is told in blocks of this length, and cuts fall between them.
const BLOCK: Duration = Duration::from_millis(10);
/// A pause between clauses; closures inside words are under 150 ms.
const PAUSE: Duration = Duration::from_millis(300);
/// In a pause it is 23 dB quieter than in the piece so far. In noise that is never so: then the quietest place is taken.
const PAUSE_BELOW: f32 = 1.0 / 200.0;
/// The length of silence that a cut without a pause looks for.
const QUIET: Duration = Duration::from_millis(200);

/// How long pieces are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cutting {
    /// No piece but the last ends earlier: an engine hears a phrase better in its sentence.
    pub shortest: Duration,
    /// No piece is longer.
    pub longest: Duration,
}

/// The ranges of samples (16 kHz) of the pieces of `audio`, in order. All but the last are the same when `audio` has grown.
pub fn pieces(audio: &[f32], cutting: Cutting) -> Vec<Range<usize>> {
    let width = RATE.samples_in(BLOCK);
    // The last block may be short; no cut falls behind it.
    let energies: Vec<f32> =
        audio.chunks(width).map(|block| block.iter().map(|sample| sample * sample).sum()).collect();
    let longest = blocks(cutting.longest).max(1);
    let mut pieces = Vec::new();
    let mut start = 0;
    while let Some(rest) = energies.get(start..).filter(|rest| !rest.is_empty()) {
        let whole = audio.len() / width - start.min(audio.len() / width);
        let rest = rest.get(..whole).unwrap_or(rest);
        let end = cut(rest, blocks(cutting.shortest), longest).map(|length| start + length);
        pieces.push(start * width..end.map_or(audio.len(), |end| end * width));
        let Some(end) = end else { break };
        start = end;
    }
    pieces
}

fn blocks(length: Duration) -> usize {
    RATE.samples_in(length) / RATE.samples_in(BLOCK)
}

/// After how many blocks to cut; `None` if it is too early to say.
fn cut(energies: &[f32], shortest: usize, longest: usize) -> Option<usize> {
    let pause = blocks(PAUSE);
    let mut so_far: f32 = energies.iter().take(shortest).sum();
    for (at, window) in energies.windows(pause).enumerate().skip(shortest) {
        if at + pause > longest {
            break;
        }
        let mean = so_far / at.max(1) as f32;
        if window.iter().sum::<f32>() <= mean * pause as f32 * PAUSE_BELOW {
            return Some((at + pause / 2).max(1));
        }
        so_far += window.first().copied().unwrap_or_default();
    }
    if energies.len() < longest {
        return None;
    }
    let quiet = blocks(QUIET);
    let candidates = energies.get(..longest).unwrap_or_default().windows(quiet).enumerate().skip(shortest);
    let quietest = candidates.min_by(|(_, a), (_, b)| a.iter().sum::<f32>().total_cmp(&b.iter().sum::<f32>()));
    Some(quietest.map_or(longest, |(at, _)| (at + quiet / 2).max(1)))
}

#[cfg(test)]
mod tests {
    use super::super::recordings::{self, SECOND};
    use super::*;

    const CUTTING: Cutting = Cutting { shortest: Duration::from_secs(5), longest: Duration::from_secs(12) };

    #[test]
    fn a_cut_stays_where_it_is_as_the_recording_grows() {
        let speech = recordings::speech("two_cities");
        let all = pieces(&speech, CUTTING);
        assert!(all.len() > 4, "{all:?}");
        for length in (SECOND..speech.len()).step_by(SECOND / 2 + 77) {
            let some = pieces(&speech[..length], CUTTING);
            assert_eq!(some[..some.len() - 1], all[..some.len() - 1], "{length}");
        }
    }

    #[test]
    fn no_sample_is_lost_or_heard_twice() {
        let noise = recordings::white_noise(95 * SECOND + 7, 0.1);
        for length in [1, 159, 160, 161, 5 * SECOND, 12 * SECOND, 12 * SECOND + 1, noise.len()] {
            let pieces = pieces(&noise[..length], CUTTING);
            assert!(pieces.iter().all(|piece| !piece.is_empty() && piece.len() <= 12 * SECOND), "{pieces:?}");
            assert!(pieces.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert_eq!((pieces[0].start, pieces[pieces.len() - 1].end), (0, length));
        }
    }

    #[test]
    fn a_cut_falls_into_the_first_pause_and_needs_not_wait_for_more() {
        let mut noise = recordings::white_noise(25 * SECOND, 0.1);
        noise[3 * SECOND..3 * SECOND + SECOND / 2].fill(0.0);
        noise[7 * SECOND..7 * SECOND + SECOND / 2].fill(0.0);
        let pause = 7 * SECOND..7 * SECOND + SECOND / 2;
        assert!(pause.contains(&pieces(&noise, CUTTING)[0].end), "{:?}", pieces(&noise, CUTTING));
        assert_eq!(pieces(&noise[..7 * SECOND + SECOND / 2], CUTTING).len(), 2);
    }

    #[test]
    fn without_a_pause_the_cut_falls_where_it_is_quietest() {
        let mut noise = recordings::white_noise(25 * SECOND, 0.1);
        let quiet = 9 * SECOND..9 * SECOND + SECOND / 4;
        noise[quiet.clone()].iter_mut().for_each(|sample| *sample *= 0.5);
        assert!(quiet.contains(&pieces(&noise, CUTTING)[0].end), "{:?}", pieces(&noise, CUTTING));
    }

    #[test]
    fn nothing_has_no_pieces_and_short_speech_is_whole() {
        assert!(pieces(&[], CUTTING).is_empty());
        assert_eq!(pieces(&[0.0; 5], CUTTING), vec![0..5; 1]);
        assert!(pieces(&vec![f32::NAN; 30 * SECOND], CUTTING).len() > 2);
        let none = Cutting { shortest: Duration::ZERO, longest: Duration::ZERO };
        assert_eq!(pieces(&[0.0; SECOND], none).len(), 100);
    }
}

//! How loud, how clipped, how gappy: listening with numbers. And trimming what is silent at a start.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use crate::pcm::{Pcm, SampleRate};

/// −60 dBFS: a sample below it is not heard.
pub const AUDIBLE: f32 = 0.001;
/// −50 dBFS: a synthetic voice's own silence is below it, its softest consonant above.
pub const VOICE_FLOOR: f32 = 0.003;
/// A sample this close to full scale counts as clipped: 16-bit full scale, give or take two steps.
const CLIPPED: f32 = 32_765.0 / 32_768.0;
/// What decibels call digital silence.
pub const SILENCE_DBFS: f32 = -120.0;

/// Decibels relative to full scale of an amplitude, at least [`SILENCE_DBFS`].
pub fn dbfs(amplitude: f32) -> f32 {
    if amplitude <= 0.0 { SILENCE_DBFS } else { (20.0 * amplitude.log10()).max(SILENCE_DBFS) }
}

/// Root mean square; a full-scale sine has 0.707.
pub fn rms(samples: &[f32]) -> f32 {
    if samples.is_empty() {
        return 0.0;
    }
    let energy: f64 = samples.iter().map(|sample| f64::from(*sample) * f64::from(*sample)).sum();
    (energy / samples.len() as f64).sqrt() as f32
}

pub fn peak(samples: &[f32]) -> f32 {
    samples.iter().fold(0.0, |peak, sample| sample.abs().max(peak))
}

pub fn rms_dbfs(samples: &[f32]) -> f32 {
    dbfs(rms(samples))
}

pub fn peak_dbfs(samples: &[f32]) -> f32 {
    dbfs(peak(samples))
}

/// How many samples in a row are at full scale, at most. One can be a peak that just fits; three or more are clipping.
pub fn longest_clipping(samples: &[f32]) -> usize {
    longest_run(samples, |sample| sample.abs() >= CLIPPED)
}

/// The largest difference between neighbours: what a click is.
pub fn largest_step(samples: &[f32]) -> f32 {
    samples.windows(2).fold(0.0, |largest, pair| match pair {
        [before, after] => (after - before).abs().max(largest),
        _ => largest,
    })
}

/// From the first to the last sample at or above `floor`; empty when there is none.
pub fn sounding(samples: &[f32], floor: f32) -> Range<usize> {
    let first = samples.iter().position(|sample| sample.abs() >= floor);
    let last = samples.iter().rposition(|sample| sample.abs() >= floor);
    match (first, last) {
        (Some(first), Some(last)) => first..last + 1,
        _ => 0..0,
    }
}

/// The longest stretch below `floor` that has sound before and after it.
pub fn longest_gap(pcm: &Pcm, floor: f32) -> Duration {
    let inside = pcm.samples.get(sounding(&pcm.samples, floor)).unwrap_or_default();
    pcm.rate.duration_of(longest_run(inside, |sample| sample.abs() < floor))
}

fn longest_run(samples: &[f32], belongs: impl Fn(f32) -> bool) -> usize {
    let (mut longest, mut run) = (0, 0);
    for sample in samples {
        run = if belongs(*sample) { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest
}

/// Cuts silence off both ends, but keeps `margin` of it on each.
pub fn trim(pcm: &Pcm, floor: f32, margin: Duration) -> Pcm {
    let sound = sounding(&pcm.samples, floor);
    let kept = if sound.is_empty() {
        &[][..]
    } else {
        let margin = pcm.rate.samples_in(margin);
        let end = (sound.end + margin).min(pcm.samples.len());
        pcm.samples.get(sound.start.saturating_sub(margin)..end).unwrap_or_default()
    };
    Pcm::new(pcm.rate, kept.to_vec())
}

/// Drops what is silent at the start of a stream, chunk by chunk: an engine's 150–250 ms of silence is latency.
///
/// Nothing is given out until a sample reaches the floor; then the margin before it, faded in, and all that follows
/// untouched. A stream without sound gives nothing.
#[derive(Debug, Clone)]
pub struct LeadingTrim {
    rate: SampleRate,
    floor: f32,
    margin: usize,
    state: Leading,
}

#[derive(Debug, Clone)]
enum Leading {
    /// Holds the last samples heard, at most a margin's worth.
    Silent(VecDeque<f32>, usize),
    /// How many samples were dropped.
    Sounding(usize),
}

impl LeadingTrim {
    /// What is kept before the first sound: the beginning of a soft onset.
    pub const MARGIN: Duration = Duration::from_millis(5);

    pub fn new(rate: SampleRate) -> Self {
        Self::with(rate, VOICE_FLOOR, Self::MARGIN)
    }

    /// `floor` is the amplitude that counts as sound.
    pub fn with(rate: SampleRate, floor: f32, margin: Duration) -> Self {
        Self { rate, floor, margin: rate.samples_in(margin), state: Leading::Silent(VecDeque::new(), 0) }
    }

    /// What of `chunk` (and what was held before it) is to be played.
    pub fn push(&mut self, mut chunk: Vec<f32>) -> Vec<f32> {
        let Leading::Silent(held, dropped) = &mut self.state else { return chunk };
        let Some(onset) = chunk.iter().position(|sample| sample.abs() >= self.floor) else {
            held.extend(chunk);
            let surplus = held.len().saturating_sub(self.margin);
            held.drain(..surplus);
            *dropped += surplus;
            return Vec::new();
        };
        held.extend(chunk.drain(..onset));
        let surplus = held.len().saturating_sub(self.margin);
        held.drain(..surplus);
        let dropped = *dropped + surplus;
        let length = held.len().max(1) as f32;
        let faded = held.drain(..).enumerate().map(|(index, sample)| sample * (index as f32 + 0.5) / length);
        let kept = faded.chain(chunk).collect();
        self.state = Leading::Sounding(dropped);
        kept
    }

    /// How much silence was dropped so far.
    pub fn dropped(&self) -> Duration {
        let (Leading::Silent(_, dropped) | Leading::Sounding(dropped)) = &self.state;
        self.rate.duration_of(*dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(samples: usize) -> Vec<f32> {
        (0..samples).map(|n| (n as f32 * 0.1).sin()).collect()
    }

    #[test]
    fn levels_are_those_of_the_textbook() {
        assert!((rms_dbfs(&tone(62_832)) + 3.01).abs() < 0.01);
        assert!(peak_dbfs(&tone(1_000)).abs() < 0.01);
        assert_eq!((rms_dbfs(&[]), peak_dbfs(&[0.0; 9])), (SILENCE_DBFS, SILENCE_DBFS));
        assert_eq!(dbfs(0.001).round(), -60.0);
    }

    #[test]
    fn clipping_is_told_from_a_peak() {
        assert_eq!(longest_clipping(&[0.0, 1.0, 0.9, -1.0, -1.0, -1.0, 0.0, 1.0]), 3);
        assert_eq!(longest_clipping(&tone(1_000).iter().map(|s| s * 0.9).collect::<Vec<_>>()), 0);
    }

    #[test]
    fn only_a_gap_between_sounds_counts() {
        let mut samples = vec![0.0; 1_600];
        samples.extend([0.5; 160]);
        samples.extend([0.0; 960]);
        samples.extend([0.5; 160]);
        samples.extend([0.0; 8_000]);
        let pcm = Pcm::new(SampleRate::HZ_16000, samples);
        assert_eq!(longest_gap(&pcm, VOICE_FLOOR), Duration::from_millis(60));
        assert_eq!(sounding(&pcm.samples, VOICE_FLOOR), 1_600..2_880);
        let trimmed = trim(&pcm, VOICE_FLOOR, Duration::from_millis(10));
        assert_eq!(trimmed.samples.len(), 1_280 + 320);
        let silence = Pcm::new(SampleRate::HZ_16000, vec![0.0; 100]);
        assert_eq!(longest_gap(&silence, VOICE_FLOOR), Duration::ZERO);
        assert!(trim(&silence, VOICE_FLOOR, Duration::from_millis(10)).samples.is_empty());
    }

    #[test]
    fn an_engines_leading_silence_is_dropped_whatever_its_chunks() {
        let mut input: Vec<f32> = vec![0.001; 3_200];
        input.extend(tone(3_200).iter().map(|sample| sample * 0.5 + 0.01));
        input.extend([0.0; 1_600]);
        for chunk in [1, 30, 80, 320, 5_000] {
            let mut trim = LeadingTrim::new(SampleRate::HZ_16000);
            let output: Vec<f32> = input.chunks(chunk).flat_map(|piece| trim.push(piece.to_vec())).collect();
            assert_eq!(output.len(), input.len() - 3_200 + 80, "5 ms before the onset, in chunks of {chunk}");
            assert_eq!(output[80..], input[3_200..], "what sounds, and silence after it, is untouched");
            assert!(output[0] < 0.000_1 && output[..80].is_sorted(), "faded in");
            assert_eq!(trim.dropped(), Duration::from_millis(195));
        }
    }

    #[test]
    fn a_voice_that_never_speaks_gives_nothing_and_holds_nothing() {
        let mut trim = LeadingTrim::new(SampleRate::HZ_16000);
        for _ in 0..1_000 {
            assert!(trim.push(vec![0.0; 320]).is_empty());
        }
        assert_eq!(trim.dropped(), Duration::from_millis(20_000 - 5));
    }
}

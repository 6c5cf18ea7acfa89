//! The silent edges of a sentence: engines put 150–250 ms before and after it.
//!
//! The leading silence is dropped but for a short pre-roll, faded in, since the listener waits for it. At the end exactly
//! [`SENTENCE_GAP`] stays, so that sentences neither run together nor drag. Pauses inside are left as they are.

use std::time::Duration;

use audio::pcm::{Pcm, SampleRate};

/// Silence between two sentences.
pub(super) const SENTENCE_GAP: Duration = Duration::from_millis(120);
/// Kept before the first loud window: weak consonants begin there.
const PRE_ROLL: Duration = Duration::from_millis(15);
const FADE_IN: Duration = Duration::from_millis(5);
const WINDOW: Duration = Duration::from_millis(5);
/// Longest pause inside a sentence; the middle of a longer one is dropped, which bounds memory.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Root mean square below which a window is silent: -46 dB of full scale. The noise floor of Flite's voices reaches -52 dB.
const SILENCE: f32 = 0.005;

/// Trims one sentence, chunk by chunk.
pub(crate) struct EdgeTrim {
    rate: Option<SampleRate>,
    /// Less than a window, not yet judged.
    partial: Vec<f32>,
    /// Before speech: the latest pre-roll. In a pause: what may yet turn out to be the trailing silence.
    held: Vec<f32>,
    started: bool,
    /// Silent samples at the end of what was given.
    given_silence: usize,
}

impl EdgeTrim {
    pub fn new() -> Self {
        Self { rate: None, partial: Vec::new(), held: Vec::new(), started: false, given_silence: 0 }
    }

    /// What of `pcm`, and of what was held before it, can go out; empty if nothing yet.
    pub fn push(&mut self, pcm: &Pcm) -> Vec<f32> {
        let rate = *self.rate.get_or_insert(pcm.rate);
        let mut out = Vec::with_capacity(pcm.samples.len());
        self.partial.extend_from_slice(&pcm.samples);
        let partial = std::mem::take(&mut self.partial);
        let mut windows = partial.chunks_exact(rate.samples_in(WINDOW).max(1));
        for window in &mut windows {
            self.judge(rate, window, &mut out);
        }
        self.partial = windows.remainder().to_vec();
        out
    }

    /// The sentence is over: the rest of it, and the gap after it. Empty if nothing of it was audible.
    pub fn finish(&mut self) -> Vec<f32> {
        let Some(rate) = self.rate else { return Vec::new() };
        let mut out = Vec::new();
        let partial = std::mem::take(&mut self.partial);
        if !partial.is_empty() {
            self.judge(rate, &partial, &mut out);
        }
        if self.started {
            let missing = rate.samples_in(SENTENCE_GAP).saturating_sub(self.given_silence);
            out.resize(out.len() + missing, 0.0);
        }
        out
    }

    fn judge(&mut self, rate: SampleRate, window: &[f32], out: &mut Vec<f32>) {
        let power = window.iter().map(|s| s * s).sum::<f32>() / window.len() as f32;
        let loud = power.sqrt() > SILENCE;
        match (self.started, loud) {
            (false, false) => keep_last(&mut self.held, window, rate.samples_in(PRE_ROLL)),
            (false, true) => {
                self.started = true;
                let fade = rate.samples_in(FADE_IN);
                let first = out.len();
                out.append(&mut self.held);
                out.extend_from_slice(window);
                for (at, sample) in out.iter_mut().skip(first).take(fade).enumerate() {
                    *sample *= at as f32 / fade as f32;
                }
            }
            (true, true) => {
                self.given_silence = 0;
                out.append(&mut self.held);
                out.extend_from_slice(window);
            }
            (true, false) => {
                let room = rate.samples_in(SENTENCE_GAP).saturating_sub(self.given_silence).min(window.len());
                let (now, later) = window.split_at(room);
                out.extend_from_slice(now);
                self.given_silence += room;
                keep_last(&mut self.held, later, rate.samples_in(PAUSE_MAX));
            }
        }
    }
}

fn keep_last(held: &mut Vec<f32>, more: &[f32], most: usize) {
    held.extend_from_slice(more);
    let excess = held.len().saturating_sub(most);
    held.drain(..excess);
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: SampleRate = SampleRate::HZ_16000;

    fn trimmed(parts: &[(f32, usize)], chunk: usize) -> Vec<f32> {
        let samples: Vec<f32> = parts
            .iter()
            .flat_map(|(level, ms)| (0..ms * 16).map(move |at| if at % 2 == 0 { *level } else { -*level }))
            .collect();
        let mut trim = EdgeTrim::new();
        let mut out = Vec::new();
        for chunk in samples.chunks(chunk) {
            out.extend(trim.push(&Pcm::new(RATE, chunk.to_vec())));
        }
        out.extend(trim.finish());
        out
    }

    #[test]
    fn edges_are_trimmed_and_pauses_kept_however_it_is_chunked() {
        let parts = [(0.0, 200), (0.5, 300), (0.0, 400), (0.5, 100), (0.001, 250)];
        let whole = trimmed(&parts, usize::MAX);
        assert_eq!(whole.len() / 16, 15 + 300 + 400 + 100 + 120);
        for chunk in [1, 7, 80, 320, 1_000] {
            assert_eq!(trimmed(&parts, chunk), whole, "chunks of {chunk}");
        }
    }

    #[test]
    fn sentence_without_trailing_silence_gets_the_gap() {
        assert_eq!(trimmed(&[(0.5, 100)], 320).len() / 16, 100 + 120);
    }

    #[test]
    fn first_sample_does_not_click() {
        let out = trimmed(&[(0.5, 100)], 320);
        assert!(out.iter().take(8).all(|s| s.abs() < 0.06));
        assert!(out.iter().skip(80).take(100).all(|s| s.abs() > 0.4));
    }

    #[test]
    fn silence_yields_nothing() {
        assert!(trimmed(&[(0.001, 500)], 320).is_empty());
    }

    #[test]
    fn pause_longer_than_two_seconds_is_shortened() {
        let out = trimmed(&[(0.5, 100), (0.0, 10_000), (0.5, 100)], 320);
        assert_eq!(out.len() / 16, 100 + 120 + 2_000 + 100 + 120);
    }
}

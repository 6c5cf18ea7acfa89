//! Where in a recording somebody speaks.

use std::ops::Range;
use std::time::Duration;

use crate::level;
use crate::pcm::Pcm;

/// A window as likely as this to be speech begins a stretch of it; one less likely than the other ends it.
const BEGINS: f32 = 0.5;
const ENDS: f32 = 0.35;
/// A gap as short as this between words belongs to the speech.
const GAP: Duration = Duration::from_millis(200);
/// A cut is made in a pause of at least this.
const PAUSE: Duration = Duration::from_millis(150);
/// By energy: a window within this many decibels of the loud ones is speech.
const REACH: f32 = 30.0;

/// Speech or not, window by window.
#[derive(Debug, Clone, PartialEq)]
pub struct Activity {
    window: Duration,
    speech: Vec<bool>,
}

impl Activity {
    /// Of the probabilities of windows that last `window`.
    pub fn new(window: Duration, probabilities: &[f32]) -> Self {
        let mut speaks = false;
        let speech = probabilities.iter().map(|probability| {
            speaks = *probability >= if speaks { ENDS } else { BEGINS };
            speaks
        });
        let mut speech: Vec<bool> = speech.collect();
        close_gaps(&mut speech, (GAP.as_micros() / window.as_micros().max(1)) as usize);
        Self { window, speech }
    }

    /// Of the loudness alone, where no detector is at hand: it takes any loud sound for speech.
    pub fn by_energy(pcm: &Pcm) -> Self {
        let window = Duration::from_millis(32);
        let levels: Vec<f32> =
            pcm.samples.chunks_exact(pcm.rate.samples_in(window).max(1)).map(level::rms_dbfs).collect();
        let mut sorted = levels.clone();
        sorted.sort_by(f32::total_cmp);
        let rank = |share: usize| sorted.get(sorted.len() * share / 100).copied().unwrap_or(level::SILENCE_DBFS);
        // The loud windows, and of the quiet ones what is well above them: steady sound is no speech.
        let floor = (rank(95) - REACH).max(rank(10) + 6.0);
        Self::new(window, &levels.iter().map(|level| f32::from(u8::from(*level >= floor))).collect::<Vec<_>>())
    }

    pub fn speech(&self) -> Duration {
        self.window * self.speech.iter().filter(|speech| **speech).count() as u32
    }

    pub fn is_speech(&self, at: Duration) -> bool {
        let index = at.as_micros() / self.window.as_micros().max(1);
        self.speech.get(index as usize).copied().unwrap_or(false)
    }

    /// The samples in which somebody speaks, or those in which nobody does: of these, a window beside speech is left out, since
    /// words begin and end softly.
    pub fn samples(&self, pcm: &Pcm, speaking: bool) -> Vec<f32> {
        let at = |index: usize| self.speech.get(index).copied();
        let belongs = |index: usize| {
            let near = [index.checked_sub(1).and_then(at), at(index + 1)].contains(&Some(true));
            at(index).is_some_and(|speech| if speaking { speech } else { !speech && !near })
        };
        let mut samples = Vec::new();
        for index in (0..self.speech.len()).filter(|index| belongs(*index)) {
            let from = pcm.rate.samples_in(self.window * index as u32);
            let to = pcm.rate.samples_in(self.window * (index as u32 + 1)).min(pcm.samples.len());
            samples.extend_from_slice(pcm.samples.get(from..to).unwrap_or_default());
        }
        samples
    }

    /// From the first speech to the last; if that is more than `most`, to the last pause within it, or to its end.
    pub(super) fn stretch(&self, most: Duration) -> Option<Range<Duration>> {
        let first = self.speech.iter().position(|speech| *speech)?;
        let last = self.speech.iter().rposition(|speech| *speech)? + 1;
        let windows = (most.as_micros() / self.window.as_micros().max(1)) as usize;
        let end = if last - first <= windows { last } else { self.last_pause(first, first + windows) };
        Some(self.window * first as u32..self.window * end as u32)
    }

    /// Where the last pause before `end` begins, if it is in the later half; `end` otherwise.
    fn last_pause(&self, first: usize, end: usize) -> usize {
        let enough = (PAUSE.as_micros() / self.window.as_micros().max(1)).max(1) as usize;
        let (mut found, mut quiet) = (end, 0);
        for index in first..end {
            quiet = if self.speech.get(index).copied().unwrap_or(false) { 0 } else { quiet + 1 };
            if quiet == enough && index > (first + end) / 2 {
                found = index + 1 - enough;
            }
        }
        found
    }

    /// The part that lies in `range` of the recording.
    pub fn within(&self, range: Range<Duration>) -> Self {
        let index = |time: Duration| (time.as_micros() / self.window.as_micros().max(1)) as usize;
        let speech = self.speech.get(index(range.start)..index(range.end).min(self.speech.len()));
        Self { window: self.window, speech: speech.unwrap_or_default().to_vec() }
    }
}

fn close_gaps(speech: &mut [bool], most: usize) {
    let mut last = None;
    for index in 0..speech.len() {
        if !speech.get(index).copied().unwrap_or(false) {
            continue;
        }
        if let Some(before) = last.filter(|before: &usize| index - before - 1 <= most) {
            speech.iter_mut().take(index).skip(before + 1).for_each(|gap| *gap = true);
        }
        last = Some(index);
    }
}

//! Fades: raised cosines, short enough not to be heard as such.

use std::collections::VecDeque;
use std::f32::consts::PI;

use super::track::Track;

/// 3 ms: at a start, and when a starved reply goes on.
pub(super) const IN: usize = 144;
/// 8 ms: of a cut.
const OUT: usize = 384;
/// 5 ms: after the last sample there is.
const TRAIL: usize = 240;

/// Gain at `position` of a fade-in over `length`: 0 to 1.
pub(super) fn rise(position: usize, length: usize) -> f32 {
    if position >= length {
        return 1.0;
    }
    0.5 - 0.5 * (PI * (position as f32 + 0.5) / length as f32).cos()
}

fn fall(position: usize, length: usize) -> f32 {
    1.0 - rise(position, length)
}

/// What is fading away, and what was given out last.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    tail: VecDeque<f32>,
    /// The last samples given out, newest at the back; at most a trail's length.
    recent: VecDeque<f32>,
}

impl Outgoing {
    pub(super) fn fading(&self) -> bool {
        !self.tail.is_empty()
    }

    pub(super) fn drain(&mut self, space: &mut [f32]) -> usize {
        let drained = space.len().min(self.tail.len());
        for (slot, sample) in space.iter_mut().zip(self.tail.drain(..drained)) {
            *slot = sample;
        }
        drained
    }

    pub(super) fn remember(&mut self, given: &[f32]) {
        self.recent.extend(given);
        self.recent.drain(..self.recent.len().saturating_sub(TRAIL));
    }

    /// Fades out what was given last by playing it backwards: the waveform goes on without a step, whatever it was, though
    /// there is no audio left to fade.
    pub(super) fn trail_off(&mut self) {
        let length = self.recent.len();
        self.tail.extend(self.recent.drain(..).rev().enumerate().map(|(index, sample)| sample * fall(index, length)));
    }

    /// Fades out the beginning of what is queued, and where that is too short, goes on backwards.
    pub(super) fn fade_out<Id>(&mut self, track: &mut Track<Id>) {
        let mut last = [0.0; OUT];
        let taken = track.take(&mut last);
        track.fall_silent();
        let samples = last.get(..taken).unwrap_or_default();
        self.remember(samples);
        let backwards = self.recent.drain(..).rev();
        let voiced = samples.iter().copied().chain(backwards).take(OUT);
        let voiced: Vec<f32> = voiced.collect();
        let length = voiced.len();
        self.tail.extend(voiced.into_iter().enumerate().map(|(index, sample)| sample * fall(index, length)));
    }
}

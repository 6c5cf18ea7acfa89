//! What is queued of one reply.

use std::collections::VecDeque;
use std::time::Duration;

use super::{PlayoutError, fade};
use crate::level::AUDIBLE;
use crate::opus::RATE;
use crate::pcm::Pcm;
use crate::resample::Resampler;

#[derive(Debug)]
pub(super) struct Track<Id> {
    pub(super) id: Id,
    /// No audio will be added.
    pub(super) finished: bool,
    /// Its last sample given out was not followed by a fade.
    pub(super) sounding: bool,
    /// Made with the first chunk, and anew should the rate change.
    resampler: Option<Resampler>,
    queue: VecDeque<f32>,
    /// How far the fade-in has come since it began to sound.
    faded_in: usize,
    given: usize,
    heard: bool,
    /// Last multiple of the notice interval that was told.
    told: u128,
}

impl<Id> Track<Id> {
    pub(super) fn new(id: Id) -> Self {
        Self {
            id,
            finished: false,
            sounding: false,
            resampler: None,
            queue: VecDeque::new(),
            faded_in: 0,
            given: 0,
            heard: false,
            told: 0,
        }
    }

    pub(super) fn speak(&mut self, pcm: Pcm) -> Result<(), PlayoutError> {
        let mut samples = Vec::new();
        if self.resampler.as_ref().is_none_or(|resampler| resampler.from() != pcm.rate) {
            let fresh = Resampler::aligned(pcm.rate, RATE)?;
            if let Some(mut former) = self.resampler.replace(fresh) {
                former.flush(&mut samples);
            }
        }
        if let Some(resampler) = &mut self.resampler {
            let sane: Vec<f32> = pcm.samples.into_iter().map(sane).collect();
            resampler.push(&sane, &mut samples);
        }
        self.queue.extend(samples);
        Ok(())
    }

    pub(super) fn finish(&mut self) {
        if let Some(mut resampler) = self.resampler.take() {
            let mut samples = Vec::new();
            resampler.flush(&mut samples);
            self.queue.extend(samples);
        }
        self.finished = true;
    }

    /// Samples that wait.
    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn played(&self) -> Duration {
        RATE.duration_of(self.given)
    }

    /// Moves samples into `space`, fading in when it begins to sound; answers how many.
    pub(super) fn take(&mut self, space: &mut [f32]) -> usize {
        let taken = space.len().min(self.queue.len());
        for (slot, sample) in space.iter_mut().zip(self.queue.drain(..taken)) {
            *slot = sample * fade::rise(self.faded_in, fade::IN);
            self.faded_in = (self.faded_in + 1).min(fade::IN);
        }
        self.given += taken;
        self.sounding = true;
        taken
    }

    pub(super) fn fall_silent(&mut self) {
        self.sounding = false;
        self.faded_in = 0;
    }

    /// Whether the first audible sample is among those just taken.
    pub(super) fn first_heard(&mut self, taken: &[f32]) -> bool {
        let first = !self.heard && taken.iter().any(|sample| sample.abs() >= AUDIBLE);
        self.heard |= first;
        first
    }

    /// Whether another interval has been played.
    pub(super) fn position_due(&mut self) -> bool {
        let reached = self.played().as_nanos() / super::POSITION_EVERY.as_nanos();
        let due = reached > self.told;
        self.told = reached;
        due
    }
}

/// One bad sample of an engine must not poison the resampler's state; what is merely too loud is the limiter's to shape.
fn sane(sample: f32) -> f32 {
    if sample.is_finite() { sample.clamp(-4.0, 4.0) } else { 0.0 }
}

//! Any rate to any rate, as a stream or a whole recording.
//!
//! Owns one resampler state over `rubato`. Promises no click across chunks, a stop-band below −90 dB, and a lag that is
//! constant and as short as that allows. Between rates with a common divisor (all that are in use) it works by
//! overlap-add FFT on blocks of about 5 ms; between odd rates, whose smallest block would be long, by windowed sinc.
//!
//! **Lag**: half a filter, [`Resampler::delay`]: 2.5 ms from 48 to 16 kHz and from 16, 24 or 32 to 48 kHz, 3.3 ms from
//! 44.1 kHz. A 20 ms chunk at 48, 32, 24 or 16 kHz is a whole number of blocks, so nothing of it waits for the next one.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{
    Async, Fft, FixedAsync, FixedSync, Resampler as _, SincInterpolationParameters, SincInterpolationType,
    WindowFunction,
};
use std::time::Duration;

use crate::pcm::{Pcm, SampleRate};

/// At 48 to 16 kHz: flat to 6.9 kHz, −6 dB at 7.4 kHz, below −90 dB from 8 kHz.
const WINDOW: WindowFunction = WindowFunction::Blackman;
/// Blocks are about this long.
const BLOCK: Duration = Duration::from_millis(5);
/// A filter of fewer taps than this on the slower side would cut audibly into the band.
const FEWEST_TAPS: usize = 80;
/// Rates whose smallest common block is longer are resampled by sinc.
const LONGEST_BLOCK: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot resample from {from} to {to} Hz: {reason}; convert the audio to 48000 Hz first")]
pub struct ResampleError {
    from: u32,
    to: u32,
    reason: String,
}

enum Kernel {
    Same,
    Fft(Box<Fft<f32>>),
    Sinc(Box<Async<f32>>),
}

/// A streaming resampler. Push chunks of any size; what does not fill a block waits inside.
pub struct Resampler {
    from: SampleRate,
    to: SampleRate,
    kernel: Kernel,
    /// Lag in output samples.
    delay: usize,
    /// Leave the lag out, so that output sample 0 belongs to input sample 0.
    aligned: bool,
    /// Output samples still to be left out.
    skip: usize,
    /// Less than one block of input.
    pending: Vec<f32>,
    block: Vec<f32>,
    taken: u64,
    given: u64,
}

impl std::fmt::Debug for Resampler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (from, to) = (self.from.hertz(), self.to.hertz());
        f.debug_struct("Resampler").field("from", &from).field("to", &to).field("delay", &self.delay).finish()
    }
}

impl Resampler {
    /// For live audio: the output lags by [`Self::delay`], and each block gives its share of samples at once.
    pub fn new(from: SampleRate, to: SampleRate) -> Result<Self, ResampleError> {
        let error = |reason: String| ResampleError { from: from.hertz(), to: to.hertz(), reason };
        let kernel = kernel(from, to).map_err(error)?;
        let delay = match &kernel {
            Kernel::Same => 0,
            // The filter's centre is a whole input sample, also where its length is odd.
            Kernel::Fft(fft) => {
                let centre = (fft.fft_size_in() / 2) as f64;
                (centre * f64::from(to.hertz()) / f64::from(from.hertz())).round() as usize
            }
            Kernel::Sinc(sinc) => sinc.output_delay(),
        };
        let (pending, block) = (Vec::new(), Vec::new());
        Ok(Self { from, to, kernel, delay, aligned: false, skip: 0, pending, block, taken: 0, given: 0 })
    }

    /// For audio with a beginning and an end: the lag is left out at the beginning and made up for by [`Self::flush`],
    /// so that the output begins with the input and lasts as long.
    pub fn aligned(from: SampleRate, to: SampleRate) -> Result<Self, ResampleError> {
        let mut resampler = Self::new(from, to)?;
        resampler.aligned = true;
        resampler.skip = resampler.delay;
        Ok(resampler)
    }

    pub fn from(&self) -> SampleRate {
        self.from
    }

    pub fn to(&self) -> SampleRate {
        self.to
    }

    /// By how much any event in the input appears later in the output.
    pub fn delay(&self) -> Duration {
        self.to.duration_of(self.delay)
    }

    /// Appends to `out` what can be made of the input so far.
    pub fn push(&mut self, input: &[f32], out: &mut Vec<f32>) {
        self.taken += input.len() as u64;
        if matches!(self.kernel, Kernel::Same) {
            self.given += input.len() as u64;
            out.extend_from_slice(input);
            return;
        }
        self.pending.extend_from_slice(input);
        let mut used = 0;
        loop {
            let needed = self.next_input();
            let Some(chunk) = self.pending.get(used..used + needed) else { break };
            used += needed;
            process(&mut self.kernel, chunk, &mut self.block);
            self.give(out, None);
        }
        self.pending.drain(..used);
    }

    /// Appends the rest, so that all that was pushed has come out, and is ready for a new stream.
    pub fn flush(&mut self, out: &mut Vec<f32>) {
        let ratio = f64::from(self.to.hertz()) / f64::from(self.from.hertz());
        let lag = if self.aligned { 0 } else { self.delay as u64 };
        let total = (self.taken as f64 * ratio).round() as u64 + if self.taken == 0 { 0 } else { lag };
        while self.given < total && !matches!(self.kernel, Kernel::Same) {
            let needed = self.next_input();
            let mut chunk = std::mem::take(&mut self.pending);
            chunk.resize(needed, 0.0);
            process(&mut self.kernel, &chunk, &mut self.block);
            self.give(out, Some(total));
        }
        self.reset();
    }

    /// Forgets what was pushed.
    pub fn reset(&mut self) {
        match &mut self.kernel {
            Kernel::Same => {}
            Kernel::Fft(fft) => fft.reset(),
            Kernel::Sinc(sinc) => sinc.reset(),
        }
        self.skip = if self.aligned { self.delay } else { 0 };
        self.pending.clear();
        (self.taken, self.given) = (0, 0);
    }

    fn next_input(&self) -> usize {
        match &self.kernel {
            Kernel::Same => 1,
            Kernel::Fft(fft) => fft.input_frames_next(),
            Kernel::Sinc(sinc) => sinc.input_frames_next(),
        }
    }

    fn give(&mut self, out: &mut Vec<f32>, total: Option<u64>) {
        let skipped = self.skip.min(self.block.len());
        self.skip -= skipped;
        let fresh = self.block.get(skipped..).unwrap_or_default();
        let room = total.map_or(fresh.len(), |total| fresh.len().min((total - self.given) as usize));
        out.extend_from_slice(fresh.get(..room).unwrap_or_default());
        self.given += room as u64;
    }
}

/// One block through the kernel into `block`.
fn process(kernel: &mut Kernel, chunk: &[f32], block: &mut Vec<f32>) {
    fn run(resampler: &mut dyn rubato::Resampler<f32>, chunk: &[f32], block: &mut Vec<f32>) -> bool {
        let frames = resampler.output_frames_next();
        block.clear();
        block.resize(frames, 0.0);
        let Ok(input) = InterleavedSlice::new(chunk, 1, chunk.len()) else { return false };
        let Ok(mut output) = InterleavedSlice::new_mut(block, 1, frames) else { return false };
        resampler.process_into_buffer(&input, &mut output, None).is_ok()
    }
    let whole = match kernel {
        Kernel::Same => true,
        Kernel::Fft(fft) => run(fft.as_mut(), chunk, block),
        Kernel::Sinc(sinc) => run(sinc.as_mut(), chunk, block),
    };
    // The kernel refuses only buffers of the wrong size, and they are sized by its own word. Were it ever to refuse, the
    // block is silence and the clock goes on.
    debug_assert!(whole);
}

fn kernel(from: SampleRate, to: SampleRate) -> Result<Kernel, String> {
    let (from, to) = (from.hertz() as usize, to.hertz() as usize);
    if from == to {
        return Ok(Kernel::Same);
    }
    let divisor = greatest_common_divisor(from, to);
    let smallest = Duration::from_secs(1) / divisor.max(1) as u32;
    if smallest <= LONGEST_BLOCK {
        let unit = from.min(to) / divisor;
        let blocks = (BLOCK.as_secs_f64() / smallest.as_secs_f64()).round() as usize;
        let blocks = blocks.max(FEWEST_TAPS.div_ceil(unit));
        let chunk = blocks * (from / divisor);
        let fft = Fft::new_custom(from, to, chunk, 1, 1, WINDOW, FixedSync::Both).map_err(|error| error.to_string())?;
        return Ok(Kernel::Fft(Box::new(fft)));
    }
    let taps = 128 * from.div_ceil(to);
    let parameters = SincInterpolationParameters::new(taps, WINDOW).interpolation(SincInterpolationType::Cubic);
    let (ratio, chunk) = (to as f64 / from as f64, (from / 200).max(8));
    let sinc =
        Async::new_sinc(ratio, 1.0, &parameters, chunk, 1, FixedAsync::Input).map_err(|error| error.to_string())?;
    Ok(Kernel::Sinc(Box::new(sinc)))
}

fn greatest_common_divisor(mut a: usize, mut b: usize) -> usize {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// A whole recording at another rate, without lag.
pub fn resample(pcm: &Pcm, to: SampleRate) -> Result<Pcm, ResampleError> {
    let mut resampler = Resampler::aligned(pcm.rate, to)?;
    let expected = pcm.samples.len() as f64 * f64::from(to.hertz()) / f64::from(pcm.rate.hertz());
    let mut samples = Vec::with_capacity(expected.ceil() as usize);
    resampler.push(&pcm.samples, &mut samples);
    resampler.flush(&mut samples);
    Ok(Pcm::new(to, samples))
}

#[cfg(test)]
mod tests;

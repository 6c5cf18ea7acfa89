//! Cuts a stream of samples into frames of one length.
//!
//! Chunks of any size go in, frames of exactly `length` samples come out, nothing is lost or doubled. What does not fill
//! a frame waits for the next chunk.

use std::collections::VecDeque;

/// 20 ms at 16 kHz: what a call hears.
pub const HEARD_FRAME: usize = 320;
/// 20 ms at 48 kHz: what an Opus packet carries.
pub const SENT_FRAME: usize = 960;
/// 32 ms at 16 kHz: what the voice activity model takes.
pub const VAD_WINDOW: usize = 512;

/// Holds less than one frame once [`Self::next_frame`] has answered `None`; between pushes it grows with what is pushed.
#[derive(Debug, Clone)]
pub struct FrameCutter {
    length: usize,
    pending: VecDeque<f32>,
}

impl FrameCutter {
    /// Frames of `length` samples; a length of zero is taken as one.
    pub fn new(length: usize) -> Self {
        let length = length.max(1);
        Self { length, pending: VecDeque::with_capacity(2 * length) }
    }

    pub fn push(&mut self, samples: &[f32]) {
        self.pending.extend(samples);
    }

    /// The next whole frame.
    pub fn next_frame(&mut self) -> Option<Vec<f32>> {
        (self.pending.len() >= self.length).then(|| self.pending.drain(..self.length).collect())
    }

    /// Samples that wait for a frame to be full.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// The last, partial frame, filled up with silence; `None` when nothing is pending.
    pub fn flush(&mut self) -> Option<Vec<f32>> {
        if self.pending.is_empty() {
            return None;
        }
        let mut frame: Vec<f32> = self.pending.drain(..self.pending.len().min(self.length)).collect();
        frame.resize(self.length, 0.0);
        Some(frame)
    }

    pub fn clear(&mut self) {
        self.pending.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_sample_is_lost_or_doubled_whatever_the_chunks() {
        let input: Vec<f32> = (0..5_000).map(|index| index as f32).collect();
        for chunk in [1, 7, 320, 511, 512, 513, 4_999] {
            let mut cutter = FrameCutter::new(VAD_WINDOW);
            let mut output = Vec::new();
            for piece in input.chunks(chunk) {
                cutter.push(piece);
                while let Some(frame) = cutter.next_frame() {
                    assert_eq!(frame.len(), VAD_WINDOW);
                    output.extend(frame);
                }
                assert!(cutter.pending() < VAD_WINDOW);
            }
            output.extend(cutter.flush().into_iter().flatten());
            assert_eq!(output[..input.len()], input, "chunks of {chunk}");
            assert!(output[input.len()..].iter().all(|sample| *sample == 0.0));
        }
    }

    #[test]
    fn an_empty_cutter_flushes_nothing() {
        assert_eq!(FrameCutter::new(320).flush(), None);
        assert_eq!(FrameCutter::new(0).next_frame(), None);
    }
}

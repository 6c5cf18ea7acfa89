//! Two speakers in one file: each has a channel of its own.

use std::io::Write;

use super::OggError;
use super::write::Pages;
use crate::opus::{Encoder, EncoderSettings, FRAME_SAMPLES};

/// Bits a second for both channels. At 64 000 nothing of one speaker is heard in the other's channel.
const BITRATE: u32 = 64_000;

/// Writes one stereo Ogg Opus file, 48 kHz in; holds no more than one frame of it.
pub struct StereoOggOpusWriter<W: Write> {
    pages: Pages<W>,
    encoder: Encoder,
    /// Less than one frame, left and right interleaved.
    pending: Vec<f32>,
    pre_skip: u64,
    /// Samples of one channel taken in.
    taken: u64,
}

impl<W: Write> std::fmt::Debug for StereoOggOpusWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StereoOggOpusWriter").field("taken", &self.taken).finish_non_exhaustive()
    }
}

impl<W: Write> StereoOggOpusWriter<W> {
    pub fn new(writer: W) -> Result<Self, OggError> {
        let settings = EncoderSettings { bitrate: BITRATE, fec: false, expected_loss: 0, ..EncoderSettings::default() };
        let encoder = Encoder::stereo(settings)?;
        let pre_skip = u16::try_from(encoder.lookahead()).unwrap_or(u16::MAX);
        let pending = Vec::with_capacity(2 * FRAME_SAMPLES);
        Ok(Self { pages: Pages::begin(writer, 2, pre_skip)?, encoder, pending, pre_skip: pre_skip.into(), taken: 0 })
    }

    /// Appends 48 kHz samples of both channels; where one is longer the other is silent.
    pub fn push(&mut self, left: &[f32], right: &[f32]) -> Result<(), OggError> {
        for n in 0..left.len().max(right.len()) {
            let sample = |side: &[f32]| side.get(n).copied().unwrap_or(0.0);
            self.pending.extend([sample(left), sample(right)]);
            self.taken += 1;
            if self.pending.len() == 2 * FRAME_SAMPLES {
                self.frame()?;
            }
        }
        Ok(())
    }

    /// Ends the file and gives the writer back.
    pub fn finish(mut self) -> Result<W, OggError> {
        let end = self.pre_skip + self.taken;
        while self.pages.samples() < end {
            self.pending.resize(2 * FRAME_SAMPLES, 0.0);
            self.frame()?;
        }
        self.pages.finish(end)
    }

    fn frame(&mut self) -> Result<(), OggError> {
        let packet = self.encoder.encode(&self.pending)?;
        self.pending.clear();
        self.pages.packet(packet)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn tone(hertz: f32, samples: usize) -> Vec<f32> {
        (0..samples).map(|n| (n as f32 * hertz * std::f32::consts::TAU / 48_000.0).sin() * 0.4).collect()
    }

    /// Both channels of a file, by libopus itself.
    fn channels(bytes: &[u8]) -> (Vec<f32>, Vec<f32>) {
        let mut packets = ::ogg::PacketReader::new(std::io::Cursor::new(bytes));
        let mut decoder = ::opus::Decoder::new(48_000, ::opus::Channels::Stereo).unwrap();
        let (mut left, mut right) = (Vec::new(), Vec::new());
        let mut number = 0;
        while let Some(packet) = packets.read_packet().unwrap() {
            number += 1;
            if number <= 2 {
                continue;
            }
            let mut frame = vec![0.0; 2 * FRAME_SAMPLES];
            decoder.decode_float(&packet.data, &mut frame, false).unwrap();
            left.extend(frame.iter().step_by(2));
            right.extend(frame.iter().skip(1).step_by(2));
        }
        (left, right)
    }

    fn loudness(samples: &[f32]) -> f32 {
        (samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len() as f32).sqrt()
    }

    #[test]
    fn one_speaker_is_not_heard_in_the_others_channel() {
        let mut writer = StereoOggOpusWriter::new(Vec::new()).unwrap();
        // First the left speaker alone, then the right one.
        writer.push(&tone(440.0, 48_000), &[]).unwrap();
        writer.push(&[], &tone(880.0, 48_000)).unwrap();
        let (left, right) = channels(&writer.finish().unwrap());
        let (first, second) = (5_000..43_000, 53_000..91_000);
        assert!(loudness(&left[first.clone()]) > 0.2 && loudness(&right[second.clone()]) > 0.2);
        let leak = loudness(&right[first]).max(loudness(&left[second]));
        assert!(leak < 0.002, "40 dB below at least: {leak}");
    }

    #[test]
    fn a_stereo_file_lasts_as_long_as_what_was_pushed_whatever_the_chunks() {
        for chunk in [1, 959, 960, 4_801] {
            let mut writer = StereoOggOpusWriter::new(Vec::new()).unwrap();
            let said = tone(300.0, 12_345);
            said.chunks(chunk).for_each(|chunk| writer.push(chunk, chunk).unwrap());
            let heard = super::super::read(writer.finish().unwrap().as_slice()).unwrap();
            assert_eq!(heard.samples.len(), 12_345, "chunks of {chunk}");
        }
    }

    #[test]
    fn a_stereo_file_of_nothing_is_one_without_audio() {
        let bytes = StereoOggOpusWriter::new(Vec::new()).unwrap().finish().unwrap();
        assert!(matches!(super::super::read(bytes.as_slice()), Err(OggError::Empty)));
    }
}

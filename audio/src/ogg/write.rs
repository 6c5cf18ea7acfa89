//! The writing side: packets of 20 ms, one page a second, so that a killed process loses at most that.

use std::io::Write;

use ::ogg::{PacketWriteEndInfo, PacketWriter};

use super::{Head, OggError, TAGS_MAGIC};
use crate::frames::{FrameCutter, SENT_FRAME};
use crate::opus::{Encoder, EncoderSettings, RATE};
use crate::pcm::{Pcm, SampleRate};
use crate::resample::Resampler;

/// Packets a page: one second.
const PAGE_PACKETS: u64 = 50;
/// Any number does where a file has one stream.
const SERIAL: u32 = 0x4156_5441;

/// Writes one Ogg Opus file. Without [`Self::finish`] the file lacks its last second and its end mark, and still plays.
pub struct OggOpusWriter<W: Write> {
    pages: Pages<W>,
    encoder: Encoder,
    resampler: Option<Resampler>,
    cutter: FrameCutter,
    resampled: Vec<f32>,
    pre_skip: u64,
    /// 48 kHz samples taken in.
    taken: u64,
}

impl<W: Write> std::fmt::Debug for OggOpusWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OggOpusWriter").field("taken", &self.taken).field("encoded", &self.pages.encoded).finish()
    }
}

impl<W: Write> OggOpusWriter<W> {
    /// Begins a file with 28 kbit/s of Opus.
    pub fn new(writer: W) -> Result<Self, OggError> {
        // A file loses no packets.
        Self::with(writer, EncoderSettings { fec: false, expected_loss: 0, ..EncoderSettings::default() })
    }

    pub fn with(writer: W, settings: EncoderSettings) -> Result<Self, OggError> {
        let encoder = Encoder::new(settings)?;
        let pre_skip = u16::try_from(encoder.lookahead()).unwrap_or(u16::MAX);
        Ok(Self {
            pages: Pages::begin(writer, 1, pre_skip)?,
            encoder,
            resampler: None,
            cutter: FrameCutter::new(SENT_FRAME),
            resampled: Vec::new(),
            pre_skip: pre_skip.into(),
            taken: 0,
        })
    }

    /// Appends audio. Its rate may change from chunk to chunk.
    pub fn push(&mut self, pcm: &Pcm) -> Result<(), OggError> {
        self.prepare(pcm.rate)?;
        if let Some(resampler) = &mut self.resampler {
            resampler.push(&pcm.samples, &mut self.resampled);
        }
        self.encode()
    }

    /// How long the file is so far, in 48 kHz samples.
    pub fn samples(&self) -> u64 {
        self.taken
    }

    /// Ends the file and gives the writer back.
    pub fn finish(mut self) -> Result<W, OggError> {
        if let Some(mut resampler) = self.resampler.take() {
            resampler.flush(&mut self.resampled);
            self.encode()?;
        }
        let end = self.pre_skip + self.taken;
        while self.pages.samples() < end {
            let frame = self.cutter.flush().unwrap_or_else(|| vec![0.0; SENT_FRAME]);
            self.pages.packet(self.encoder.encode(&frame)?)?;
        }
        self.pages.finish(end)
    }

    fn prepare(&mut self, rate: SampleRate) -> Result<(), OggError> {
        if self.resampler.as_ref().is_some_and(|resampler| resampler.from() == rate) {
            return Ok(());
        }
        if let Some(mut former) = self.resampler.replace(Resampler::aligned(rate, RATE)?) {
            former.flush(&mut self.resampled);
        }
        Ok(())
    }

    fn encode(&mut self) -> Result<(), OggError> {
        self.taken += self.resampled.len() as u64;
        self.cutter.push(&self.resampled);
        self.resampled.clear();
        while let Some(frame) = self.cutter.next_frame() {
            self.pages.packet(self.encoder.encode(&frame)?)?;
        }
        Ok(())
    }
}

/// The pages of one stream of 20 ms packets.
pub(super) struct Pages<W: Write> {
    packets: PacketWriter<'static, W>,
    /// Packets taken.
    pub(super) encoded: u64,
    /// The newest packet: which one is the last is only known at the end.
    held: Option<Vec<u8>>,
}

impl<W: Write> Pages<W> {
    pub(super) fn begin(writer: W, channels: u8, pre_skip: u16) -> Result<Self, OggError> {
        let head = Head { channels, pre_skip, input_rate: RATE.hertz(), gain: 0 };
        let mut packets = PacketWriter::new(writer);
        packets.write_packet(head.to_bytes(), SERIAL, PacketWriteEndInfo::EndPage, 0)?;
        packets.write_packet(tags(), SERIAL, PacketWriteEndInfo::EndPage, 0)?;
        Ok(Self { packets, encoded: 0, held: None })
    }

    /// How much audio the packets carry, in 48 kHz samples of one channel.
    pub(super) fn samples(&self) -> u64 {
        self.encoded * SENT_FRAME as u64
    }

    pub(super) fn packet(&mut self, packet: Vec<u8>) -> Result<(), OggError> {
        if let Some(before) = self.held.replace(packet) {
            let info = if self.encoded.is_multiple_of(PAGE_PACKETS) {
                PacketWriteEndInfo::EndPage
            } else {
                PacketWriteEndInfo::NormalPacket
            };
            self.packets.write_packet(before, SERIAL, info, self.encoded * SENT_FRAME as u64)?;
        }
        self.encoded += 1;
        Ok(())
    }

    /// Ends the stream after `end` samples of one channel, pre-skip included.
    pub(super) fn finish(mut self, end: u64) -> Result<W, OggError> {
        if let Some(last) = self.held.take() {
            // The granule position of the last page trims what fills its last packet (RFC 7845, 4.4).
            self.packets.write_packet(last, SERIAL, PacketWriteEndInfo::EndStream, end)?;
        }
        let mut writer = self.packets.into_inner();
        writer.flush()?;
        Ok(writer)
    }
}

/// The comment header (RFC 7845, 5.2): who wrote it, and no comments.
fn tags() -> Vec<u8> {
    let vendor = concat!("avatar ", env!("CARGO_PKG_VERSION"));
    let mut bytes = TAGS_MAGIC.to_vec();
    bytes.extend((vendor.len() as u32).to_le_bytes());
    bytes.extend(vendor.as_bytes());
    bytes.extend(0u32.to_le_bytes());
    bytes
}

//! The Opus codec (RFC 6716) as a call uses it: 48 kHz, mono, 20 ms out, anything in.
//!
//! Owns one decoder or encoder state of libopus. Promises that no packet, however broken, does more than return an
//! error: the caller then asks for concealment of the packet's duration. Refuses other rates and channel counts (stereo
//! packets are decoded to mono by libopus itself).

use ::opus::{Application, Bitrate, Channels, packet};

use crate::pcm::SampleRate;

/// The rate of everything in this module.
pub const RATE: SampleRate = SampleRate::HZ_48000;
/// 20 ms: what the encoder takes and what most packets carry.
pub const FRAME_SAMPLES: usize = 960;
/// 2.5 ms: every duration in Opus is a multiple of it.
pub const SHORTEST_SAMPLES: usize = 120;
/// 120 ms: the longest packet.
pub const LONGEST_SAMPLES: usize = 5_760;
/// 48 frames of the largest size: no valid packet is longer (RFC 6716, 3.4).
pub const LONGEST_PACKET_BYTES: usize = 48 * 1_275 + 100;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpusError {
    #[error("opus packet of {bytes} bytes is corrupt ({reason}); conceal its duration instead")]
    Corrupt { bytes: usize, reason: String },
    #[error(
        "an opus frame is {FRAME_SAMPLES} samples a channel at 48 kHz, not {samples} in all; cut the stream into frames first"
    )]
    FrameLength { samples: usize },
    #[error("opus {setting} of {value} is out of range; use {range}")]
    Setting { setting: &'static str, value: u32, range: &'static str },
    #[error("libopus failed: {0}; the process is probably out of memory")]
    Library(String),
}

fn library(error: ::opus::Error) -> OpusError {
    OpusError::Library(error.to_string())
}

/// How many 48 kHz samples a packet carries: 120 to 5760. Reads the packet's first bytes only.
pub fn packet_samples(payload: &[u8]) -> Result<usize, OpusError> {
    let corrupt = |reason: String| OpusError::Corrupt { bytes: payload.len(), reason };
    if payload.is_empty() || payload.len() > LONGEST_PACKET_BYTES {
        return Err(corrupt("no packet has this length".to_owned()));
    }
    match packet::get_nb_samples(payload, RATE.hertz()) {
        Ok(samples @ SHORTEST_SAMPLES..=LONGEST_SAMPLES) => Ok(samples),
        Ok(samples) => Err(corrupt(format!("it claims {samples} samples"))),
        Err(error) => Err(corrupt(error.to_string())),
    }
}

/// How many 48 kHz samples *before* this packet can be had from its in-band FEC; zero when it carries none.
///
/// A SILK or hybrid frame begins with one voice-activity bit for each 20 ms and then one bit that tells whether
/// redundancy follows, for each channel (RFC 6716, 4.2.3 and 4.2.4).
pub fn redundancy_samples(payload: &[u8]) -> usize {
    const FIRST_CELT_ONLY_CONFIGURATION: u8 = 16;
    let Some(&toc) = payload.first() else { return 0 };
    if toc >> 3 >= FIRST_CELT_ONLY_CONFIGURATION || packet_samples(payload).is_err() {
        return 0;
    }
    let (Ok(parsed), Ok(samples)) = (packet::parse(payload), packet::get_samples_per_frame(payload, RATE.hertz()))
    else {
        return 0;
    };
    let Some(&flags) = parsed.frames.first().and_then(|frame| frame.first()) else { return 0 };
    let silk_frames = (samples / FRAME_SAMPLES).max(1);
    let stereo = toc & 0b100 != 0;
    let bit = |position: usize| position < 8 && flags >> (7 - position) & 1 == 1;
    if bit(silk_frames) || (stereo && bit(2 * silk_frames + 1)) { samples } else { 0 }
}

/// One caller's decoder. Order matters: packets, recoveries and concealments are given in the order of time.
#[derive(Debug)]
pub struct Decoder {
    inner: ::opus::Decoder,
}

impl Decoder {
    pub fn new() -> Result<Self, OpusError> {
        Ok(Self { inner: ::opus::Decoder::new(RATE.hertz(), Channels::Mono).map_err(library)? })
    }

    /// Decodes one packet and appends its samples to `out`; answers how many. On an error `out` is as it was.
    pub fn decode(&mut self, payload: &[u8], out: &mut Vec<f32>) -> Result<usize, OpusError> {
        let samples = packet_samples(payload)?;
        self.run(payload, samples, false, out)
    }

    /// Decodes the `samples` just before the packet `following` from its in-band FEC, and appends them. Where it has no
    /// redundancy libopus conceals instead, so ask [`redundancy_samples`] first.
    pub fn recover(&mut self, following: &[u8], samples: usize, out: &mut Vec<f32>) -> Result<usize, OpusError> {
        packet_samples(following)?;
        self.run(following, whole(samples), true, out)
    }

    /// Appends `samples` (rounded down to 2.5 ms, at most 120 ms) of made-up continuation. Never fails: what libopus
    /// would not make up is silence.
    pub fn conceal(&mut self, samples: usize, out: &mut Vec<f32>) -> usize {
        let samples = whole(samples);
        if samples == 0 {
            return 0;
        }
        if self.run(&[], samples, false, out).is_err() {
            out.resize(out.len() + samples, 0.0);
        }
        samples
    }

    /// Forgets what was heard: for a new sender.
    pub fn reset(&mut self) -> Result<(), OpusError> {
        self.inner.reset_state().map_err(library)
    }

    fn run(&mut self, payload: &[u8], samples: usize, fec: bool, out: &mut Vec<f32>) -> Result<usize, OpusError> {
        let start = out.len();
        out.resize(start + samples, 0.0);
        let space = out.get_mut(start..).unwrap_or_default();
        match self.inner.decode_float(payload, space, fec) {
            Ok(decoded) => {
                // Never fewer than the packet claimed, but the clock must not depend on that.
                debug_assert_eq!(decoded, samples);
                Ok(samples)
            }
            Err(error) => {
                out.truncate(start);
                Err(OpusError::Corrupt { bytes: payload.len(), reason: error.to_string() })
            }
        }
    }
}

fn whole(samples: usize) -> usize {
    samples.min(LONGEST_SAMPLES) / SHORTEST_SAMPLES * SHORTEST_SAMPLES
}

/// How a reply is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncoderSettings {
    /// Bits a second, 6 000 to 128 000. 28 000: full-band speech without audible loss.
    pub bitrate: u32,
    /// 0 to 10. Each step costs CPU; above 5 a voice gains little.
    pub complexity: u8,
    /// Carry a coarse copy of each frame in the next packet, as far as `expected_loss` makes it worth its bits.
    pub fec: bool,
    /// Percent of packets, 0 to 100, that the encoder expects to be lost. At zero no redundancy is sent.
    pub expected_loss: u8,
}

impl Default for EncoderSettings {
    fn default() -> Self {
        Self { bitrate: 28_000, complexity: 5, fec: true, expected_loss: 5 }
    }
}

/// One listener's encoder: 20 ms of 48 kHz a packet; mono, but for [`Self::stereo`].
#[derive(Debug)]
pub struct Encoder {
    inner: ::opus::Encoder,
    channels: usize,
    lookahead: usize,
    packet: Box<[u8; Self::PACKET_BYTES]>,
}

impl Encoder {
    /// No 20 ms frame is longer (RFC 6716, 3.2.1), so `encode` can't run out of space.
    const PACKET_BYTES: usize = 1_276;

    pub fn new(settings: EncoderSettings) -> Result<Self, OpusError> {
        Self::with_channels(settings, Channels::Mono, Application::Voip)
    }

    /// Left and right interleaved. Not tuned to speech: that would share much between the channels, and here each is one speaker.
    pub fn stereo(settings: EncoderSettings) -> Result<Self, OpusError> {
        Self::with_channels(settings, Channels::Stereo, Application::Audio)
    }

    fn with_channels(
        settings: EncoderSettings,
        channels: Channels,
        application: Application,
    ) -> Result<Self, OpusError> {
        let mut inner = ::opus::Encoder::new(RATE.hertz(), channels, application).map_err(library)?;
        inner.set_bitrate(Bitrate::Bits(bitrate(settings.bitrate)?)).map_err(library)?;
        if settings.complexity > 10 {
            let value = settings.complexity.into();
            return Err(OpusError::Setting { setting: "complexity", value, range: "0 to 10" });
        }
        inner.set_complexity(settings.complexity.into()).map_err(library)?;
        inner.set_inband_fec(settings.fec).map_err(library)?;
        inner.set_packet_loss_perc(loss(settings.expected_loss)?).map_err(library)?;
        let lookahead = usize::try_from(inner.get_lookahead().map_err(library)?).unwrap_or(0);
        let channels = channels as usize;
        Ok(Self { inner, channels, lookahead, packet: Box::new([0; Self::PACKET_BYTES]) })
    }

    /// Encodes exactly [`FRAME_SAMPLES`] of each channel.
    pub fn encode(&mut self, frame: &[f32]) -> Result<Vec<u8>, OpusError> {
        if frame.len() != FRAME_SAMPLES * self.channels {
            return Err(OpusError::FrameLength { samples: frame.len() });
        }
        let bytes = self.inner.encode_float(frame, self.packet.as_mut_slice()).map_err(library)?;
        Ok(self.packet.get(..bytes).unwrap_or_default().to_vec())
    }

    /// What the receiver's reports say of the way out, in percent of packets.
    pub fn expect_loss(&mut self, percent: u8) -> Result<(), OpusError> {
        self.inner.set_packet_loss_perc(loss(percent)?).map_err(library)
    }

    pub fn set_bitrate(&mut self, bits_per_second: u32) -> Result<(), OpusError> {
        self.inner.set_bitrate(Bitrate::Bits(bitrate(bits_per_second)?)).map_err(library)
    }

    /// By how many samples a decoder's output lags the input: the `pre-skip` of a file.
    pub fn lookahead(&self) -> usize {
        self.lookahead
    }
}

fn bitrate(value: u32) -> Result<i32, OpusError> {
    match i32::try_from(value) {
        Ok(bits @ 6_000..=128_000) => Ok(bits),
        _ => Err(OpusError::Setting { setting: "bitrate", value, range: "6000 to 128000" }),
    }
}

fn loss(percent: u8) -> Result<i32, OpusError> {
    if percent > 100 {
        return Err(OpusError::Setting { setting: "expected loss", value: percent.into(), range: "0 to 100" });
    }
    Ok(percent.into())
}

#[cfg(test)]
mod tests;

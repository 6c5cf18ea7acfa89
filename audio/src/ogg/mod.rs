//! Ogg Opus files (RFC 7845): how recordings are kept and played in a browser.
//!
//! [`OggOpusWriter`] streams audio of any rate into a file, [`StereoOggOpusWriter`] two speakers side by side; [`read`] gives a whole
//! file back as 48 kHz mono, [`OggOpusReader`] piece by piece. Pre-skip, granule positions and end trimming are exact: what is
//! read back begins and lasts as what was written.

mod read;
mod stereo;
mod stream;
mod write;

use std::io;

use crate::opus::OpusError;
use crate::resample::ResampleError;

pub use read::{LONGEST, read, read_file};
pub use stereo::StereoOggOpusWriter;
pub use stream::OggOpusReader;
pub use write::OggOpusWriter;

const HEAD_MAGIC: &[u8; 8] = b"OpusHead";
const TAGS_MAGIC: &[u8; 8] = b"OpusTags";

#[derive(Debug, thiserror::Error)]
pub enum OggError {
    #[error("cannot read or write the Ogg file: {0}")]
    Io(#[from] io::Error),
    #[error("this is not an Ogg file: {0}; convert it to Ogg Opus or WAV first")]
    NotOgg(String),
    #[error("the Ogg file has no Opus stream; convert it to Ogg Opus or WAV first")]
    NotOpus,
    #[error("the Ogg Opus file is malformed: {0}; record or convert it again")]
    Malformed(&'static str),
    #[error("Ogg Opus with {0} channels is not supported; convert it to mono or stereo")]
    Channels(u8),
    #[error("the Ogg Opus file has no audio in it")]
    Empty,
    #[error("the Ogg Opus file is longer than {} minutes; split it", LONGEST.as_secs() / 60)]
    TooLong,
    #[error(transparent)]
    Opus(#[from] OpusError),
    #[error(transparent)]
    Resample(#[from] ResampleError),
}

/// The identification header (RFC 7845, 5.1), as far as one stream of one or two channels needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    channels: u8,
    /// 48 kHz samples to drop at the beginning.
    pre_skip: u16,
    /// What the audio was recorded at; for information only.
    input_rate: u32,
    /// Q7.8 decibels.
    gain: i16,
}

impl Head {
    fn to_bytes(self) -> Vec<u8> {
        const VERSION: u8 = 1;
        const MAPPING_MONO_OR_STEREO: u8 = 0;
        let mut bytes = HEAD_MAGIC.to_vec();
        bytes.extend([VERSION, self.channels]);
        bytes.extend(self.pre_skip.to_le_bytes());
        bytes.extend(self.input_rate.to_le_bytes());
        bytes.extend(self.gain.to_le_bytes());
        bytes.push(MAPPING_MONO_OR_STEREO);
        bytes
    }

    fn parse(packet: &[u8]) -> Result<Self, OggError> {
        let Some((magic, rest)) = packet.split_first_chunk::<8>() else { return Err(OggError::NotOpus) };
        if magic != HEAD_MAGIC {
            return Err(OggError::NotOpus);
        }
        let Some((&[version, channels, p0, p1, r0, r1, r2, r3, g0, g1, mapping], _)) = rest.split_first_chunk::<11>()
        else {
            return Err(OggError::Malformed("its header is too short"));
        };
        if version >> 4 != 0 {
            return Err(OggError::Malformed("its header has an unknown version"));
        }
        if channels == 0 {
            return Err(OggError::Malformed("it has no channels"));
        }
        if channels > 2 || mapping > 1 {
            return Err(OggError::Channels(channels));
        }
        Ok(Self {
            channels,
            pre_skip: u16::from_le_bytes([p0, p1]),
            input_rate: u32::from_le_bytes([r0, r1, r2, r3]),
            gain: i16::from_le_bytes([g0, g1]),
        })
    }

    /// What to multiply decoded samples by.
    fn gain_factor(self) -> f32 {
        10f32.powf(f32::from(self.gain) / (20.0 * 256.0))
    }
}

#[cfg(test)]
mod tests;

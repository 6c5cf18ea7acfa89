//! Recordings as people have them: WAV, FLAC, MP3, Ogg (Vorbis, Opus, FLAC), WebM and Matroska, MP4 and M4A, ADTS.
//!
//! One way for all of them: the container is taken apart, each packet decoded, mixed to mono and resampled at once, so that memory
//! follows what is kept and never what a header claims or a small file unfolds to. What a file is, its content says, not its
//! name. Containers, and all codecs but one, are `symphonia`'s; Opus is ours.
//!
//! A packet that is broken is left out; a file that breaks off is good up to there.

use std::io::{Cursor, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use symphonia::core::codecs::audio::well_known::CODEC_ID_OPUS;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::common::Limit;
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::meta::MetadataOptions;
use symphonia::core::packet::Packet;

use crate::opus::{self, Decoder as OpusDecoder, FRAME_SAMPLES};
use crate::pcm::{Pcm, SampleRate};
use crate::resample::{ResampleError, Resampler};

/// Of a tag or a picture inside the file: neither is wanted.
const LARGEST_TAG: usize = 64 * 1024;
/// No real file has more channels.
const MOST_CHANNELS: usize = 64;
/// Packets that give no audio, in a row, after which a file is given up: it is made to keep a reader busy.
const MOST_EMPTY_PACKETS: u32 = 10_000;

#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    #[error("there is no recording: the file is empty")]
    Nothing,
    #[error("this is no recording that can be read; send WAV, FLAC, MP3, Ogg, WebM or M4A")]
    Unknown,
    #[error("the file has no audio in it; send one with an audio track")]
    NoAudio,
    #[error("the audio inside has a codec that is not understood; send WAV, FLAC, MP3, Ogg Vorbis, Opus or AAC")]
    Codec,
    #[error("the recording is malformed: {0}; record or convert it again")]
    Malformed(String),
    #[error("a sample rate of {0} Hz is not supported; convert it to 16000 or 48000 Hz")]
    Rate(u32),
    #[error("the recording is longer than {} minutes; split it", .0.as_secs() / 60)]
    TooLong(Duration),
    #[error(transparent)]
    Resample(#[from] ResampleError),
}

/// Reads one recording, mixed to mono, at `rate`. No more than `longest` of it is ever held.
pub fn read(
    bytes: impl AsRef<[u8]> + Send + Sync + 'static,
    rate: SampleRate,
    longest: Duration,
) -> Result<Pcm, RecordingError> {
    guarded(bytes, Some(rate), longest)
}

/// The same at the rate it was recorded at (that of its beginning, should it change; 48 kHz for Opus), or at `highest` if that is
/// lower: what a look at its samples has to see untouched.
pub fn read_as_recorded(
    bytes: impl AsRef<[u8]> + Send + Sync + 'static,
    highest: SampleRate,
    longest: Duration,
) -> Result<Pcm, RecordingError> {
    let pcm = guarded(bytes, None, longest)?;
    if pcm.rate <= highest { Ok(pcm) } else { Ok(crate::resample::resample(&pcm, highest)?) }
}

fn guarded(
    bytes: impl AsRef<[u8]> + Send + Sync + 'static,
    rate: Option<SampleRate>,
    longest: Duration,
) -> Result<Pcm, RecordingError> {
    // Decoders of seven formats, and files from anywhere: should one of them panic, it is the file that is refused.
    catch_unwind(AssertUnwindSafe(|| decode(bytes, rate, longest)))
        .unwrap_or_else(|_| Err(RecordingError::Malformed("its decoder gave up".to_owned())))
}

fn decode(
    bytes: impl AsRef<[u8]> + Send + Sync + 'static,
    rate: Option<SampleRate>,
    longest: Duration,
) -> Result<Pcm, RecordingError> {
    if bytes.as_ref().is_empty() {
        return Err(RecordingError::Nothing);
    }
    let stream = MediaSourceStream::new(Box::new(Cursor::new(bytes)), MediaSourceStreamOptions::default());
    let metadata = MetadataOptions::default()
        .limit_tag_bytes(Limit::Maximum(LARGEST_TAG))
        .limit_visual_bytes(Limit::Maximum(LARGEST_TAG));
    let probed = symphonia::default::get_probe().probe(&Hint::new(), stream, FormatOptions::default(), metadata);
    let mut file = probed.map_err(|error| match error {
        Error::Unsupported(_) | Error::IoError(_) => RecordingError::Unknown,
        other => RecordingError::Malformed(other.to_string()),
    })?;
    let (track, mut decoder) = open(file.as_ref())?;
    let mut kept = Kept { rate, longest, resampler: None, samples: Vec::new() };
    let mut empty = 0;
    let mut decoded = Decoded::default();
    while let Some(packet) = next(file.as_mut())? {
        decoded.mono.clear();
        if packet.track_id == track {
            decoder.decode(&packet, &mut decoded)?;
        }
        if decoded.mono.is_empty() {
            empty += 1;
            if empty > MOST_EMPTY_PACKETS {
                return Err(RecordingError::Malformed("it goes on without any audio".to_owned()));
            }
            continue;
        }
        empty = 0;
        kept.push(&decoded)?;
    }
    kept.finish()
}

/// The audio track that a player would play, and what decodes it.
fn open(file: &dyn FormatReader) -> Result<(u32, Codec), RecordingError> {
    let track = file.default_track(TrackType::Audio).ok_or(RecordingError::NoAudio)?;
    let parameters = track.codec_params.as_ref().and_then(|parameters| parameters.audio());
    let parameters: &AudioCodecParameters = parameters.ok_or(RecordingError::Codec)?;
    if parameters.codec == CODEC_ID_OPUS {
        let decoder = OpusDecoder::new().map_err(|error| RecordingError::Malformed(error.to_string()))?;
        // What the encoder put before the first sample is left out, where the container says how much.
        return Ok((track.id, Codec::Opus { decoder, skip: track.delay.unwrap_or(0) as usize }));
    }
    let decoder = symphonia::default::get_codecs().make_audio_decoder(parameters, &AudioDecoderOptions::default());
    Ok((track.id, Codec::Other(decoder.map_err(|_| RecordingError::Codec)?)))
}

/// The next packet; none at the end, be it a clean one or not.
fn next(file: &mut dyn FormatReader) -> Result<Option<Packet>, RecordingError> {
    match file.next_packet() {
        Ok(packet) => Ok(packet),
        // Another recording follows in the same file: it is not read.
        Err(Error::ResetRequired) => Ok(None),
        Err(Error::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        Err(Error::DecodeError(_)) => Ok(None),
        Err(error) => Err(RecordingError::Malformed(error.to_string())),
    }
}

/// One packet's audio.
#[derive(Default)]
struct Decoded {
    mono: Vec<f32>,
    hertz: u32,
    interleaved: Vec<f32>,
}

enum Codec {
    Opus { decoder: OpusDecoder, skip: usize },
    Other(Box<dyn AudioDecoder>),
}

impl Codec {
    /// A packet's samples, mono; none if it is broken.
    fn decode(&mut self, packet: &Packet, decoded: &mut Decoded) -> Result<(), RecordingError> {
        match self {
            Self::Opus { decoder, skip } => {
                if decoder.decode(&packet.data, &mut decoded.mono).is_err() {
                    decoder.conceal(opus::packet_samples(&packet.data).unwrap_or(FRAME_SAMPLES), &mut decoded.mono);
                }
                let skipped = (*skip).min(decoded.mono.len());
                *skip -= skipped;
                decoded.mono.drain(..skipped);
                decoded.hertz = opus::RATE.hertz();
            }
            Self::Other(decoder) => {
                let audio = match decoder.decode(packet) {
                    Ok(audio) => audio,
                    Err(Error::DecodeError(_) | Error::IoError(_)) => return Ok(()),
                    Err(error) => return Err(RecordingError::Malformed(error.to_string())),
                };
                let channels = audio.num_planes();
                if channels == 0 || channels > MOST_CHANNELS {
                    return Err(RecordingError::Malformed(format!("it has {channels} channels")));
                }
                decoded.hertz = audio.spec().rate();
                audio.copy_to_vec_interleaved(&mut decoded.interleaved);
                let frames = decoded.interleaved.chunks_exact(channels);
                decoded.mono.extend(frames.map(mixed));
            }
        }
        Ok(())
    }
}

/// The mean of all channels; what is no number is silence.
fn mixed(frame: &[f32]) -> f32 {
    let mean = frame.iter().sum::<f32>() / frame.len() as f32;
    if mean.is_finite() { mean.clamp(-1.0, 1.0) } else { 0.0 }
}

/// What has been read so far, at the wanted rate; where none is wanted, at that of the first packet.
struct Kept {
    rate: Option<SampleRate>,
    longest: Duration,
    resampler: Option<Resampler>,
    samples: Vec<f32>,
}

impl Kept {
    fn push(&mut self, decoded: &Decoded) -> Result<(), RecordingError> {
        let from = SampleRate::new(decoded.hertz).ok_or(RecordingError::Rate(decoded.hertz))?;
        let to = *self.rate.get_or_insert(from);
        // The rate may change in mid-file.
        if self.resampler.as_ref().is_none_or(|resampler| resampler.from() != from) {
            let resampler = Resampler::aligned(from, to)?;
            if let Some(mut former) = self.resampler.replace(resampler) {
                former.flush(&mut self.samples);
            }
        }
        if let Some(resampler) = &mut self.resampler {
            resampler.push(&decoded.mono, &mut self.samples);
        }
        if self.samples.len() > to.samples_in(self.longest) {
            Err(RecordingError::TooLong(self.longest))
        } else {
            Ok(())
        }
    }

    fn finish(mut self) -> Result<Pcm, RecordingError> {
        if let Some(mut resampler) = self.resampler.take() {
            resampler.flush(&mut self.samples);
        }
        // The resampler swings past full scale beside a jump.
        self.samples.iter_mut().for_each(|sample| *sample = sample.clamp(-1.0, 1.0));
        match self.rate {
            Some(rate) if !self.samples.is_empty() => Ok(Pcm::new(rate, self.samples)),
            _ => Err(RecordingError::NoAudio),
        }
    }
}

#[cfg(test)]
mod tests;

//! RIFF WAVE files: reads nearly any, writes 16-bit mono.
//!
//! Reads integer PCM of 8, 16, 24 and 32 bits and float of 32 and 64, plain or extensible, any rate, any number of
//! channels (their mean is taken). Forgives what recorders do: sizes left at their maximum by a pipe, a cut-off end,
//! unknown chunks. Refuses the rest by name. Memory follows what is really there, never what a header claims.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::time::Duration;

use crate::pcm::{Pcm, SampleRate, to_i16};

/// The longest recording that is read: an hour.
pub const LONGEST: Duration = Duration::from_secs(3_600);
/// An hour at 48 kHz; bounds memory at 700 MB whatever the rate.
const MOST_SAMPLES: usize = 3_600 * 48_000;
/// No real file has more channels.
const MOST_CHANNELS: u16 = 64;

#[derive(Debug, thiserror::Error)]
pub enum WavError {
    #[error("cannot read the WAV data: {0}")]
    Io(#[from] io::Error),
    #[error("this is not a WAV file: it does not begin with RIFF and WAVE; convert it to WAV first")]
    NotWav,
    #[error("the WAV file is malformed: {0}; record or convert it again")]
    Malformed(&'static str),
    #[error("WAV format {tag:#06x} with {bits} bits is not supported; convert it to 16-bit PCM")]
    Unsupported { tag: u16, bits: u16 },
    #[error("a WAV sample rate of {0} Hz is not supported; convert it to 16000 or 48000 Hz")]
    Rate(u32),
    #[error("the WAV file has no audio in it")]
    Empty,
    #[error("the WAV file is longer than {} minutes; split it", LONGEST.as_secs() / 60)]
    TooLong,
}

#[derive(Debug, Clone, Copy)]
enum Encoding {
    Unsigned8,
    Signed16,
    Signed24,
    Signed32,
    Float32,
    Float64,
}

impl Encoding {
    fn bytes(self) -> usize {
        match self {
            Self::Unsigned8 => 1,
            Self::Signed16 => 2,
            Self::Signed24 => 3,
            Self::Signed32 | Self::Float32 => 4,
            Self::Float64 => 8,
        }
    }

    /// One little-endian sample as float; anything that is no number is silence.
    fn decode(self, bytes: &[u8]) -> f32 {
        let sample = match (self, bytes) {
            (Self::Unsigned8, &[a]) => (f32::from(a) - 128.0) / 128.0,
            (Self::Signed16, &[a, b]) => f32::from(i16::from_le_bytes([a, b])) / 32_768.0,
            (Self::Signed24, &[a, b, c]) => (i32::from_le_bytes([0, a, b, c]) >> 8) as f32 / 8_388_608.0,
            (Self::Signed32, &[a, b, c, d]) => (f64::from(i32::from_le_bytes([a, b, c, d])) / 2_147_483_648.0) as f32,
            (Self::Float32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
            (Self::Float64, bytes) => bytes.try_into().map_or(0.0, |bytes| f64::from_le_bytes(bytes) as f32),
            _ => 0.0,
        };
        if sample.is_finite() { sample.clamp(-1.0, 1.0) } else { 0.0 }
    }
}

struct Format {
    encoding: Encoding,
    channels: usize,
    rate: SampleRate,
}

impl Format {
    fn parse(chunk: &[u8]) -> Result<Self, WavError> {
        const PCM: u16 = 1;
        const FLOAT: u16 = 3;
        const EXTENSIBLE: u16 = 0xfffe;
        let short = |at: usize| chunk.get(at..at + 2).and_then(|b| b.try_into().ok()).map(u16::from_le_bytes);
        let long = |at: usize| chunk.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
        let cut_off = WavError::Malformed("its format chunk is too short");
        let (Some(tag), Some(channels), Some(hertz), Some(align), Some(bits)) =
            (short(0), short(2), long(4), short(12), short(14))
        else {
            return Err(cut_off);
        };
        let tag = if tag == EXTENSIBLE { short(24).ok_or(cut_off)? } else { tag };
        let encoding = match (tag, bits) {
            (PCM, 8) => Encoding::Unsigned8,
            (PCM, 16) => Encoding::Signed16,
            (PCM, 24) => Encoding::Signed24,
            (PCM, 32) => Encoding::Signed32,
            (FLOAT, 32) => Encoding::Float32,
            (FLOAT, 64) => Encoding::Float64,
            _ => return Err(WavError::Unsupported { tag, bits }),
        };
        if channels == 0 || channels > MOST_CHANNELS {
            return Err(WavError::Malformed("its channel count is not between 1 and 64"));
        }
        let channels = usize::from(channels);
        if usize::from(align) != channels * encoding.bytes() {
            return Err(WavError::Malformed("its block size contradicts its format"));
        }
        let rate = SampleRate::new(hertz).ok_or(WavError::Rate(hertz))?;
        Ok(Self { encoding, channels, rate })
    }
}

/// Reads one recording, mixed to mono.
pub fn read(mut reader: impl Read) -> Result<Pcm, WavError> {
    let mut riff = [0; 12];
    let got = fill(&mut reader, &mut riff)?;
    if got == 0 {
        return Err(WavError::Empty);
    }
    if got < riff.len() || !matches!(&riff[..4], b"RIFF" | b"RF64") || &riff[8..] != b"WAVE" {
        return Err(WavError::NotWav);
    }
    let mut format = None;
    loop {
        let mut header = [0; 8];
        if fill(&mut reader, &mut header)? < header.len() {
            return Err(match format {
                Some(_) => WavError::Malformed("it has no data chunk"),
                None => WavError::Malformed("it has no format chunk"),
            });
        }
        let [a, b, c, d, size @ ..] = header;
        let size = u32::from_le_bytes(size);
        match &[a, b, c, d] {
            b"fmt " => {
                const LONGEST_FORMAT: u64 = 64;
                let mut chunk = Vec::new();
                reader.by_ref().take(u64::from(size).min(LONGEST_FORMAT)).read_to_end(&mut chunk)?;
                skip(&mut reader, u64::from(size) - (chunk.len() as u64).min(u64::from(size)) + u64::from(size % 2))?;
                format = Some(Format::parse(&chunk)?);
            }
            b"data" => {
                let format = format.ok_or(WavError::Malformed("its data comes before its format"))?;
                // A pipe could not go back to fill the size in: then the data ends where the file ends.
                let length = if size == u32::MAX { u64::MAX } else { u64::from(size) };
                return data(reader.take(length), &format);
            }
            _ => skip(&mut reader, u64::from(size) + u64::from(size % 2))?,
        }
    }
}

pub fn read_file(path: &Path) -> Result<Pcm, WavError> {
    read(BufReader::new(File::open(path)?))
}

fn data(mut reader: impl Read, format: &Format) -> Result<Pcm, WavError> {
    let most = MOST_SAMPLES.min(format.rate.samples_in(LONGEST));
    let frame_bytes = format.channels * format.encoding.bytes();
    // Whole frames, about 64 KiB.
    let mut buffer = vec![0; (65_536 / frame_bytes).max(1) * frame_bytes];
    let mut samples = Vec::new();
    loop {
        let got = fill(&mut reader, &mut buffer)?;
        for frame in buffer.get(..got).unwrap_or_default().chunks_exact(frame_bytes) {
            let sum: f32 = frame.chunks_exact(format.encoding.bytes()).map(|bytes| format.encoding.decode(bytes)).sum();
            samples.push(sum / format.channels as f32);
        }
        if samples.len() > most {
            return Err(WavError::TooLong);
        }
        if got < buffer.len() {
            break;
        }
    }
    if samples.is_empty() { Err(WavError::Empty) } else { Ok(Pcm::new(format.rate, samples)) }
}

/// Reads until `buffer` is full or the end; answers how much that was.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(space) = buffer.get_mut(filled..).filter(|space| !space.is_empty()) {
        match reader.read(space) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn skip(reader: &mut impl Read, bytes: u64) -> io::Result<()> {
    io::copy(&mut reader.take(bytes), &mut io::sink()).map(|_| ())
}

/// Writes 16-bit mono PCM, at most what fits into the format's 4 GiB.
pub fn write(pcm: &Pcm, mut writer: impl Write) -> io::Result<()> {
    const HEADER: u32 = 36;
    let bytes = u32::try_from(pcm.samples.len() * 2).ok().filter(|bytes| *bytes <= u32::MAX - HEADER);
    let bytes =
        bytes.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "too long for a WAV file; split it"))?;
    let hertz = pcm.rate.hertz();
    let mut header = Vec::with_capacity(44);
    header.extend(b"RIFF");
    header.extend((HEADER + bytes).to_le_bytes());
    header.extend(b"WAVEfmt ");
    header.extend(16u32.to_le_bytes());
    for field in [1u16, 1] {
        header.extend(field.to_le_bytes());
    }
    header.extend(hertz.to_le_bytes());
    header.extend((hertz * 2).to_le_bytes());
    for field in [2u16, 16] {
        header.extend(field.to_le_bytes());
    }
    header.extend(b"data");
    header.extend(bytes.to_le_bytes());
    writer.write_all(&header)?;
    let data: Vec<u8> = pcm.samples.iter().flat_map(|sample| to_i16(*sample).to_le_bytes()).collect();
    writer.write_all(&data)?;
    writer.flush()
}

pub fn write_file(pcm: &Pcm, path: &Path) -> io::Result<()> {
    write(pcm, BufWriter::new(File::create(path)?))
}

#[cfg(test)]
mod tests;

//! Speech on the wire: bytes of an answer become PCM as they come.
//!
//! Pure. Takes raw 16-bit little-endian mono, and WAV files of 16-bit PCM, whose header says the rate; what begins like a WAV file is
//! read as one whatever was asked for, since some servers send nothing else. Packets may be cut anywhere.

use audio::pcm::{Pcm, SampleRate, from_i16};

/// A header with all its chunks; real ones have 44 to some hundred bytes.
const HEADER_MAX: usize = 64 * 1024;
/// Channels that are mixed down.
const CHANNELS_MAX: u16 = 8;

/// Why it can't be played.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PcmError {
    #[error("its WAV header is malformed")]
    Malformed,
    #[error("its WAV format {tag:#06x} with {bits} bits is not 16-bit PCM; set format = \"pcm\"")]
    Unsupported { tag: u16, bits: u16 },
    #[error("it sends compressed audio; set format = \"pcm\" or \"wav\"")]
    Compressed,
}

/// See the module.
#[derive(Debug)]
pub(super) struct PcmReader {
    /// Of raw PCM.
    rate: SampleRate,
    state: State,
    /// Not yet decoded: of a header, or of a sample.
    rest: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// It may be raw or a file.
    Unknown,
    Header,
    Samples {
        rate: SampleRate,
        channels: usize,
        /// Of a file's data; what follows is not sound.
        left: u64,
    },
}

impl PcmReader {
    pub fn new(rate: SampleRate) -> Self {
        Self { rate, state: State::Unknown, rest: Vec::new() }
    }

    /// What came, as far as it is whole samples; `None` if that is none.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<Pcm>, PcmError> {
        self.rest.extend_from_slice(bytes);
        if let State::Unknown = self.state {
            self.state = match self.rest.get(..4) {
                Some(b"RIFF" | b"RF64") => State::Header,
                Some(b"OggS" | b"fLaC" | [b'I', b'D', b'3', _]) => return Err(PcmError::Compressed),
                Some(_) => State::Samples { rate: self.rate, channels: 1, left: u64::MAX },
                None => return Ok(None),
            };
        }
        if let State::Header = self.state {
            match header(&self.rest)? {
                Some((length, found)) => {
                    self.rest.drain(..length);
                    self.state = found;
                }
                None if self.rest.len() > HEADER_MAX => return Err(PcmError::Malformed),
                None => return Ok(None),
            }
        }
        let State::Samples { rate, channels, left } = &mut self.state else { return Ok(None) };
        let frame = 2 * *channels;
        let length = self.rest.len().min(usize::try_from(*left).unwrap_or(usize::MAX)) / frame * frame;
        if *left != u64::MAX {
            *left -= length as u64;
        }
        let frames = self.rest.drain(..length).collect::<Vec<u8>>();
        if *left < frame as u64 {
            self.rest.clear();
        }
        let sample = |bytes: &[u8]| bytes.try_into().map_or(0.0, |bytes| from_i16(i16::from_le_bytes(bytes)));
        let mix = |frame: &[u8]| frame.chunks_exact(2).map(sample).sum::<f32>() / *channels as f32;
        let samples: Vec<f32> = frames.chunks_exact(frame).map(mix).collect();
        Ok((!samples.is_empty()).then(|| Pcm::new(*rate, samples)))
    }
}

/// The length of the header and what follows it; `None` while it is not all there.
fn header(bytes: &[u8]) -> Result<Option<(usize, State)>, PcmError> {
    if bytes.get(8..12).is_some_and(|form| form != b"WAVE") {
        return Err(PcmError::Malformed);
    }
    let short = |at: usize| bytes.get(at..at + 2).and_then(|b| b.try_into().ok()).map(u16::from_le_bytes);
    let long = |at: usize| bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
    let (mut at, mut format) = (12, None);
    while let (Some(name), Some(size)) = (bytes.get(at..at + 4), long(at + 4)) {
        let body = at + 8;
        if name == b"data" {
            let (rate, channels) = format.ok_or(PcmError::Malformed)?;
            // A server that streams doesn't know the length: it writes the most, or none.
            let left = if size == 0 || size >= u32::MAX - 64 { u64::MAX } else { u64::from(size) };
            return Ok(Some((body, State::Samples { rate, channels, left })));
        }
        if name == b"fmt " {
            let (Some(tag), Some(channels), Some(hertz), Some(bits)) =
                (short(body), short(body + 2), long(body + 4), short(body + 14))
            else {
                return Ok(None);
            };
            let tag = if tag == 0xfffe { short(body + 24).unwrap_or(tag) } else { tag };
            if (tag, bits) != (1, 16) {
                return Err(PcmError::Unsupported { tag, bits });
            }
            let rate = SampleRate::new(hertz).ok_or(PcmError::Malformed)?;
            if channels == 0 || channels > CHANNELS_MAX {
                return Err(PcmError::Malformed);
            }
            format = Some((rate, usize::from(channels)));
        }
        let size = usize::try_from(size).map_err(|_| PcmError::Malformed)?;
        if size > HEADER_MAX {
            return Err(PcmError::Malformed);
        }
        at = body + size + size % 2;
    }
    Ok(None)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const RATE: SampleRate = SampleRate::HZ_24000;

    fn raw(samples: usize) -> Vec<u8> {
        (0..samples as i16).flat_map(|sample| (sample * 7).to_le_bytes()).collect()
    }

    fn wav(samples: usize) -> Vec<u8> {
        let mut wav = Vec::new();
        let pcm = raw(samples).chunks_exact(2).map(|b| from_i16(i16::from_le_bytes([b[0], b[1]]))).collect();
        audio::wav::write(&Pcm::new(SampleRate::HZ_16000, pcm), &mut wav).unwrap();
        wav
    }

    fn read(parts: std::slice::Chunks<'_, u8>) -> Result<Option<Pcm>, PcmError> {
        let mut reader = PcmReader::new(RATE);
        let mut all: Option<Pcm> = None;
        for part in parts {
            let Some(pcm) = reader.push(part)? else { continue };
            match &mut all {
                Some(all) => all.samples.extend(pcm.samples),
                None => all = Some(pcm),
            }
        }
        Ok(all)
    }

    #[test]
    fn where_packets_are_cut_changes_no_sample() {
        for (bytes, rate) in [(raw(500), 24_000), (wav(500), 16_000)] {
            let whole = read(bytes.chunks(usize::MAX)).unwrap().unwrap();
            assert_eq!((whole.samples.len(), whole.rate.hertz()), (500, rate));
            for size in [1, 2, 3, 5, 44, 45, 333] {
                assert_eq!(read(bytes.chunks(size)).unwrap().unwrap(), whole, "in packets of {size}");
            }
        }
    }

    #[test]
    fn a_file_of_unknown_length_is_played_to_its_end_and_a_trailer_is_not() {
        let mut streamed = wav(100);
        for size in [u32::MAX, 0] {
            streamed[40..44].copy_from_slice(&size.to_le_bytes());
            assert_eq!(read(streamed.chunks(64)).unwrap().unwrap().samples.len(), 100);
        }
        let mut tagged = wav(100);
        tagged.extend(b"LIST\x04\x00\x00\x00INFO");
        assert_eq!(read(tagged.chunks(7)).unwrap().unwrap().samples.len(), 100);
    }

    #[test]
    fn stereo_is_mixed() {
        let mut bytes = wav(4);
        bytes[22] = 2;
        let mixed = read(bytes.chunks(9)).unwrap().unwrap().samples;
        assert_eq!(mixed, [from_i16(7) / 2.0, (from_i16(14) + from_i16(21)) / 2.0]);
    }

    #[test]
    fn what_can_not_be_played_is_refused_and_not_heard_as_noise() {
        let mut float = wav(4);
        float[20] = 3;
        assert_eq!(read(float.chunks(64)), Err(PcmError::Unsupported { tag: 3, bits: 16 }));
        assert_eq!(read(b"OggS...........".chunks(5)), Err(PcmError::Compressed));
        assert_eq!(read(b"ID3.............".chunks(5)), Err(PcmError::Compressed));
        let mut endless = wav(4);
        endless[16..20].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(read(endless.chunks(64)), Err(PcmError::Malformed));
        let mut bytes = b"RIFF....WAVE".to_vec();
        bytes.extend(b"junk\x08\x00\x00\x00........".repeat(5_000));
        assert_eq!(read(bytes.chunks(4_096)), Err(PcmError::Malformed));
    }

    #[test]
    fn nothing_is_nothing() {
        assert_eq!(read([].chunks(1)), Ok(None));
        assert_eq!(read(b"RIFF".chunks(1)), Ok(None));
        assert_eq!(read(b"a".chunks(1)), Ok(None));
    }
}

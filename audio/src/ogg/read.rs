//! The reading side: the first Opus stream of a file, whole, as 48 kHz mono.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;
use std::time::Duration;

use ::ogg::{OggReadError, PacketReader, PageParsingOptions};

use super::{Head, OggError, TAGS_MAGIC};
use crate::opus::{self, Decoder, FRAME_SAMPLES, RATE};
use crate::pcm::Pcm;

/// The longest recording that is read: an hour.
pub const LONGEST: Duration = Duration::from_secs(3_600);
/// An hour at 510 kbit/s, the most that Opus can be.
const MOST_BYTES: u64 = 256 << 20;
/// "No packet ends on this page."
const NO_GRANULE: u64 = u64::MAX;

/// Reads one recording. Stereo is decoded to mono; a packet that is broken is concealed.
pub fn read(reader: impl Read) -> Result<Pcm, OggError> {
    read_with(reader, PageParsingOptions::default())
}

pub fn read_file(path: &Path) -> Result<Pcm, OggError> {
    read(File::open(path)?)
}

fn read_with(reader: impl Read, options: PageParsingOptions) -> Result<Pcm, OggError> {
    let mut bytes = Vec::new();
    if reader.take(MOST_BYTES + 1).read_to_end(&mut bytes)? as u64 > MOST_BYTES {
        return Err(OggError::TooLong);
    }
    if bytes.is_empty() {
        return Err(OggError::Empty);
    }
    let mut packets = PacketReader::new_with_page_parse_opts(Cursor::new(bytes), options);
    let mut stream: Option<Stream> = None;
    loop {
        let packet = match packets.read_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => break,
            // A file that was cut off is good up to there.
            Err(OggReadError::ReadError(_)) if stream.is_some() => break,
            Err(error) if stream.is_none() => return Err(OggError::NotOgg(error.to_string())),
            Err(_) => return Err(OggError::Malformed("a page is damaged")),
        };
        match &mut stream {
            None if packet.first_in_stream() => match Head::parse(&packet.data) {
                Ok(head) => stream = Some(Stream::new(packet.stream_serial(), head)?),
                // Another stream's header: ours may follow.
                Err(OggError::NotOpus) => {}
                Err(error) => return Err(error),
            },
            Some(stream) if stream.serial == packet.stream_serial() => {
                let page = packet.last_in_page().then(|| packet.absgp_page());
                if stream.packet(&packet.data, page, packet.last_in_stream())? {
                    break;
                }
            }
            _ => {}
        }
    }
    stream.ok_or(OggError::NotOpus)?.finish()
}

struct Stream {
    serial: u32,
    head: Head,
    decoder: Decoder,
    tags_seen: bool,
    samples: Vec<f32>,
    /// Granule position of the first sample: not zero in a piece cut from a longer stream.
    origin: Option<u64>,
    /// Where the last page says that the audio ends.
    end: Option<u64>,
}

impl Stream {
    fn new(serial: u32, head: Head) -> Result<Self, OggError> {
        let decoder = Decoder::new()?;
        Ok(Self { serial, head, decoder, tags_seen: false, samples: Vec::new(), origin: None, end: None })
    }

    /// Takes one packet; answers whether it was the last.
    fn packet(&mut self, data: &[u8], page_granule: Option<u64>, last: bool) -> Result<bool, OggError> {
        if !self.tags_seen {
            if !data.starts_with(TAGS_MAGIC) {
                return Err(OggError::Malformed("its comment header is missing"));
            }
            self.tags_seen = true;
            return Ok(last);
        }
        if self.decoder.decode(data, &mut self.samples).is_err() {
            let samples = opus::packet_samples(data).unwrap_or(FRAME_SAMPLES);
            self.decoder.conceal(samples, &mut self.samples);
        }
        if self.samples.len() > RATE.samples_in(LONGEST) {
            return Err(OggError::TooLong);
        }
        if let Some(granule) = page_granule.filter(|granule| *granule != NO_GRANULE) {
            let decoded = self.samples.len() as u64;
            // The last page may claim less than it holds: that trims its end, and is no origin.
            let origin = *self.origin.get_or_insert(granule.saturating_sub(decoded));
            if last {
                self.end = Some(granule.saturating_sub(origin));
            }
        }
        Ok(last)
    }

    fn finish(mut self) -> Result<Pcm, OggError> {
        let end = self.end.and_then(|end| usize::try_from(end).ok()).unwrap_or(usize::MAX);
        self.samples.truncate(end);
        self.samples.drain(..usize::from(self.head.pre_skip).min(self.samples.len()));
        if self.samples.is_empty() {
            return Err(OggError::Empty);
        }
        if self.head.gain != 0 {
            let factor = self.head.gain_factor();
            self.samples.iter_mut().for_each(|sample| *sample *= factor);
        }
        self.samples.iter_mut().for_each(|sample| *sample = sample.clamp(-1.0, 1.0));
        Ok(Pcm::new(RATE, self.samples))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::LazyLock;

    use super::*;
    use crate::ogg::OggOpusWriter;
    use crate::pcm::SampleRate;
    use proptest::prelude::*;

    static FILE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut writer = OggOpusWriter::new(Vec::new()).unwrap();
        let samples = (0..24_000).map(|n| (n as f32 * 0.05).sin() * 0.5).collect();
        writer.push(&Pcm::new(SampleRate::HZ_16000, samples)).unwrap();
        writer.finish().unwrap()
    });

    fn unchecked() -> PageParsingOptions {
        let mut options = PageParsingOptions::default();
        options.verify_checksum = false;
        options
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Checksums are not verified here, so that damage reaches everything behind them.
        #[test]
        fn a_damaged_file_is_an_error_or_audio_never_a_panic(
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..24),
            cut in any::<prop::sample::Index>(),
            whole in any::<bool>(),
        ) {
            let mut bytes = FILE.clone();
            for (index, value) in damage {
                let at = index.index(bytes.len());
                bytes[at] = value;
            }
            if !whole {
                bytes.truncate(cut.index(bytes.len()));
            }
            if let Ok(pcm) = read_with(bytes.as_slice(), unchecked()) {
                prop_assert!(!pcm.samples.is_empty());
                prop_assert!(pcm.samples.iter().all(|sample| sample.abs() <= 1.0));
            }
        }

        #[test]
        fn random_bytes_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
            prop_assert!(read(bytes.as_slice()).is_err());
        }
    }
}

//! The reading side for long recordings: one Opus stream, a piece at a time, in memory that does not grow with its length.

use std::collections::VecDeque;
use std::io::{Read, Seek};

use ::ogg::{OggReadError, PacketReader};

use super::{Head, OggError, TAGS_MAGIC};
use crate::opus::{self, Decoder, FRAME_SAMPLES};

/// Samples that are not given before the end is known: the last page may take back as much (RFC 7845, 4.4).
const HELD: usize = 48_000;
/// "No packet ends on this page."
const NO_GRANULE: u64 = u64::MAX;

/// Reads a file as 48 kHz mono. Stereo is decoded to mono; a packet that is broken is concealed; a file that was cut off ends there.
pub struct OggOpusReader<R: Read + Seek> {
    packets: PacketReader<R>,
    serial: u32,
    decoder: Decoder,
    gain: f32,
    /// Samples still to be dropped at the beginning.
    skip: usize,
    pending: VecDeque<f32>,
    decoded: u64,
    /// Granule position of the first sample: not zero in a piece cut from a longer stream.
    origin: Option<u64>,
    has_ended: bool,
}

impl<R: Read + Seek> std::fmt::Debug for OggOpusReader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OggOpusReader").field("decoded", &self.decoded).finish_non_exhaustive()
    }
}

impl<R: Read + Seek> OggOpusReader<R> {
    /// Reads the headers of the first Opus stream.
    pub fn new(reader: R) -> Result<Self, OggError> {
        let mut packets = PacketReader::new(reader);
        let mut found: Option<(u32, Head)> = None;
        loop {
            let packet = match packets.read_packet() {
                Ok(Some(packet)) => packet,
                Ok(None) => return Err(OggError::NotOpus),
                Err(error) => return Err(OggError::NotOgg(error.to_string())),
            };
            match found {
                None if packet.first_in_stream() => match Head::parse(&packet.data) {
                    Ok(head) => found = Some((packet.stream_serial(), head)),
                    // Another stream's header: ours may follow.
                    Err(OggError::NotOpus) => {}
                    Err(error) => return Err(error),
                },
                Some((serial, head)) if serial == packet.stream_serial() => {
                    if !packet.data.starts_with(TAGS_MAGIC) {
                        return Err(OggError::Malformed("its comment header is missing"));
                    }
                    return Ok(Self {
                        packets,
                        serial,
                        decoder: Decoder::new()?,
                        gain: head.gain_factor(),
                        skip: head.pre_skip.into(),
                        pending: VecDeque::new(),
                        decoded: 0,
                        origin: None,
                        has_ended: packet.last_in_stream(),
                    });
                }
                _ => {}
            }
        }
    }

    /// Fills `out` with what comes next; less than all of it only at the end of the recording.
    pub fn read(&mut self, out: &mut [f32]) -> Result<usize, OggError> {
        while !self.has_ended && self.pending.len() < HELD + out.len() {
            self.next_packet()?;
        }
        let given = out.len().min(self.pending.len());
        for (out, sample) in out.iter_mut().zip(self.pending.drain(..given)) {
            *out = (sample * self.gain).clamp(-1.0, 1.0);
        }
        Ok(given)
    }

    fn next_packet(&mut self) -> Result<(), OggError> {
        let packet = match self.packets.read_packet() {
            Ok(Some(packet)) => packet,
            // Cut off: good up to there.
            Ok(None) | Err(OggReadError::ReadError(_)) => {
                self.has_ended = true;
                return Ok(());
            }
            Err(_) => return Err(OggError::Malformed("a page is damaged")),
        };
        if packet.stream_serial() != self.serial {
            return Ok(());
        }
        let mut samples = Vec::new();
        if self.decoder.decode(&packet.data, &mut samples).is_err() {
            let lost = opus::packet_samples(&packet.data).unwrap_or(FRAME_SAMPLES);
            self.decoder.conceal(lost, &mut samples);
        }
        self.decoded += samples.len() as u64;
        let skipped = self.skip.min(samples.len());
        self.skip -= skipped;
        self.pending.extend(samples.get(skipped..).unwrap_or_default());
        let granule = Some(packet.absgp_page()).filter(|granule| packet.last_in_page() && *granule != NO_GRANULE);
        if let Some(granule) = granule {
            // The last page may claim less than it holds: that trims its end, and is no origin.
            let origin = *self.origin.get_or_insert(granule.saturating_sub(self.decoded));
            if packet.last_in_stream() {
                let surplus = self.decoded.saturating_sub(granule.saturating_sub(origin));
                let surplus = usize::try_from(surplus).unwrap_or(usize::MAX);
                self.pending.truncate(self.pending.len().saturating_sub(surplus));
            }
        }
        self.has_ended = packet.last_in_stream();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::io::Cursor;

    use super::*;
    use crate::ogg::OggOpusWriter;
    use crate::pcm::{Pcm, SampleRate};

    fn file(samples: usize) -> Vec<u8> {
        let mut writer = OggOpusWriter::new(Vec::new()).unwrap();
        let said = (0..samples).map(|n| (n as f32 * 0.05).sin() * 0.5).collect();
        writer.push(&Pcm::new(SampleRate::HZ_16000, said)).unwrap();
        writer.finish().unwrap()
    }

    fn streamed(bytes: &[u8], piece: usize) -> (Vec<f32>, usize) {
        let mut reader = OggOpusReader::new(Cursor::new(bytes)).unwrap();
        let (mut all, mut most) = (Vec::new(), 0);
        loop {
            let mut out = vec![0.0; piece];
            let got = reader.read(&mut out).unwrap();
            most = most.max(reader.pending.len());
            all.extend_from_slice(&out[..got]);
            if got < piece {
                return (all, most);
            }
        }
    }

    #[test]
    fn a_recording_read_in_pieces_is_the_one_that_is_read_whole() {
        for samples in [1, 400, 16_000, 53_217] {
            let bytes = file(samples);
            let whole = crate::ogg::read(bytes.as_slice()).unwrap().samples;
            for piece in [960, 48_000] {
                assert!(streamed(&bytes, piece).0 == whole, "{samples} samples in pieces of {piece}");
            }
        }
    }

    #[test]
    fn a_long_recording_is_not_held_whole() {
        let (all, most) = streamed(&file(16_000 * 30), 960);
        assert_eq!(all.len(), 48_000 * 30);
        assert!(most < 2 * HELD, "{most} samples were held");
    }

    #[test]
    fn a_recording_that_was_cut_off_is_good_up_to_there() {
        let bytes = file(16_000 * 4);
        let (all, _) = streamed(&bytes[..bytes.len() / 2], 960);
        assert!((40_000..48_000 * 3).contains(&all.len()), "{}", all.len());
    }

    #[test]
    fn what_is_no_recording_is_refused() {
        assert!(OggOpusReader::new(Cursor::new(b"RIFF of another kind".as_slice())).is_err());
        assert!(OggOpusReader::new(Cursor::new(b"".as_slice())).is_err());
    }
}

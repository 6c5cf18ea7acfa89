#![allow(clippy::unwrap_used)]

use super::*;
use crate::opus::{Encoder, EncoderSettings};
use crate::pcm::{Pcm, SampleRate};

/// A chirp: unlike a tone it fits itself at one place only.
fn chirp(rate: SampleRate, samples: usize) -> Pcm {
    let at = |n: usize| {
        let t = n as f32 / rate.hertz() as f32;
        0.4 * (std::f32::consts::TAU * (200.0 * t + 400.0 * t * t)).sin()
    };
    Pcm::new(rate, (0..samples).map(at).collect())
}

fn written(chunks: &[Pcm]) -> Vec<u8> {
    let mut writer = OggOpusWriter::new(Vec::new()).unwrap();
    chunks.iter().for_each(|chunk| writer.push(chunk).unwrap());
    writer.finish().unwrap()
}

/// By how many samples `heard` lags `said`, at best fit.
fn lag(said: &[f32], heard: &[f32]) -> i64 {
    let fit =
        |lag: &i64| -> f32 { (2_000..said.len() - 2_000).map(|n| said[n] * heard[(n as i64 + lag) as usize]).sum() };
    (-400..=400).max_by(|a, b| fit(a).total_cmp(&fit(b))).unwrap()
}

#[test]
fn a_recording_comes_back_at_its_place_and_its_length_at_any_rate() {
    for hertz in [8_000, 16_000, 22_050, 24_000, 44_100, 48_000] {
        let rate = SampleRate::new(hertz).unwrap();
        let said = chirp(rate, hertz as usize * 6 / 5 + 7);
        let heard = read(written(std::slice::from_ref(&said)).as_slice()).unwrap();
        assert_eq!(heard.rate, SampleRate::HZ_48000);
        let expected = (said.samples.len() as f64 * 48_000.0 / f64::from(hertz)).round() as usize;
        assert_eq!(heard.samples.len(), expected, "{hertz} Hz");
        let wanted = crate::resample::resample(&said, SampleRate::HZ_48000).unwrap().samples;
        let off = lag(&wanted, &heard.samples);
        // The codec's own delay is not the same at all pitches.
        assert!(off.abs() <= 10, "{hertz} Hz comes back {off} samples late");
    }
}

#[test]
fn chunks_and_changing_rates_add_up() {
    let chunks = [
        chirp(SampleRate::HZ_16000, 1_601),
        chirp(SampleRate::HZ_24000, 24_000),
        chirp(SampleRate::HZ_24000, 1),
        chirp(SampleRate::HZ_48000, 0),
        chirp(SampleRate::HZ_48000, 959),
    ];
    assert_eq!(read(written(&chunks).as_slice()).unwrap().samples.len(), 4_803 + 48_002 + 959);
}

#[test]
fn a_recording_of_nothing_is_a_valid_file_without_audio() {
    assert!(matches!(read(written(&[]).as_slice()), Err(OggError::Empty)));
    assert_eq!(read(written(&[chirp(SampleRate::HZ_48000, 1)]).as_slice()).unwrap().samples.len(), 1);
}

/// What a browser checks (RFC 3533 and RFC 7845, 3 and 4).
#[test]
fn pages_are_those_of_the_standard() {
    let bytes = written(&[chirp(SampleRate::HZ_48000, 48_000 * 5 / 2)]);
    let (mut at, mut pages) = (0, Vec::new());
    while at < bytes.len() {
        assert_eq!(&bytes[at..at + 5], b"OggS\0");
        let segments = usize::from(bytes[at + 26]);
        let body: usize = bytes[at + 27..at + 27 + segments].iter().map(|length| usize::from(*length)).sum();
        let start = at + 27 + segments;
        let granule = u64::from_le_bytes(bytes[at + 6..at + 14].try_into().unwrap());
        let number = u32::from_le_bytes(bytes[at + 18..at + 22].try_into().unwrap());
        assert_eq!(number as usize, pages.len());
        pages.push((bytes[at + 5], granule, bytes[start..start + body].to_vec()));
        at = start + body;
    }
    let flags: Vec<u8> = pages.iter().map(|page| page.0).collect();
    assert_eq!(flags, [2, 0, 0, 0, 4], "a first page, headers apart, one page a second, a last page");
    let pre_skip = Encoder::new(EncoderSettings::default()).unwrap().lookahead() as u64;
    assert!(pre_skip > 0);
    let granules: Vec<u64> = pages.iter().map(|page| page.1).collect();
    assert_eq!(granules, [0, 0, 48_000, 96_000, 120_000 + pre_skip]);
    let head = Head::parse(&pages[0].2).unwrap();
    assert_eq!(head, Head { channels: 1, pre_skip: pre_skip as u16, input_rate: 48_000, gain: 0 });
    assert!(pages[1].2.starts_with(TAGS_MAGIC));
}

#[test]
fn a_file_that_was_cut_off_is_good_up_to_there() {
    let bytes = written(&[chirp(SampleRate::HZ_48000, 144_000)]);
    let heard = read(&bytes[..bytes.len() - 100]).unwrap();
    assert!(heard.samples.len() > 90_000 && heard.samples.len() < 144_000, "{}", heard.samples.len());
    // A process that was killed: the writer is dropped without an end.
    let mut file = Vec::new();
    let mut writer = OggOpusWriter::new(&mut file).unwrap();
    writer.push(&chirp(SampleRate::HZ_48000, 144_000)).unwrap();
    drop(writer);
    assert!(read(file.as_slice()).unwrap().samples.len() > 90_000);
}

#[test]
fn what_cannot_be_read_says_why() {
    let mut stereo = written(&[chirp(SampleRate::HZ_48000, 4_800)]);
    assert!(matches!(read(&b"RIFF, not Ogg, but long enough to look into"[..]), Err(OggError::NotOgg(_))));
    assert!(matches!(read(&[][..]), Err(OggError::Empty)));
    stereo[40] ^= 1;
    assert!(matches!(read(stereo.as_slice()), Err(OggError::NotOgg(_))), "the checksum is off");
    let head = Head { channels: 6, pre_skip: 0, input_rate: 0, gain: 0 };
    assert!(matches!(Head::parse(&head.to_bytes()), Err(OggError::Channels(6))));
    assert!(matches!(Head::parse(b"\x01vorbis"), Err(OggError::NotOpus)));
    assert!(matches!(Head::parse(b"OpusHead\x01\x01"), Err(OggError::Malformed(_))));
}

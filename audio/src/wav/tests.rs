#![allow(clippy::unwrap_used)]

use hound::{SampleFormat, WavSpec, WavWriter};
use proptest::prelude::*;

use super::*;

/// A file as another program writes it; sample `n` of every channel is `n / 100`.
fn foreign(bits: u16, format: SampleFormat, channels: u16, rate: u32, frames: usize) -> Vec<u8> {
    let mut bytes = io::Cursor::new(Vec::new());
    let spec = WavSpec { channels, sample_rate: rate, bits_per_sample: bits, sample_format: format };
    let mut writer = WavWriter::new(&mut bytes, spec).unwrap();
    for n in 0..frames {
        let value = n as f32 / 100.0;
        for _ in 0..channels {
            match format {
                SampleFormat::Float => writer.write_sample(value).unwrap(),
                SampleFormat::Int => {
                    writer.write_sample((value * 2f32.powi(i32::from(bits) - 1)) as i32).unwrap();
                }
            }
        }
    }
    writer.finalize().unwrap();
    bytes.into_inner()
}

#[test]
fn every_common_format_is_read_as_the_same_sound() {
    let formats = [(8, SampleFormat::Int), (16, SampleFormat::Int), (24, SampleFormat::Int), (32, SampleFormat::Int)];
    for (bits, format) in formats.into_iter().chain([(32, SampleFormat::Float)]) {
        for channels in [1, 2, 6] {
            for rate in [8_000, 22_050, 48_000] {
                let pcm = read(foreign(bits, format, channels, rate, 90).as_slice()).unwrap();
                assert_eq!((pcm.rate.hertz(), pcm.samples.len()), (rate, 90));
                for (n, sample) in pcm.samples.iter().enumerate() {
                    let off = (sample - n as f32 / 100.0).abs();
                    assert!(off <= 2f32.powi(1 - i32::from(bits)) + 1e-6, "{bits} bits, {channels} channels: {off}");
                }
            }
        }
    }
}

#[test]
fn what_is_written_is_read_back_here_and_by_others() {
    let pcm = Pcm::new(SampleRate::HZ_24000, vec![0.0, 0.5, -0.5, 1.0, -1.0, 2.0]);
    let mut bytes = Vec::new();
    write(&pcm, &mut bytes).unwrap();
    let again = read(bytes.as_slice()).unwrap();
    assert_eq!(again.rate, pcm.rate);
    let other: Vec<i16> =
        hound::WavReader::new(bytes.as_slice()).unwrap().samples::<i16>().map(Result::unwrap).collect();
    assert_eq!(other, [0, 16_384, -16_384, 32_767, -32_767, 32_767]);
    assert_eq!(again.samples, other.iter().map(|sample| crate::pcm::from_i16(*sample)).collect::<Vec<_>>());
}

#[test]
fn a_recorder_that_died_or_piped_is_forgiven() {
    let whole = foreign(16, SampleFormat::Int, 2, 16_000, 90);
    let data = whole.len() - 360;
    let cut_off = &whole[..whole.len() - 3];
    assert_eq!(read(cut_off).unwrap().samples.len(), 89);
    let mut piped = whole.clone();
    piped[data - 4..data].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(read(piped.as_slice()).unwrap().samples.len(), 90);
    // An unknown chunk of odd length between format and data.
    let mut chunky = whole[..data - 8].to_vec();
    chunky.extend(b"LIST\x03\0\0\0abc\0");
    chunky.extend(&whole[data - 8..]);
    assert_eq!(read(chunky.as_slice()).unwrap().samples.len(), 90);
}

#[test]
fn what_cannot_be_read_says_why_and_what_to_do() {
    let patched = |at: usize, value: &[u8]| {
        let mut bytes = Vec::new();
        write(&Pcm::new(SampleRate::HZ_16000, vec![0.1; 10]), &mut bytes).unwrap();
        bytes[at..at + value.len()].copy_from_slice(value);
        read(bytes.as_slice()).unwrap_err().to_string()
    };
    let expected = [
        (patched(0, b"OggS"), "not a WAV file"),
        (patched(20, &[6]), "format 0x0006"),
        (patched(22, &[0]), "channel count"),
        (patched(24, &[0, 0, 0, 0]), "sample rate of 0 Hz"),
        (patched(32, &[7]), "block size"),
        (patched(36, b"nope"), "no data chunk"),
        (patched(12, b"nope"), "data comes before its format"),
        (patched(40, &[0, 0, 0, 0]), "no audio"),
        (read(&[][..]).unwrap_err().to_string(), "no audio"),
        (read(&b"RIFF"[..]).unwrap_err().to_string(), "not a WAV file"),
    ];
    for (message, part) in expected {
        assert!(message.contains(part), "{message:?} does not say {part:?}");
    }
}

#[test]
fn an_endless_recording_is_refused_before_it_fills_the_memory() {
    let mut head = Vec::new();
    write(&Pcm::new(SampleRate::new(1_000).unwrap(), vec![0.0]), &mut head).unwrap();
    head[40..44].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(read(head.as_slice().chain(io::repeat(1))), Err(WavError::TooLong)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_damaged_file_is_an_error_or_audio_never_a_panic(
        damage in prop::collection::vec((0..120usize, any::<u8>()), 0..12),
        bits in prop::sample::select(vec![8u16, 16, 24, 32]),
        cut in 0..400usize,
    ) {
        let mut bytes = foreign(bits, SampleFormat::Int, 2, 16_000, 40);
        for (at, value) in damage {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        bytes.truncate(bytes.len().saturating_sub(cut));
        if let Ok(pcm) = read(bytes.as_slice()) {
            prop_assert!(!pcm.samples.is_empty());
            prop_assert!(pcm.samples.iter().all(|sample| sample.abs() <= 1.0));
        }
    }
}

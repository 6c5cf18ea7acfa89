//! One tone in each container, and what is done to files by accident and on purpose.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::*;
use crate::level::peak;

const RATE: SampleRate = SampleRate::HZ_16000;
const LONGEST: Duration = Duration::from_secs(60);
/// A second of 440 Hz in stereo, 0.5 on the left and 0.25 on the right; see `fixtures/make.py`.
const TONES: [(&str, &[u8]); 6] = [
    ("flac", include_bytes!("fixtures/tone.flac")),
    ("mp3", include_bytes!("fixtures/tone.mp3")),
    ("ogg vorbis", include_bytes!("fixtures/vorbis.ogg")),
    ("ogg opus", include_bytes!("fixtures/opus.ogg")),
    ("webm opus", include_bytes!("fixtures/opus.webm")),
    ("m4a", include_bytes!("fixtures/aac.m4a")),
];

/// How often the sign changes from minus to plus, a second.
fn pitch(pcm: &Pcm) -> f64 {
    let rises = pcm.samples.windows(2).filter(|pair| pair[0] < 0.0 && pair[1] >= 0.0).count();
    rises as f64 / pcm.duration().as_secs_f64()
}

fn wav(seconds: usize, hertz: u32) -> Vec<u8> {
    let rate = SampleRate::new(hertz).unwrap();
    let samples =
        (0..seconds * hertz as usize).map(|n| (n as f32 * 440.0 * std::f32::consts::TAU / hertz as f32).sin());
    let mut bytes = Vec::new();
    crate::wav::write(&Pcm::new(rate, samples.collect()), &mut bytes).unwrap();
    bytes
}

#[test]
fn a_tone_is_the_same_tone_whatever_it_is_kept_in() {
    let wav = wav(1, 44_100);
    for (name, bytes) in TONES.into_iter().chain([("wav", &*wav.leak())]) {
        let pcm = read(bytes, RATE, LONGEST).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(pcm.rate, RATE);
        // Encoders pad to their frame, and MP3 and AAC say nothing of it that is read here.
        let seconds = pcm.duration().as_secs_f64();
        assert!((0.97..1.1).contains(&seconds), "{name}: {seconds} s");
        assert!((pitch(&pcm) - 440.0).abs() < 440.0 * 0.05, "{name}: {} Hz", pitch(&pcm));
        let level = peak(&pcm.samples[4_000..12_000]);
        let expected = if name == "wav" { 1.0 } else { 0.375 };
        assert!((level - expected).abs() < 0.06, "{name}: {level}");
    }
}

#[test]
fn a_small_file_that_unfolds_to_hours_is_refused_before_it_is_held() {
    let silence = {
        let mut writer = crate::ogg::OggOpusWriter::new(Vec::new()).unwrap();
        for _ in 0..90 {
            writer.push(&Pcm::new(RATE, vec![0.0; 16_000])).unwrap();
        }
        writer.finish().unwrap()
    };
    assert!(silence.len() < 60_000, "{}", silence.len());
    assert!(matches!(read(silence, RATE, LONGEST), Err(RecordingError::TooLong(longest)) if longest == LONGEST));
    assert!(matches!(read(wav(3, 8_000), RATE, Duration::from_secs(2)), Err(RecordingError::TooLong(_))));
}

#[test]
fn what_is_no_recording_is_named() {
    assert!(matches!(read(b"", RATE, LONGEST), Err(RecordingError::Nothing)));
    for bytes in [&b"a text"[..], &[0; 5_000], b"RIFF\0\0\0\0WAVE", b"<html><body></body></html>"] {
        assert!(read(bytes, RATE, LONGEST).is_err());
    }
    assert!(read(wav(0, 16_000), RATE, LONGEST).is_err());
}

#[test]
fn a_recording_that_broke_off_is_good_up_to_there() {
    for (name, bytes) in [TONES[0], TONES[1], TONES[3]] {
        let half = read(&bytes[..bytes.len() / 2], RATE, LONGEST).map(|pcm| pcm.duration().as_secs_f64());
        // FLAC of a tone is hardly longer than its header; Opus has a page a second, so that nothing of it may be whole.
        if name != "ogg opus" {
            let seconds = half.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!((0.1..0.9).contains(&seconds), "{name}: {seconds} s");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_damaged_file_is_an_error_or_audio_never_a_panic(
        which in 0..TONES.len(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..24),
        cut in any::<prop::sample::Index>(),
        whole in any::<bool>(),
    ) {
        let mut bytes = TONES[which].1.to_vec();
        for (index, value) in damage {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        if !whole {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(pcm) = read(bytes, RATE, LONGEST) {
            prop_assert!(pcm.samples.iter().all(|sample| sample.abs() <= 1.1));
        }
    }
}

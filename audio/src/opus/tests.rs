#![allow(clippy::unwrap_used)]

use super::*;
use crate::level::rms;

/// A voice as a codec sees it: pulses at 120 Hz through two resonances, swelling four times a second.
fn voice(samples: usize) -> Vec<f32> {
    let mut state = [0.0f32; 4];
    (0..samples)
        .map(|n| {
            let pulse = if n % 400 == 0 { 1.0 } else { 0.0 };
            let mut resonate = |at: usize, hertz: f32, input: f32| {
                let (r, angle) = (0.995f32, std::f32::consts::TAU * hertz / 48_000.0);
                let output = input + 2.0 * r * angle.cos() * state[at] - r * r * state[at + 1];
                (state[at + 1], state[at]) = (state[at], output);
                output
            };
            let first = resonate(0, 600.0, pulse);
            let second = resonate(2, 1_500.0, pulse);
            let swell = 0.55 - 0.45 * (n as f32 * std::f32::consts::TAU * 4.0 / 48_000.0).cos();
            (first + second) * 0.03 * swell
        })
        .collect()
}

fn packets(settings: EncoderSettings, samples: &[f32]) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(settings).unwrap();
    samples.chunks_exact(FRAME_SAMPLES).map(|frame| encoder.encode(frame).unwrap()).collect()
}

#[test]
fn every_duration_from_2_5_to_120_ms_decodes_to_its_length() {
    for samples in [120, 240, 480, 960, 1_920, 2_880, 3_840, 4_800, 5_760] {
        let mut encoder = ::opus::Encoder::new(48_000, Channels::Mono, Application::Voip).unwrap();
        let packet = encoder.encode_vec_float(&voice(samples), 4_000).unwrap();
        assert_eq!(packet_samples(&packet), Ok(samples));
        let mut out = vec![9.0];
        assert_eq!(Decoder::new().unwrap().decode(&packet, &mut out), Ok(samples));
        assert_eq!(out.len(), samples + 1, "appended");
    }
}

#[test]
fn a_stereo_packet_is_heard_in_mono() {
    let mut encoder = ::opus::Encoder::new(48_000, Channels::Stereo, Application::Voip).unwrap();
    let mut decoder = Decoder::new().unwrap();
    let mut out = Vec::new();
    for frame in voice(9_600).chunks_exact(960) {
        let stereo: Vec<f32> = frame.iter().flat_map(|sample| [*sample, *sample]).collect();
        decoder.decode(&encoder.encode_vec_float(&stereo, 4_000).unwrap(), &mut out).unwrap();
    }
    assert_eq!(out.len(), 9_600);
    let ratio = rms(&out) / rms(&voice(9_600));
    assert!((0.8..1.2).contains(&ratio), "level changed by {ratio}");
}

#[test]
fn a_corrupt_packet_is_an_error_that_leaves_the_output_alone() {
    let mut decoder = Decoder::new().unwrap();
    let mut out = vec![0.5; 3];
    // Code 3 with 48 frames of 20 ms, code 2 with a length beyond the end, code 3 without its count, nothing at all.
    for packet in [&[0x0b, 48][..], &[0x0a, 252, 255], &[0x0b], &[]] {
        assert!(matches!(decoder.decode(packet, &mut out), Err(OpusError::Corrupt { .. })), "{packet:?}");
        assert!(decoder.recover(packet, 960, &mut out).is_err());
        assert_eq!(redundancy_samples(packet), 0);
    }
    assert_eq!(out, [0.5; 3]);
    assert_eq!(decoder.conceal(1_000, &mut out), 960, "whole 2.5 ms");
    assert_eq!(out.len(), 963);
}

#[test]
fn fec_of_the_following_packet_is_closer_to_what_was_lost_than_concealment() {
    let said = voice(48_000);
    let sent = packets(EncoderSettings { expected_loss: 20, ..EncoderSettings::default() }, &said);
    let (mut with_fec, mut without, mut tried) = (0.0, 0.0, 0);
    for lost in (10..49).step_by(3).filter(|lost| redundancy_samples(&sent[lost + 1]) == FRAME_SAMPLES) {
        let mut clean = Vec::new();
        let mut decoder = Decoder::new().unwrap();
        sent[..=lost].iter().for_each(|packet| assert!(decoder.decode(packet, &mut clean).is_ok()));
        let wanted = &clean[lost * FRAME_SAMPLES..];
        for fec in [true, false] {
            let mut decoder = Decoder::new().unwrap();
            let mut heard = Vec::new();
            sent[..lost].iter().for_each(|packet| assert!(decoder.decode(packet, &mut heard).is_ok()));
            heard.clear();
            if fec {
                decoder.recover(&sent[lost + 1], FRAME_SAMPLES, &mut heard).unwrap();
            } else {
                decoder.conceal(FRAME_SAMPLES, &mut heard);
            }
            let error: Vec<f32> = heard.iter().zip(wanted).map(|(a, b)| a - b).collect();
            *(if fec { &mut with_fec } else { &mut without }) += rms(&error);
        }
        tried += 1;
    }
    assert!(tried >= 8, "only {tried} packets carried redundancy");
    assert!(with_fec < 0.8 * without, "error {with_fec} with FEC, {without} without");
}

#[test]
fn without_expected_loss_no_redundancy_is_claimed() {
    let sent = packets(EncoderSettings { expected_loss: 0, ..EncoderSettings::default() }, &voice(48_000));
    assert!(sent.iter().all(|packet| redundancy_samples(packet) == 0));
    let bits = sent.iter().map(Vec::len).sum::<usize>() * 8;
    assert!((20_000..34_000).contains(&bits), "{bits} bits in a second");
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    let settings = EncoderSettings { bitrate: 1, ..EncoderSettings::default() };
    let message = Encoder::new(settings).unwrap_err().to_string();
    assert!(message.contains("bitrate of 1") && message.contains("6000 to 128000"), "{message}");
    let mut encoder = Encoder::new(EncoderSettings::default()).unwrap();
    assert!(encoder.expect_loss(101).is_err());
    assert!(encoder.set_bitrate(24_000).is_ok());
    assert_eq!(encoder.encode(&[0.0; 100]), Err(OpusError::FrameLength { samples: 100 }));
}

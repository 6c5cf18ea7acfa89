#![allow(clippy::unwrap_used)]

use super::*;
use crate::level::{dbfs, largest_step, peak, rms};

fn sine(rate: u32, hertz: f64, samples: usize) -> Vec<f32> {
    (0..samples).map(|n| (0.5 * (std::f64::consts::TAU * hertz * n as f64 / f64::from(rate)).sin()) as f32).collect()
}

fn rate(hertz: u32) -> SampleRate {
    SampleRate::new(hertz).unwrap()
}

fn whole(from: u32, to: u32, samples: Vec<f32>) -> Vec<f32> {
    resample(&Pcm::new(rate(from), samples), rate(to)).unwrap().samples
}

#[test]
fn chunk_boundaries_leave_no_trace() {
    for (from, to) in [(48_000, 16_000), (16_000, 48_000), (22_050, 48_000), (44_100, 48_000), (44_101, 48_000)] {
        let input = sine(from, 440.0, from as usize / 2);
        let expected = whole(from, to, input.clone());
        for chunk in [1, 160, 441, 960, 5_000] {
            let mut resampler = Resampler::aligned(rate(from), rate(to)).unwrap();
            let mut output = Vec::new();
            input.chunks(chunk).for_each(|piece| resampler.push(piece, &mut output));
            resampler.flush(&mut output);
            assert_eq!(output, expected, "{from} to {to} in chunks of {chunk}");
        }
        let middle = &expected[expected.len() / 10..expected.len() * 9 / 10];
        let steepest = 0.5 * std::f32::consts::TAU * 440.0 / to as f32;
        assert!(largest_step(middle) < 1.01 * steepest, "{from} to {to} has a step of {}", largest_step(middle));
    }
}

#[test]
fn any_rate_to_any_rate_keeps_length_pitch_and_place() {
    let rates = [1_000, 8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 47_999, 48_000, 96_000, 384_000];
    for from in rates {
        for to in rates {
            let output = whole(from, to, sine(from, 100.0, from as usize / 2));
            assert_eq!(
                output.len(),
                ((from as usize / 2 * to as usize) as f64 / f64::from(from)).round() as usize,
                "{from} to {to}"
            );
            let wanted = sine(to, 100.0, output.len());
            let inside = output.len() / 5..output.len() * 4 / 5;
            let error: Vec<f32> = output[inside.clone()].iter().zip(&wanted[inside]).map(|(a, b)| a - b).collect();
            // The lag need not be a whole number of output samples.
            let most = 0.005 + 0.5 * std::f32::consts::TAU * 100.0 / to as f32;
            assert!(peak(&error) < most, "{from} to {to} is off by {}", peak(&error));
        }
    }
}

#[test]
fn what_16_khz_cannot_hold_is_gone_and_speech_is_untouched() {
    let level = |hertz: f64| {
        let output = whole(48_000, 16_000, sine(48_000, hertz, 24_000));
        dbfs(rms(&output[1_000..7_000]) / (0.5 / 2f32.sqrt()))
    };
    for hertz in [100.0, 1_000.0, 3_000.0, 6_000.0, 6_900.0] {
        assert!(level(hertz).abs() < 0.1, "{hertz} Hz at {} dB", level(hertz));
    }
    // Steps that fall on no regular grid, for a filter has its nulls on one.
    for hertz in (0..120).map(|step| 8_020.0 + 127.3 * f64::from(step)) {
        assert!(level(hertz) < -90.0, "{hertz} Hz at {} dB", level(hertz));
    }
}

#[test]
fn the_live_lag_is_what_it_says_and_no_chunk_waits_for_the_next() {
    for (from, to, delay) in [(48_000, 16_000, 2_500), (16_000, 48_000, 2_500), (24_000, 48_000, 2_500)] {
        let mut resampler = Resampler::new(rate(from), rate(to)).unwrap();
        assert_eq!(resampler.delay(), Duration::from_micros(delay), "{from} to {to}");
        let chunk = from as usize / 50;
        let mut input = vec![0.0; 5 * chunk];
        input[chunk] = 1.0;
        let mut output = Vec::new();
        for (index, piece) in input.chunks(chunk).enumerate() {
            resampler.push(piece, &mut output);
            assert_eq!(output.len(), (index + 1) * to as usize / 50, "{from} to {to}");
        }
        let loudest = (0..output.len()).max_by(|a, b| output[*a].total_cmp(&output[*b])).unwrap();
        let lag = rate(to).duration_of(loudest) - Duration::from_millis(20);
        assert_eq!(lag, resampler.delay());
    }
}

#[test]
fn flush_gives_the_tail_and_makes_ready_for_the_next_stream() {
    let mut resampler = Resampler::aligned(rate(16_000), rate(48_000)).unwrap();
    let (mut first, mut second) = (Vec::new(), Vec::new());
    resampler.flush(&mut first);
    assert!(first.is_empty(), "nothing in, nothing out");
    let input = sine(16_000, 300.0, 1_001);
    resampler.push(&input, &mut first);
    resampler.flush(&mut first);
    resampler.push(&input, &mut second);
    resampler.flush(&mut second);
    assert_eq!(first.len(), 3_003);
    assert_eq!(first, second);
}

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::level::{largest_step, rms};
use crate::opus::{Encoder, EncoderSettings};

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A packet on its way: when it arrives, its sequence number, timestamp and payload.
type Sent = (Duration, u16, u32, Vec<u8>);

/// Pulses at 120 Hz through two resonances, swelling four times a second: a voice to a codec.
fn voice(samples: usize) -> Vec<f32> {
    let mut state = [0.0f32; 4];
    let mut resonate = |at: usize, hertz: f32, input: f32| {
        let (r, angle) = (0.995f32, std::f32::consts::TAU * hertz / 48_000.0);
        let output = input + 2.0 * r * angle.cos() * state[at] - r * r * state[at + 1];
        (state[at + 1], state[at]) = (state[at], output);
        output
    };
    (0..samples)
        .map(|n| {
            let pulse = if n % 400 == 0 { 0.03 } else { 0.0 };
            let swell = 0.55 - 0.45 * (n as f32 * std::f32::consts::TAU * 4.0 / 48_000.0).cos();
            (resonate(0, 600.0, pulse) + resonate(2, 1_500.0, pulse)) * swell
        })
        .collect()
}

fn sent(samples: &[f32], fec: bool) -> Vec<Sent> {
    let mut encoder = Encoder::new(EncoderSettings { fec, expected_loss: 15, ..EncoderSettings::default() }).unwrap();
    let packet = |(n, frame): (usize, &[f32])| {
        (ms(20 * n as u64), 65_000u16.wrapping_add(n as u16), n as u32 * 960, encoder.encode(frame).unwrap())
    };
    samples.chunks_exact(960).enumerate().map(packet).collect()
}

/// Lets the packets arrive, in the order of time, and time pass between them as the way in asks for.
fn listen(mut packets: Vec<Sent>, until: Duration) -> (Vec<HeardFrame>, InboundStats) {
    let start = Instant::now();
    let mut inbound = Inbound::new().unwrap();
    let mut heard = Vec::new();
    packets.sort_by_key(|packet| packet.0);
    let wait = |inbound: &mut Inbound, heard: &mut Vec<HeardFrame>, until: Duration| {
        while let Some(wake) = inbound.next_wake().filter(|wake| *wake < start + until) {
            let before = (heard.len(), wake);
            heard.extend(std::iter::from_fn(|| inbound.poll(wake)));
            assert!(heard.len() > before.0 || inbound.next_wake() != Some(wake), "asked to be woken for nothing");
        }
    };
    for (at, sequence, timestamp, payload) in packets {
        wait(&mut inbound, &mut heard, at);
        inbound.receive(start + at, sequence, timestamp, &payload);
        heard.extend(std::iter::from_fn(|| inbound.poll(start + at)));
    }
    wait(&mut inbound, &mut heard, until);
    assert!(heard.iter().all(|frame| frame.samples.len() == HEARD_FRAME));
    assert!(heard.is_sorted_by_key(|frame| frame.arrived), "arrival times run backwards");
    (heard, inbound.stats())
}

fn samples(frames: &[HeardFrame]) -> Vec<f32> {
    frames.iter().flat_map(|frame| frame.samples.iter().copied()).collect()
}

fn difference(a: &[HeardFrame], b: &[HeardFrame]) -> f32 {
    rms(&samples(a).iter().zip(samples(b)).map(|(a, b)| a - b).collect::<Vec<_>>())
}

fn lose(packets: &[Sent], mut lost: impl FnMut(usize) -> bool) -> Vec<Sent> {
    // The first and last stay, so that both ends are at their place.
    let inside = 1..packets.len() - 1;
    let kept = packets.iter().enumerate().filter(|(n, _)| !inside.contains(n) || !lost(*n));
    kept.map(|(_, packet)| packet.clone()).collect()
}

#[test]
fn on_a_clean_link_each_packet_is_a_frame_at_once() {
    let packets = sent(&voice(48_000), true);
    let start = Instant::now();
    let mut inbound = Inbound::new().unwrap();
    for (at, sequence, timestamp, payload) in packets {
        inbound.receive(start + at, sequence, timestamp, &payload);
        let frame = inbound.poll(start + at).unwrap();
        assert_eq!((frame.arrived, frame.concealed), (start + at, false));
        assert_eq!(inbound.poll(start + at), None);
    }
}

#[test]
fn ten_percent_loss_is_mostly_recovered_and_keeps_the_time() {
    let said = voice(20 * 48_000);
    let run = |fec: bool| {
        let packets = sent(&said, fec);
        let (clean, _) = listen(packets.clone(), ms(20_000));
        let mut dice = StdRng::seed_from_u64(7);
        let lost: Vec<bool> = packets.iter().map(|_| dice.random_bool(0.1)).collect();
        let recoverable = (1..packets.len() - 1)
            .filter(|n| lost[*n] && !(lost[n + 1] && n + 2 < packets.len()))
            .filter(|n| opus::redundancy_samples(&packets[n + 1].3) > 0);
        let recoverable = recoverable.count() as u64;
        let (heard, stats) = listen(lose(&packets, |n| lost[n]), ms(20_000));
        assert_eq!(heard.len(), 1_000, "as many frames as were said");
        assert!((70..130).contains(&stats.network.lost), "{stats:?}");
        assert_eq!(stats.network.recovered, recoverable, "{stats:?}");
        let made_up = heard.iter().filter(|frame| frame.concealed).count() as u64;
        assert_eq!(made_up, stats.network.lost - recoverable, "{stats:?}");
        (difference(&clean, &heard) / rms(&samples(&clean)), stats.network)
    };
    let (with, stats) = run(true);
    let (without, _) = run(false);
    assert!(stats.recovered * 100 >= stats.lost * 60, "{stats:?}");
    assert!(with < 0.8 * without, "error {with} with FEC, {without} without");
}

#[test]
fn a_burst_of_losses_takes_its_time_and_no_more() {
    let packets = sent(&voice(3 * 48_000), true);
    let (clean, _) = listen(packets.clone(), ms(3_000));
    let (heard, stats) = listen(lose(&packets, |n| (53..68).contains(&n)), ms(3_000));
    assert_eq!((heard.len(), stats.network.lost), (150, 15));
    assert_eq!(heard.iter().filter(|frame| frame.concealed).count(), 14, "{stats:?}");
    assert!(rms(&samples(&heard[58..66])) < 0.001, "long concealment is silence");
    assert!(difference(&clean[80..], &heard[80..]) < 0.02 * rms(&samples(&clean)), "the decoder finds back");
}

#[test]
fn reordering_by_50_ms_is_put_right_once_the_link_is_known() {
    let packets = sent(&voice(20 * 48_000), true);
    let (clean, _) = listen(packets.clone(), ms(20_000));
    let mut dice = StdRng::seed_from_u64(3);
    let mut reordered = packets;
    reordered.iter_mut().for_each(|packet| packet.0 += ms(dice.random_range(0..=50)));
    let (heard, stats) = listen(reordered, ms(20_050));
    assert_eq!(stats.network.received, 1_000);
    assert!(stats.network.late <= 5, "{stats:?}");
    // The few that were given up while the link was new were recovered or made up in their place.
    assert!(heard.len().abs_diff(1_000) <= 2, "{} frames", heard.len());
    let steady = 500..1_000;
    assert_eq!(samples(&clean[steady.clone()]), samples(&heard[steady]), "sample for sample");
}

#[test]
fn a_tone_has_no_step_at_any_joint() {
    let tone: Vec<f32> =
        (0..96_000).map(|n| 0.5 * (n as f32 * std::f32::consts::TAU * 300.0 / 48_000.0).sin()).collect();
    let (heard, _) = listen(sent(&tone, true), ms(2_000));
    let steepest = 0.5 * std::f32::consts::TAU * 300.0 / 16_000.0;
    assert!(largest_step(&samples(&heard)) < 1.25 * steepest, "{}", largest_step(&samples(&heard)));
}

#[test]
fn a_corrupt_packet_costs_its_own_time() {
    let mut packets = sent(&voice(48_000), true);
    packets[20].3 = vec![0x0b];
    packets[30].3 = vec![0xff; 70_000];
    let (heard, stats) = listen(packets, ms(1_000));
    assert_eq!((heard.len(), stats.corrupt, stats.network.lost), (50, 2, 0));
    assert_eq!(heard.iter().filter(|frame| frame.concealed).count(), 2);
}

#[test]
fn a_caller_who_mutes_is_heard_as_silence_in_real_time() {
    let mut packets = sent(&voice(48_000), true);
    let later: Vec<Sent> = packets.iter().skip(25).map(|(at, s, t, p)| (*at + ms(3_000), *s, *t, p.clone())).collect();
    packets.truncate(25);
    packets.extend(later);
    let (heard, stats) = listen(packets, ms(4_000));
    let length = 20 * heard.len() as u64;
    assert!((3_900..=4_000).contains(&length), "{length} ms of 4 s");
    assert!(rms(&samples(&heard[40..150])) < 1e-4);
    assert!(stats.network.paused >= ms(2_900) && stats.network.lost == 0, "{stats:?}");
}

#[test]
fn packets_of_other_lengths_are_cut_into_frames_of_20_ms() {
    for ticks in [120, 480, 1_920, 2_880, 5_760] {
        let mut encoder = ::opus::Encoder::new(48_000, ::opus::Channels::Stereo, ::opus::Application::Voip).unwrap();
        let stereo: Vec<f32> = voice(57_600).iter().flat_map(|sample| [*sample, *sample]).collect();
        let packet = |(n, frame): (usize, &[f32])| {
            let at = Duration::from_micros(n as u64 * ticks as u64 * 1_000 / 48);
            (at, n as u16, (n * ticks) as u32, encoder.encode_vec_float(frame, 8_000).unwrap())
        };
        let packets: Vec<Sent> = stereo.chunks_exact(2 * ticks).enumerate().map(packet).collect();
        let (heard, stats) = listen(packets, ms(1_200));
        assert_eq!((heard.len(), stats.corrupt), (60, 0), "{ticks} ticks a packet");
    }
}

#[test]
fn a_new_sender_is_heard_from_its_first_packet() {
    let first = sent(&voice(24_000), true);
    let second = sent(&voice(48_000), true);
    let mut packets = first;
    packets.extend(second.into_iter().map(|(at, s, t, p)| (at + ms(500), s.wrapping_add(20_000), t + 9_999, p)));
    let (heard, stats) = listen(packets, ms(1_500));
    assert_eq!((heard.len(), stats.network.restarts, stats.network.lost), (75, 1, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Whatever arrives: no panic, whole finite frames, no more of them than what arrived and the time that passed allow.
    #[test]
    fn a_hostile_sender_cannot_crash_or_flood_the_listener(
        packets in prop::collection::vec(
            (
                0..200u64,
                prop_oneof![0..40u16, any::<u16>()],
                prop_oneof![(0..60u32).prop_map(|n| n * 960), any::<u32>()],
                prop::collection::vec(any::<u8>(), 0..90),
            ),
            1..60,
        ),
    ) {
        let start = Instant::now();
        let mut inbound = Inbound::new().unwrap();
        let (mut at, mut heard, count) = (Duration::ZERO, 0u64, packets.len() as u64);
        for (wait, sequence, timestamp, payload) in packets {
            at += ms(wait);
            inbound.receive(start + at, sequence, timestamp, &payload);
            while let Some(frame) = inbound.poll(start + at) {
                prop_assert_eq!(frame.samples.len(), HEARD_FRAME);
                prop_assert!(frame.samples.iter().all(|sample| sample.is_finite()));
                heard += 1;
            }
        }
        let bound = at + ms(200 + 120) * count as u32;
        prop_assert!(ms(20 * heard) <= bound, "{} frames", heard);
    }
}

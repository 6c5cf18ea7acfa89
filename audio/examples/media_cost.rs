//! What a call's media costs: the full way in and out against a bare echo (decode and encode), in percent of a core.
//!
//! `cargo run -p audio --example media_cost [SECONDS]`

#![allow(clippy::print_stdout, reason = "the numbers are what it is for")]

use std::error::Error;
use std::time::{Duration, Instant};

use audio::inbound::Inbound;
use audio::opus::{Decoder, Encoder, EncoderSettings, FRAME_SAMPLES, RATE};
use audio::outbound::Outbound;
use audio::pcm::{Pcm, SampleRate};
use audio::resample::resample;

/// Pulses at 120 Hz through a resonance, half a second of voice and half a second of quiet.
fn voice(samples: usize) -> Vec<f32> {
    let (mut last, mut before) = (0.0f32, 0.0f32);
    (0..samples)
        .map(|n| {
            let pulse = if n % 400 == 0 && n / 24_000 % 2 == 0 { 0.05 } else { 0.0 };
            let next = pulse + 1.98 * last * (0.08f32).cos() - 0.985 * before;
            (before, last) = (last, next);
            next
        })
        .collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    let seconds: usize = std::env::args().nth(1).map_or(Ok(60), |text| text.parse())?;
    let said = voice(48_000 * seconds);
    let reply = resample(&Pcm::new(RATE, said.clone()), SampleRate::HZ_16000)?;
    let mut encoder = Encoder::new(EncoderSettings::default())?;
    let packets = said.chunks_exact(FRAME_SAMPLES).map(|frame| encoder.encode(frame)).collect::<Result<Vec<_>, _>>()?;

    let mut rounds = Vec::new();
    for _ in 0..3 {
        let bare = echo(&packets)?;
        let (inward, outward) = (listen(&packets)?, speak(&reply, packets.len())?);
        rounds.push((bare, inward, outward));
    }
    // The quietest round: what others ran beside it is not the call's cost.
    let percent = |least: Option<Duration>| 100.0 * least.unwrap_or_default().as_secs_f64() / seconds as f64;
    let bare = percent(rounds.iter().map(|round| round.0).min());
    let inward = percent(rounds.iter().map(|round| round.1).min());
    let outward = percent(rounds.iter().map(|round| round.2).min());
    println!("bare echo (decode, encode)         {bare:.3} % of a core");
    println!("way in  (jitter, decode, 16 kHz)   {inward:.3} %");
    println!("way out (48 kHz, playout, encode)  {outward:.3} %");
    println!(
        "both                               {:.3} %, {:.2} of the bare echo",
        inward + outward,
        (inward + outward) / bare
    );
    Ok(())
}

fn echo(packets: &[Vec<u8>]) -> Result<Duration, Box<dyn Error>> {
    let (mut decoder, mut encoder) = (Decoder::new()?, Encoder::new(EncoderSettings::default())?);
    let mut samples = Vec::new();
    let began = Instant::now();
    for packet in packets {
        samples.clear();
        decoder.decode(packet, &mut samples)?;
        std::hint::black_box(encoder.encode(&samples)?);
    }
    Ok(began.elapsed())
}

fn listen(packets: &[Vec<u8>]) -> Result<Duration, Box<dyn Error>> {
    let mut inbound = Inbound::new()?;
    let began = Instant::now();
    let mut now = began;
    for (number, packet) in packets.iter().enumerate() {
        inbound.receive(now, number as u16, number as u32 * 960, packet);
        while let Some(frame) = inbound.poll(now) {
            std::hint::black_box(frame);
        }
        now += Duration::from_millis(20);
    }
    Ok(began.elapsed())
}

fn speak(reply: &Pcm, frames: usize) -> Result<Duration, Box<dyn Error>> {
    let mut outbound = Outbound::new(EncoderSettings::default())?;
    let began = Instant::now();
    let mut chunks = reply.samples.chunks(320);
    for _ in 0..frames {
        if let Some(chunk) = chunks.next() {
            outbound.speak((), Pcm::new(reply.rate, chunk.to_vec()))?;
        }
        std::hint::black_box(outbound.next_frame());
        while let Some(notice) = outbound.notice() {
            std::hint::black_box(notice);
        }
    }
    Ok(began.elapsed())
}

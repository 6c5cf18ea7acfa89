//! Chunks in, frames out.

use std::time::{Duration, Instant};

use audio::level::rms;
use audio::pcm::SampleRate;

use crate::line::CallerAudio;
use crate::ws_chat::hearing::{AHEAD_BOUND, ChunkError, Hearing};

const CHUNK: Duration = Duration::from_millis(300);
const MS: Duration = Duration::from_millis(1);

fn tone(rate: SampleRate, length: Duration) -> Vec<f32> {
    let step = std::f32::consts::TAU * 440.0 / rate.hertz() as f32;
    (0..rate.samples_in(length)).map(|n| 0.5 * (step * n as f32).sin()).collect()
}

fn frames(hearing: &mut Hearing) -> Vec<CallerAudio> {
    std::iter::from_fn(|| hearing.frame()).collect()
}

#[test]
fn every_rate_becomes_the_same_sound_in_the_same_time() {
    for hertz in [8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000, 96_000] {
        let rate = SampleRate::new(hertz).unwrap();
        let (mut hearing, start) = (Hearing::default(), Instant::now());
        for n in 0..10 {
            hearing.receive(start + CHUNK * n, rate, &tone(rate, CHUNK)).unwrap();
        }
        let heard = frames(&mut hearing);
        // Less what is still inside the filter.
        assert!((146..=150).contains(&heard.len()), "{hertz}: {} frames", heard.len());
        assert!(heard.iter().all(|frame| frame.samples.len() == 320 && !frame.concealed), "{hertz}");
        let level = rms(&heard[20].samples);
        assert!((0.30..0.40).contains(&level), "{hertz}: {level}");
        assert!(heard.windows(2).all(|pair| pair[0].arrived <= pair[1].arrived), "{hertz}");
    }
}

#[test]
fn a_client_that_stops_sending_is_heard_to_be_silent() {
    let (mut hearing, start) = (Hearing::default(), Instant::now());
    assert_eq!(hearing.next_wake(), None, "nothing is made up before the first chunk");
    let rate = SampleRate::HZ_16000;
    for n in 0..5 {
        hearing.receive(start + CHUNK * n, rate, &tone(rate, CHUNK)).unwrap();
    }
    assert_eq!(frames(&mut hearing).len(), 75);
    let last = start + CHUNK * 4;
    hearing.fill(last + 650 * MS);
    assert!(!hearing.has_frame(), "the next chunk is not overdue yet");
    // From then on the clock of the call is the clock on the wall.
    let mut now = last;
    while now < last + 3_000 * MS {
        now = hearing.next_wake().unwrap();
        hearing.fill(now);
    }
    let silence = frames(&mut hearing);
    assert!((145..=152).contains(&silence.len()), "{}", silence.len());
    assert!(silence.iter().all(|frame| frame.concealed && rms(&frame.samples) == 0.0));
    // And what comes then is heard as it is.
    hearing.receive(now, rate, &tone(rate, CHUNK)).unwrap();
    assert_eq!(frames(&mut hearing).iter().filter(|frame| !frame.concealed).count(), 15);
}

#[test]
fn a_steady_stream_of_late_and_long_chunks_has_no_silence_in_it() {
    let rate = SampleRate::HZ_16000;
    for (length, late) in [(CHUNK, 350), (900 * MS, 300), (20 * MS, 100), (2_000 * MS, 100)] {
        let (mut hearing, start) = (Hearing::default(), Instant::now());
        let mut made_up = 0;
        for n in 0..8_u32 {
            let now = start + length * n + (n % 2) * late * MS;
            hearing.fill(now);
            hearing.receive(now, rate, &tone(rate, length)).unwrap();
            let heard = frames(&mut hearing);
            // Only the first of long chunks may be taken for the only one.
            made_up += heard.iter().filter(|frame| frame.concealed).count() * usize::from(n > 1);
        }
        assert_eq!(made_up, 0, "{length:?}");
    }
}

#[test]
fn a_flood_is_refused_and_real_time_goes_on() {
    let rate = SampleRate::HZ_16000;
    let (mut hearing, start) = (Hearing::default(), Instant::now());
    let mut taken = Duration::ZERO;
    for _ in 0..1_000 {
        match hearing.receive(start, rate, &tone(rate, CHUNK)) {
            Ok(()) => taken += CHUNK,
            Err(error) => assert_eq!(error, ChunkError::Ahead),
        }
    }
    assert!(taken <= AHEAD_BOUND && taken > AHEAD_BOUND - 2 * CHUNK, "{taken:?}");
    assert!(frames(&mut hearing).len() <= 1_500);
    // As time goes by there is room for as much again.
    let later = start + 10_000 * MS;
    let again = (0..1_000).take_while(|_| hearing.receive(later, rate, &tone(rate, CHUNK)).is_ok()).count();
    assert!((32..=34).contains(&again), "{again}");
}

#[test]
fn a_call_that_takes_nothing_bounds_what_waits() {
    let rate = SampleRate::HZ_16000;
    let (mut hearing, start) = (Hearing::default(), Instant::now());
    for n in 0..1_000 {
        let now = start + CHUNK * n;
        hearing.fill(now);
        let _refused = hearing.receive(now, rate, &tone(rate, CHUNK));
    }
    hearing.fill(start + Duration::from_secs(3_600));
    assert!(frames(&mut hearing).len() <= 1_500 + 15);
}

//! What the engines get to hear of a caller: every sample once, in order, and nobody else's.

use std::sync::atomic::Ordering;

use models::vad::WINDOW;
use signaling::line::Outcome;

use super::caller::{House, LOUD};
use super::engines::Script;

#[tokio::test(start_paused = true)]
async fn the_detector_is_shown_every_sample_once_and_in_order() {
    let house = House::new();
    let mut caller = house.call();
    // Frames of 20 ms, and odd ones as a door that resamples may make them.
    let lengths = [320, 320, 320, 1, 319, 511, 512, 513, 0, 1_700, 320, 7];
    let mut sent = Vec::new();
    for (n, length) in lengths.into_iter().cycle().take(240).enumerate() {
        let samples: Vec<f32> = (0..length).map(|at| (sent.len() + at) as f32 * 1e-7 + (n % 2) as f32 * 1e-9).collect();
        sent.extend_from_slice(&samples);
        caller.frame(samples).await;
    }
    let shown = house.engines.detector.shown.lock().unwrap();
    assert_eq!(shown.len(), sent.len() / WINDOW * WINDOW, "whole windows, as many as there can be");
    assert!(shown[..] == sent[..shown.len()]);
}

#[tokio::test(start_paused = true)]
async fn the_transcriber_gets_the_whole_turn_without_a_hole() {
    let house = House::new();
    let mut caller = house.call();
    caller.silence(1_000).await;
    // Loud all along, and no two samples alike.
    let samples: Vec<f32> = (0..16_000 * 2).map(|n| LOUD + n as f32 * 1e-5).collect();
    for frame in samples.chunks(320) {
        caller.frame(frame.to_vec()).await;
    }
    caller.silence(1_000).await;
    let finals = house.engines.finals();
    let audio = &finals[0].audio;
    let first = audio.iter().position(|sample| *sample > 0.0).unwrap();
    assert!(first >= 16 * 300, "the pre-roll is {first} samples");
    assert!(audio[first..first + samples.len()] == samples[..]);
    assert!(audio[first + samples.len()..].iter().all(|sample| *sample == 0.0));
}

#[tokio::test(start_paused = true)]
async fn a_detector_that_fails_is_taken_for_silence_and_the_call_goes_on() {
    let house = House::new();
    let mut caller = house.call();
    house.engines.detector.broken.store(true, Ordering::Relaxed);
    caller.say(1_000).await;
    caller.silence(1_000).await;
    assert!(house.engines.ear.desk.requests().is_empty());
    house.engines.detector.broken.store(false, Ordering::Relaxed);
    caller.exchange().await;
    assert_eq!(caller.outcomes(), [Outcome::Completed]);
}

#[tokio::test(start_paused = true)]
async fn calls_at_the_same_time_never_get_each_others_words() {
    // Each caller has an amplitude of their own, by which the ear knows them; a mixture is nobody's.
    let amplitudes = [0.1_f32, 0.2, 0.3, 0.4, 0.5];
    let hears = Box::new(move |audio: &[f32]| {
        let voices: Vec<_> = amplitudes.iter().filter(|amplitude| audio.contains(amplitude)).collect();
        format!("I am {voices:?}.")
    });
    let house = House::with(Script { hears, ..Script::default() });
    let mut callers: Vec<_> = amplitudes.iter().map(|amplitude| (*amplitude, house.call())).collect();
    for round in 0..3 {
        // Turns overlap, each a little differently every time.
        let talks = callers.iter_mut().enumerate().map(|(n, (amplitude, caller))| {
            let amplitude = *amplitude;
            let wait = (n as u64 * 7 + round * 3) % 5 * 140;
            async move {
                caller.silence(wait).await;
                caller.say_at(amplitude, 900 + wait).await;
                caller.silence(5_000 - wait).await;
            }
        });
        futures_util::future::join_all(talks).await;
    }
    for (amplitude, caller) in &callers {
        assert_eq!(caller.transcripts(), vec![format!("I am [{amplitude:?}]."); 3]);
        assert_eq!(caller.outcomes(), vec![Outcome::Completed; 3]);
    }
    let conversations: std::collections::HashSet<_> =
        house.engines.mind.desk.requests().into_iter().map(|request| request.conversation).collect();
    assert_eq!(conversations.len(), 5);
    for request in house.engines.mind.desk.requests() {
        let said: Vec<_> = request.messages.iter().filter(|m| m.speaker == models::llm::Speaker::User).collect();
        assert!(said.iter().all(|message| message.text == said[0].text), "{said:?}");
    }
}

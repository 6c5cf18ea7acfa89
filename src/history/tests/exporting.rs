//! A talk as one recording.

use std::io::Write;

use super::*;

fn loudness(samples: &[f32]) -> f32 {
    (samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len().max(1) as f32).sqrt()
}

/// The mix of a conversation, whole and as mono.
fn mixed(place: &Place, id: &str) -> Vec<f32> {
    let mut bytes = Vec::new();
    place.history.mixdown(&place.shown(id)).unwrap().write(&mut bytes).unwrap();
    assert_eq!(bytes[28 + 9], 2, "two channels");
    audio::ogg::read(bytes.as_slice()).unwrap().samples
}

#[tokio::test]
async fn a_mix_has_each_side_where_it_stands_and_silence_between() {
    let place = Place::new();
    let id = ConversationId::fresh();
    place.history.keep(turn(&id, "one", 1_000)).await.unwrap();
    let samples = mixed(&place, id.as_str());
    assert_eq!(samples.len(), 2_413 * 48);
    // The caller to 1.0 s, the reply from 1.413 s.
    assert!(loudness(&samples[4_800..43_000]) > 0.05);
    assert!(loudness(&samples[52_000..64_000]) < 0.003, "{}", loudness(&samples[52_000..64_000]));
    assert!(loudness(&samples[72_000..110_000]) > 0.05);
}

#[tokio::test]
async fn a_recording_that_is_gone_or_damaged_is_silence_in_the_mix_and_a_cut_reply_ends_early() {
    let place = Place::new();
    let id = ConversationId::fresh();
    let record = turn(&id, "one", 1_000);
    let reply = record.answer.as_ref().unwrap().reply.clone();
    let user = record.question.as_ref().unwrap().item.clone();
    place.history.keep(record).await.unwrap();
    let played = Duration::from_millis(300);
    place.history.amend(Amendment { reply, heard: "It".to_owned(), interrupted: true, played }).await.unwrap();
    place.history.keep(turn(&id, "two", 1_010)).await.unwrap();
    std::fs::remove_file(place.folder.path().join(format!("audio/{user}.ogg"))).unwrap();
    let last = place.shown(id.as_str()).turns[1].assistant.clone().unwrap().audio.unwrap();
    let mut damaged =
        std::fs::OpenOptions::new().write(true).truncate(true).open(place.history.audio_path(&last)).unwrap();
    damaged.write_all(b"no recording").unwrap();
    let samples = mixed(&place, id.as_str());
    assert_eq!(samples.len() as i64, place.shown(id.as_str()).duration_ms * 48);
    assert!(loudness(&samples[..60_000]) < 0.003, "the missing one");
    assert!(loudness(&samples[70_000..80_000]) > 0.05, "the reply until it was cut");
    assert!(loudness(&samples[85_000..400_000]) < 0.003, "and no longer");
    let second = 10_000 * 48;
    assert!(loudness(&samples[second + 4_800..second + 43_000]) > 0.05);
    assert!(loudness(&samples[second + 60_000..]) < 0.003, "the damaged one");
}

#[tokio::test]
async fn no_more_than_a_few_talks_are_mixed_at_once() {
    let place = Place::new();
    let id = place.talk(&[("one", "one")]).await;
    let shown = place.shown(&id);
    let held: Vec<_> = std::iter::from_fn(|| place.history.mixdown(&shown)).take(10).collect();
    assert_eq!(held.len(), EXPORTS_BOUND);
    drop(held);
    assert!(place.history.mixdown(&shown).is_some());
}

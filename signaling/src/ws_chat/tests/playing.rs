//! Pieces out, and how much of them has been heard.

use std::time::{Duration, Instant};

use audio::pcm::{Pcm, SampleRate};

use crate::line::{Playout, ReplyId};
use crate::ws_chat::playing::{AHEAD, Piece, Playing};

const MS: Duration = Duration::from_millis(1);
const RATE: SampleRate = SampleRate::HZ_16000;

fn sound(ms: usize) -> Pcm {
    Pcm::new(RATE, (0..ms * 16).map(|n| 0.5 - (n % 16) as f32 / 32.0).collect())
}

/// Runs until `until`, waking as the door does; what was sent, with its times.
fn run(playing: &mut Playing, now: &mut Instant, until: Instant) -> Vec<(Instant, Piece)> {
    let mut sent = Vec::new();
    loop {
        while let Some(piece) = playing.piece(*now) {
            sent.push((*now, piece));
        }
        match playing.next_wake(*now).filter(|wake| *wake <= until) {
            Some(wake) => *now = wake.max(*now + MS),
            None => break,
        }
    }
    *now = until;
    sent
}

fn notices(playing: &mut Playing) -> Vec<Playout> {
    std::iter::from_fn(|| playing.notice()).collect()
}

#[test]
fn a_reply_is_cut_into_pieces_that_follow_one_another_to_the_sample() {
    let (mut playing, reply, start) = (Playing::default(), ReplyId::fresh(), Instant::now());
    let whole = sound(5_000);
    // As a voice makes it, five times as fast as it is heard.
    let mut now = start;
    let mut sent = Vec::new();
    for (n, chunk) in (0_u32..).zip(whole.samples.chunks(16 * 80)) {
        playing.speak(reply.clone(), Pcm::new(RATE, chunk.to_vec()));
        sent.extend(run(&mut playing, &mut now, start + 16 * MS * n));
    }
    playing.finish(reply.clone());
    sent.extend(run(&mut playing, &mut now, start + 20_000 * MS));

    let again: Vec<f32> = sent.iter().flat_map(|(_, piece)| piece.pcm.samples.clone()).collect();
    assert!(again == whole.samples, "nothing is lost or doubled");
    let numbers: Vec<_> = sent.iter().map(|(_, piece)| piece.seq).collect();
    assert_eq!(numbers, (0..sent.len() as u32).collect::<Vec<_>>());
    assert_eq!(sent.iter().filter(|(_, piece)| piece.is_last).count(), 1);
    assert!(sent.last().unwrap().1.is_last);
    let (at, first) = &sent[0];
    assert!(first.pcm.duration() <= 400 * MS && *at - start <= 100 * MS, "the reply begins at once");
    assert!(sent.iter().rev().skip(1).all(|(_, piece)| piece.pcm.duration() <= 1_000 * MS));
    // Never more than a piece beyond the second that is kept ahead, and never too late.
    let mut given = Duration::ZERO;
    for (at, piece) in &sent {
        let played = (*at - sent[0].0).min(given);
        assert!(given - played < AHEAD, "{given:?} given, {played:?} played");
        assert!(piece.seq == 0 || given > played, "the client fell silent before piece {}", piece.seq);
        given += piece.pcm.duration();
    }
}

#[test]
fn what_has_been_heard_follows_the_clock_and_is_told_to_the_end() {
    let (mut playing, reply, start) = (Playing::default(), ReplyId::fresh(), Instant::now());
    playing.speak(reply.clone(), sound(2_000));
    playing.finish(reply.clone());
    let mut now = start;
    run(&mut playing, &mut now, start + 1_050 * MS);
    let told = notices(&mut playing);
    assert_eq!(told[0], Playout::Started { reply: reply.clone(), at: start });
    let Some(Playout::Position { played, .. }) = told.last() else { panic!("{told:?}") };
    assert!((900 * MS..=1_050 * MS).contains(played), "{played:?}");
    run(&mut playing, &mut now, start + 2_100 * MS);
    assert_eq!(notices(&mut playing).last(), Some(&Playout::Drained { reply, played: 2_000 * MS }));
    assert_eq!(playing.next_wake(now), None);
}

#[test]
fn a_cut_reply_is_dropped_where_it_stands_and_what_was_heard_is_told() {
    let (mut playing, reply, start) = (Playing::default(), ReplyId::fresh(), Instant::now());
    playing.speak(reply.clone(), sound(10_000));
    let mut now = start;
    let sent = run(&mut playing, &mut now, start + 700 * MS);
    let given: Duration = sent.iter().map(|(_, piece)| piece.pcm.duration()).sum();
    assert!(given < 700 * MS + AHEAD + 1_000 * MS, "{given:?}");
    playing.cut(now, reply.clone());
    assert_eq!(notices(&mut playing).last(), Some(&Playout::Cut { reply: reply.clone(), played: 700 * MS }));
    assert_eq!(playing.piece(now), None);
    // What comes late of it is not played, and a second cut tells the same.
    playing.speak(reply.clone(), sound(500));
    playing.finish(reply.clone());
    assert_eq!((playing.piece(now), playing.next_wake(now)), (None, None));
    playing.cut(now, reply.clone());
    assert_eq!(notices(&mut playing).last(), Some(&Playout::Cut { reply, played: 700 * MS }));
}

#[test]
fn the_clock_stands_still_while_the_client_has_nothing_to_play() {
    let (mut playing, reply, start) = (Playing::default(), ReplyId::fresh(), Instant::now());
    playing.speak(reply.clone(), sound(500));
    let mut now = start;
    run(&mut playing, &mut now, start + 3_000 * MS);
    assert!(notices(&mut playing).contains(&Playout::Starved { reply: reply.clone() }));
    playing.speak(reply.clone(), sound(500));
    let sent = run(&mut playing, &mut now, start + 3_100 * MS);
    assert_eq!(sent.len(), 1);
    playing.cut(now, reply.clone());
    let Some(Playout::Cut { played, .. }) = notices(&mut playing).pop() else { panic!() };
    assert!((550 * MS..=600 * MS).contains(&played), "{played:?}");
}

#[test]
fn replies_follow_one_another_and_one_without_sound_is_over_at_once() {
    let (mut playing, start) = (Playing::default(), Instant::now());
    let (one, none, two) = (ReplyId::fresh(), ReplyId::fresh(), ReplyId::fresh());
    playing.finish(none.clone());
    playing.speak(one.clone(), sound(600));
    playing.speak(two.clone(), sound(600));
    playing.finish(one.clone());
    playing.finish(two.clone());
    let mut now = start;
    let sent = run(&mut playing, &mut now, start + 2_000 * MS);
    let order: Vec<_> = sent.iter().filter(|(_, piece)| piece.is_last).map(|(_, piece)| &piece.reply).collect();
    assert_eq!(order, [&one, &two]);
    let over: Vec<_> = notices(&mut playing)
        .into_iter()
        .filter_map(|notice| match notice {
            Playout::Drained { reply, played } => Some((reply, played)),
            _ => None,
        })
        .collect();
    assert_eq!(over, [(none, Duration::ZERO), (one, 600 * MS), (two, 600 * MS)]);
}

#[test]
fn a_voice_of_another_rate_in_mid_reply_keeps_its_length() {
    let (mut playing, reply, start) = (Playing::default(), ReplyId::fresh(), Instant::now());
    playing.speak(reply.clone(), sound(300));
    playing.speak(reply.clone(), Pcm::new(SampleRate::HZ_24000, vec![0.2; 24_000]));
    playing.finish(reply.clone());
    let mut now = start;
    let sent = run(&mut playing, &mut now, start + 3_000 * MS);
    assert!(sent.iter().all(|(_, piece)| piece.pcm.rate == RATE));
    assert_eq!(sent.iter().map(|(_, piece)| piece.pcm.duration()).sum::<Duration>(), 1_300 * MS);
}

#[test]
fn a_voice_that_is_far_ahead_is_asked_to_wait() {
    let mut playing = Playing::default();
    assert!(playing.has_room());
    playing.speak(ReplyId::fresh(), sound(61_000));
    assert!(!playing.has_room());
}

#![allow(clippy::unwrap_used)]

use super::*;
use crate::level::{largest_step, longest_clipping, peak};
use crate::pcm::SampleRate;

type Line = Playout<&'static str>;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A loud tone: 0.8 of full scale at 200 Hz, whose own steps are at most 0.021.
fn tone(rate: SampleRate, length: Duration) -> Pcm {
    let step = std::f32::consts::TAU * 200.0 / rate.hertz() as f32;
    // Begins at a crest: the worst case for a click.
    Pcm::new(rate, (0..rate.samples_in(length)).map(|n| 0.8 * (step * n as f32).cos()).collect())
}

/// A tone's own step at 48 kHz, and as much again for the slope of a fade.
const NO_CLICK: f32 = 0.042;

fn pull(line: &mut Line, frames: usize) -> Vec<f32> {
    let mut heard = Vec::new();
    for _ in 0..frames {
        let mut frame = [9.0; SENT_FRAME];
        let played = line.next_frame(&mut frame);
        assert_eq!(played.audible, peak(&frame) >= AUDIBLE);
        heard.extend(frame);
    }
    heard
}

fn notices(line: &mut Line) -> Vec<Notice<&'static str>> {
    std::iter::from_fn(|| line.notice()).collect()
}

/// All but the positions.
fn turns(line: &mut Line) -> Vec<Notice<&'static str>> {
    notices(line).into_iter().filter(|notice| !matches!(notice, Notice::Position { .. })).collect()
}

#[test]
fn an_empty_queue_is_silence_for_ever() {
    let mut line = Line::new();
    assert!(pull(&mut line, 10).iter().all(|sample| *sample == 0.0));
    assert!(line.idle() && notices(&mut line).is_empty());
}

#[test]
fn a_reply_is_played_whole_and_tells_where_it_is() {
    for rate in [16_000, 22_050, 24_000, 48_000].map(|hertz| SampleRate::new(hertz).unwrap()) {
        let mut line = Line::new();
        for _ in 0..10 {
            line.speak("a", tone(rate, ms(50))).unwrap();
        }
        line.finish("a");
        let heard = pull(&mut line, 30);
        let end = heard.iter().rposition(|sample| *sample != 0.0).unwrap();
        assert!((24_000..24_000 + 260).contains(&end), "{end} samples of 24000 and a short fade");
        let told = notices(&mut line);
        assert_eq!(told[0], Notice::Started { reply: "a" });
        let positions: Vec<u128> = told
            .iter()
            .filter_map(|notice| match notice {
                Notice::Position { played, .. } => Some(played.as_millis()),
                _ => None,
            })
            .collect();
        let expected = [100, 200, 300, 400, 500];
        assert!(positions.iter().zip(expected).all(|(at, every)| at.abs_diff(every) <= 1), "{positions:?}");
        assert!((5..=6).contains(&positions.len()), "{positions:?}");
        let Some(Notice::Drained { reply: "a", played }) = told.last() else { panic!("{told:?}") };
        assert!(played.abs_diff(ms(500)) < ms(1), "{played:?} at {rate:?}");
    }
}

#[test]
fn start_end_starvation_and_resumption_make_no_click() {
    let mut line = Line::new();
    line.speak("a", tone(SampleRate::HZ_48000, ms(103))).unwrap();
    let mut heard = pull(&mut line, 10);
    line.speak("a", tone(SampleRate::HZ_48000, ms(90))).unwrap();
    heard.extend(pull(&mut line, 2));
    line.speak("a", tone(SampleRate::HZ_48000, ms(70))).unwrap();
    line.finish("a");
    heard.extend(pull(&mut line, 12));
    assert_eq!(heard[0].abs(), heard[0].abs().min(0.001), "begins at nothing");
    assert_eq!(*heard.last().unwrap(), 0.0);
    assert!(largest_step(&heard) < NO_CLICK, "{}", largest_step(&heard));
    let told = turns(&mut line);
    let [Notice::Started { .. }, Notice::Starved { reply: "a" }, Notice::Drained { .. }] = told.as_slice() else {
        panic!("{told:?}")
    };
}

#[test]
fn a_cut_fades_out_within_ten_milliseconds_wherever_it_falls() {
    for frames in [1, 2, 5, 9] {
        for left in [0, 100, 383, 384, 5_000] {
            let mut line = Line::new();
            let length = RATE.duration_of(frames * SENT_FRAME + left) + Duration::from_nanos(999);
            line.speak("a", tone(RATE, length)).unwrap();
            let before = pull(&mut line, frames);
            notices(&mut line);
            line.cut("a");
            assert!(notices(&mut line).is_empty(), "not before it has faded");
            let mut heard = before.clone();
            heard.extend(pull(&mut line, 3));
            assert!(largest_step(&heard) < NO_CLICK, "{} after {frames}, {left}", largest_step(&heard));
            let end = heard.iter().rposition(|sample| *sample != 0.0).unwrap();
            assert!(end - before.len() < 480, "{} samples of fade", end - before.len());
            let told = notices(&mut line);
            let played = RATE.duration_of(frames * SENT_FRAME + left.min(384));
            let last = [Notice::Position { reply: "a", played }, Notice::Cut { reply: "a", played }];
            assert_eq!(told, last, "after {frames} with {left} left");
            assert!(line.idle());
        }
    }
}

#[test]
fn what_was_queued_of_a_cut_reply_is_never_heard_again() {
    let mut line = Line::new();
    line.speak("a", tone(RATE, ms(5_000))).unwrap();
    line.finish("a");
    pull(&mut line, 10);
    line.cut("a");
    line.cut("a");
    pull(&mut line, 1);
    assert_eq!(line.speak("a", tone(RATE, ms(100))), Err(PlayoutError::Over));
    assert!(pull(&mut line, 50).iter().all(|sample| *sample == 0.0));
    assert_eq!(turns(&mut line).len(), 2, "one start and one cut");
}

#[test]
fn cutting_what_is_not_queued_is_answered_with_what_was_played_of_it() {
    let mut line = Line::new();
    line.cut("never spoken");
    let played = Duration::ZERO;
    assert_eq!(turns(&mut line), [Notice::Cut { reply: "never spoken", played }]);
    line.speak("a", tone(RATE, ms(200))).unwrap();
    line.finish("a");
    line.speak("b", tone(RATE, ms(200))).unwrap();
    pull(&mut line, 1);
    line.cut("b");
    pull(&mut line, 14);
    line.cut("a");
    assert_eq!(
        turns(&mut line),
        [
            Notice::Started { reply: "a" },
            Notice::Cut { reply: "b", played },
            Notice::Drained { reply: "a", played: ms(200) },
            Notice::Cut { reply: "a", played: ms(200) },
        ]
    );
}

#[test]
fn replies_play_one_after_the_other() {
    let mut line = Line::new();
    line.speak("a", tone(RATE, ms(90))).unwrap();
    line.speak("b", tone(RATE, ms(90))).unwrap();
    line.finish("b");
    line.speak("a", tone(RATE, ms(20))).unwrap();
    line.finish("a");
    pull(&mut line, 12);
    let told = turns(&mut line);
    let names: Vec<&str> = told
        .iter()
        .map(|notice| match notice {
            Notice::Started { reply } | Notice::Starved { reply } | Notice::Position { reply, .. } => *reply,
            Notice::Drained { reply, .. } | Notice::Cut { reply, .. } => *reply,
        })
        .collect();
    assert_eq!(names, ["a", "a", "b", "b"], "{told:?}");
}

#[test]
fn a_reply_that_hangs_does_not_silence_the_next() {
    let mut line = Line::new();
    line.speak("hangs", tone(RATE, ms(40))).unwrap();
    pull(&mut line, 4);
    line.speak("next", tone(RATE, ms(40))).unwrap();
    line.finish("next");
    assert!(peak(&pull(&mut line, 1)) > 0.5);
    pull(&mut line, 4);
    line.finish("hangs");
    pull(&mut line, 1);
    let told = turns(&mut line);
    assert!(told.contains(&Notice::Drained { reply: "next", played: ms(40) }), "{told:?}");
    assert_eq!(told.last(), Some(&Notice::Drained { reply: "hangs", played: ms(40) }));
}

#[test]
fn an_empty_reply_is_drained_and_never_started() {
    let mut line = Line::new();
    line.finish("nothing");
    pull(&mut line, 1);
    assert_eq!(turns(&mut line), [Notice::Drained { reply: "nothing", played: Duration::ZERO }]);
}

#[test]
fn silence_before_the_voice_is_not_the_start() {
    let mut line = Line::new();
    line.speak("a", Pcm::new(RATE, vec![0.0; 4 * SENT_FRAME])).unwrap();
    line.speak("a", tone(RATE, ms(40))).unwrap();
    pull(&mut line, 4);
    assert!(turns(&mut line).is_empty());
    pull(&mut line, 1);
    assert_eq!(turns(&mut line), [Notice::Started { reply: "a" }]);
}

#[test]
fn too_much_audio_is_refused_not_swallowed() {
    let mut line = Line::new();
    let minute = Pcm::new(SampleRate::HZ_8000, vec![0.1; 8_000 * 60]);
    line.speak("a", minute.clone()).unwrap();
    line.speak("b", minute.clone()).unwrap();
    assert_eq!(line.speak("c", minute), Err(PlayoutError::Full));
    let mut line = Playout::new();
    for reply in 0..REPLIES_BOUND {
        line.speak(reply, tone(RATE, ms(1))).unwrap();
    }
    assert_eq!(line.speak(REPLIES_BOUND, tone(RATE, ms(1))), Err(PlayoutError::TooManyReplies));
}

#[test]
fn a_voice_at_full_scale_does_not_clip_and_nonsense_does_not_crash() {
    let mut line = Line::new();
    // A square wave overshoots when resampled.
    let square = (0..16_000).map(|n| if n / 40 % 2 == 0 { 1.0 } else { -1.0 }).collect();
    line.speak("square", Pcm::new(SampleRate::HZ_16000, square)).unwrap();
    line.finish("square");
    let heard = pull(&mut line, 55);
    assert!(peak(&heard) <= 1.0);
    let bad = [f32::NAN, f32::INFINITY, -1e30, 7.0, 1e-40].repeat(2_000);
    line.speak("bad", Pcm::new(SampleRate::HZ_16000, bad)).unwrap();
    line.speak("bad", tone(SampleRate::HZ_16000, ms(500))).unwrap();
    line.finish("bad");
    let heard = pull(&mut line, 70);
    assert!(heard.iter().all(|sample| sample.abs() <= 1.0));
    let tone_part = &heard[31 * SENT_FRAME + 2_000..50 * SENT_FRAME];
    assert!(peak(tone_part) > 0.7 && longest_clipping(tone_part) == 0, "the tone after it is whole");
}

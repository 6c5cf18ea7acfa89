#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::{Duration, Instant};

use super::*;

fn flite() -> Flite {
    Flite::open().unwrap_or_else(|error| panic!("{error}"))
}

fn say(flite: &mut Flite, text: &str, voice: &str) -> Result<Vec<f32>, EngineError> {
    let mut samples = Vec::new();
    flite.synthesize(text, voice, &mut |pcm| {
        assert_eq!(pcm.rate, SampleRate::HZ_16000);
        samples.extend(pcm.samples);
        ControlFlow::Continue(())
    })?;
    Ok(samples)
}

const TEXT: &str = "The quick brown fox jumps over the lazy dog.";

#[test]
fn every_voice_sounds_and_none_clips() {
    let mut flite = flite();
    let ids: Vec<String> = flite.voices().into_iter().map(|voice| voice.id).collect();
    assert_eq!(ids, ["flite/slt", "flite/rms", "flite/awb", "flite/kal16"]);
    for id in ids {
        let samples = say(&mut flite, TEXT, &id).unwrap();
        let peak = samples.iter().fold(0.0_f32, |peak, s| peak.max(s.abs()));
        let seconds = samples.len() as f32 / 16_000.0;
        assert!((0.1..1.0).contains(&peak), "{id} peaks at {peak}");
        assert!((1.5..5.0).contains(&seconds), "{id} takes {seconds} s");
    }
}

#[test]
fn two_voices_do_not_sound_the_same() {
    let mut flite = flite();
    let (slt, rms) = (say(&mut flite, TEXT, "flite/slt").unwrap(), say(&mut flite, TEXT, "flite/rms").unwrap());
    assert!(!alike(&slt, &rms));
}

/// The same words by the same voice: Flite's excitation has noise, so samples differ a little.
fn alike(one: &[f32], other: &[f32]) -> bool {
    let difference: f32 = one.iter().zip(other).map(|(a, b)| (a - b).abs()).sum();
    let level: f32 = one.iter().map(|s| s.abs()).sum();
    one.len() == other.len() && difference < level / 2.0
}

#[test]
fn earlier_utterance_does_not_change_the_voice() {
    let mut flite = flite();
    let first = say(&mut flite, TEXT, "flite/slt").unwrap();
    let other = say(&mut flite, "Something else in between.", "flite/rms").unwrap();
    assert!(!alike(&first, &other));
    assert!(alike(&first, &say(&mut flite, TEXT, "flite/slt").unwrap()));
}

#[test]
fn audio_comes_in_chunks_of_twenty_milliseconds_and_stops_when_told() {
    let mut flite = flite();
    for voice in ["flite/slt", "flite/kal16"] {
        let whole = say(&mut flite, TEXT, voice).unwrap().len();
        let mut chunks = Vec::new();
        flite
            .synthesize(TEXT, voice, &mut |pcm| {
                chunks.push(pcm.samples.len());
                if chunks.len() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .unwrap();
        assert_eq!(chunks.len(), 3, "{voice} went on after it was told to stop");
        assert!(chunks.iter().all(|size| (1..=1_600).contains(size)), "{voice}: {chunks:?}");
        assert!(chunks.iter().sum::<usize>() < whole / 2);
    }
}

#[test]
fn text_that_cannot_be_spoken_is_refused_with_the_reason() {
    let mut flite = flite();
    english::assert_refused(|text, voice| say(&mut flite, text, voice), "flite/slt");
    assert!(!say(&mut flite, "Café — “naïve” 5 € … 你", "flite/slt").unwrap().is_empty());
}

#[test]
fn hostile_and_very_long_texts_are_survived() {
    let mut flite = flite();
    for text in
        ["a".repeat(10_000), "word, ".repeat(1_700), "9".repeat(400), "a.b/c\\d\"e'(f)[g]{h}<i>$%^&*`~|\0\u{7}x".into()]
    {
        assert!(!say(&mut flite, &text, "flite/kal16").unwrap().is_empty(), "{text:.20}");
    }
    assert!(say(&mut flite, &"This goes on and on. ".repeat(20), "flite/slt").unwrap().len() > 16_000 * 15);
}

#[test]
fn panic_of_the_listener_does_not_cross_c_or_lock_the_voice() {
    let mut flite = flite();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = flite.synthesize(TEXT, "flite/slt", &mut |_| panic!("listener"));
    }));
    assert!(panicked.is_err());
    assert!(!say(&mut flite, TEXT, "flite/slt").unwrap().is_empty());
}

#[test]
fn missing_library_says_what_to_install() {
    let missing: &[(&str, &str, &str, &CStr)] = &[("flite/x", "X", "libflite_cmu_us_nobody.so.1", c"register_nobody")];
    let error = Flite::open_from(missing).err().unwrap();
    assert!(
        matches!(&error, EngineError::NotInstalled { hint, .. } if hint.contains("apt-get install libflite1")),
        "{error}"
    );
}

#[test]
fn threads_that_speak_at_once_do_not_disturb_each_other() {
    let alone = say(&mut flite(), TEXT, "flite/slt").unwrap();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(|| say(&mut flite(), TEXT, "flite/slt").unwrap())).collect();
        for thread in threads {
            assert!(alike(&thread.join().unwrap(), &alone));
        }
    });
}

/// Not an assertion: prints what the table in the engine notes says. `cargo test -p models flite_speed -- --ignored --nocapture`
#[test]
#[ignore = "measures, asserts nothing"]
#[allow(clippy::print_stdout, reason = "its purpose")]
fn flite_speed() {
    let mut flite = flite();
    for voice in flite.voices() {
        let (mut firsts, mut factors) = (Vec::new(), Vec::new());
        for n in 0..20 {
            let text = format!("This is sentence number {n}, and it is about as long as those of an answer.");
            let began = Instant::now();
            let (mut first, mut samples) = (None, 0);
            flite
                .synthesize(&text, &voice.id, &mut |pcm| {
                    first.get_or_insert_with(|| began.elapsed());
                    samples += pcm.samples.len();
                    ControlFlow::Continue(())
                })
                .unwrap();
            firsts.push(first.unwrap_or(Duration::MAX));
            factors.push(began.elapsed().as_secs_f64() / voice.rate.duration_of(samples).as_secs_f64());
        }
        let samples = say(&mut flite, "Good morning, how can I help you?", &voice.id).unwrap();
        let level = |w: &[f32]| (w.iter().map(|s| s * s).sum::<f32>() / w.len() as f32).sqrt();
        let edge: Vec<String> = samples.chunks(160).take(30).map(|w| format!("{:.4}", level(w))).collect();
        println!("{}: first 300 ms, root mean square per 10 ms: {}", voice.id, edge.join(" "));
        firsts.sort();
        factors.sort_by(f64::total_cmp);
        println!("{}: first chunk P50 {:?} P95 {:?}, RTF P50 {:.4}", voice.id, firsts[10], firsts[18], factors[10]);
    }
}

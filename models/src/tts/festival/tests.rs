#![allow(clippy::unwrap_used, reason = "tests")]

use std::os::unix::fs::PermissionsExt;

use super::*;

fn festival() -> Festival {
    Festival::open().unwrap_or_else(|error| panic!("{error}"))
}

fn say(festival: &mut Festival, text: &str) -> Result<Vec<f32>, EngineError> {
    let mut samples = Vec::new();
    festival.synthesize(text, VOICE, &mut |pcm| {
        assert_eq!(pcm.rate.hertz(), 32_000);
        samples.extend(pcm.samples);
        ControlFlow::Continue(())
    })?;
    Ok(samples)
}

fn is_alive(process: u32) -> bool {
    Path::new(&format!("/proc/{process}")).exists()
}

/// A program in `folder` that takes the place of Festival.
fn impostor(folder: &tempfile::TempDir, script: &str) -> PathBuf {
    let path = folder.path().join("festival");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn sentence_sounds_and_does_not_clip() {
    let samples = say(&mut festival(), "The quick brown fox jumps over the lazy dog.").unwrap();
    let peak = samples.iter().fold(0.0_f32, |peak, s| peak.max(s.abs()));
    let seconds = samples.len() as f32 / 32_000.0;
    assert!((0.1..1.0).contains(&peak), "peak {peak}");
    assert!((1.5..5.0).contains(&seconds), "{seconds} s");
}

#[test]
fn text_is_spoken_and_never_evaluated() {
    let mut festival = festival();
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let attacks = [
        format!("hello\")) (system \"touch {}\") (quote (\"", trace.display()),
        format!("hello\\\")) (system \\\"touch {}\\\") ((\"", trace.display()),
        format!("hello\n(system \"touch {}\")\n", trace.display()),
        "hello ) ) ) (quit) (exit) ; comment".into(),
        "hello \\".into(),
        "hello \\\\\" '(a . b) `,@x #t |\0\u{1b}".into(),
    ];
    let process = festival.process_id();
    for attack in &attacks {
        assert!(say(&mut festival, attack).unwrap().len() > 8_000, "{attack:?} was not spoken");
    }
    assert!(!trace.exists(), "text was evaluated");
    assert_eq!(festival.process_id(), process, "text ended the process");
}

#[test]
fn scheme_string_evaluates_to_the_text() {
    assert_eq!(scheme_string(r#"a"b\c"#), r#""a\"b\\c""#);
    assert_eq!(scheme_string("a\nb"), "\"a b\"");
}

#[test]
fn text_that_cannot_be_spoken_is_refused_with_the_reason() {
    let mut festival = festival();
    let mut say = |text: &str, voice: &str| festival.synthesize(text, voice, &mut |_| ControlFlow::Continue(()));
    english::assert_refused(&mut say, VOICE);
}

#[test]
fn long_text_is_spoken_in_pieces_that_stop_when_told() {
    let mut festival = festival();
    let mut heard = 0;
    let text = "This goes on and on, and never comes to an end. ".repeat(200);
    let stop = |_| {
        heard += 1;
        if heard == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let mut stop = stop;
    festival.synthesize(&text, VOICE, &mut stop).unwrap();
    assert_eq!(heard, 3);
    assert_eq!(festival.requests, 2, "went on after it was told to stop");
}

#[test]
fn dead_process_is_replaced_and_reaped() {
    let mut festival = festival();
    let first = festival.process_id().unwrap();
    festival.process.as_mut().unwrap().child.kill().unwrap();
    let error = say(&mut festival, "Hello there.").unwrap_err();
    assert!(matches!(error, EngineError::Failed { engine: ENGINE, .. }), "{error}");
    assert!(!is_alive(first), "a zombie is left");
    assert!(!say(&mut festival, "Hello there.").unwrap().is_empty());
}

#[test]
fn hanging_process_is_replaced_after_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let count = folder.path().join("count");
    // Answers the voice's loading and the first sentence like Festival, and then says nothing.
    let script =
        format!("echo x >> {0}; read a; read b; echo 'spoken 0 0'; echo 'end 0'; exec sleep 600", count.display());
    let program = impostor(&folder, &script);
    let error = Festival::open_with(&program, Duration::from_millis(50)).err().unwrap();
    assert!(matches!(&error, EngineError::Failed { reason, .. } if reason.contains("no answer for 50ms")), "{error}");
    assert_eq!(std::fs::read_to_string(&count).unwrap().lines().count(), 1);
}

#[test]
fn missing_program_or_voice_says_what_to_install() {
    let error = Festival::open_with(Path::new("/nowhere/festival"), SPEAK_LIMIT).err().unwrap();
    assert!(
        matches!(&error, EngineError::NotInstalled { hint, .. } if hint.contains("apt-get install festival")),
        "{error}"
    );
    let folder = tempfile::tempdir().unwrap();
    let program = impostor(&folder, "read a; read b; echo 'end 0'; exec sleep 600");
    let error = Festival::open_with(&program, SPEAK_LIMIT).err().unwrap();
    assert!(matches!(&error, EngineError::NotInstalled { hint, .. } if hint.contains("festvox-us-slt-hts")), "{error}");
}

#[test]
fn fifty_sentences_use_one_process_and_leave_no_file_or_process() {
    let mut festival = festival();
    let (process, folder) = (festival.process_id().unwrap(), festival.folder.path().to_owned());
    for n in 0..50 {
        assert!(!say(&mut festival, &format!("Number {n}.")).unwrap().is_empty());
    }
    assert_eq!(festival.process_id(), Some(process));
    assert!(std::fs::read_dir(&folder).unwrap().count() <= 1);
    drop(festival);
    assert!(!is_alive(process), "the process outlived its owner");
    assert!(!folder.exists());
}

/// Not an assertion: prints what the table in the engine notes says. `cargo test -p models festival_speed -- --ignored --nocapture`
#[test]
#[ignore = "measures, asserts nothing"]
#[allow(clippy::print_stdout, reason = "its purpose")]
fn festival_speed() {
    let began = Instant::now();
    let mut festival = festival();
    println!("open: {:?}", began.elapsed());
    let (mut wholes, mut factors) = (Vec::new(), Vec::new());
    for n in 0..20 {
        let text = format!("This is sentence number {n}, and it is about as long as those of an answer.");
        let began = Instant::now();
        let samples = say(&mut festival, &text).unwrap();
        wholes.push(began.elapsed());
        factors.push(began.elapsed().as_secs_f64() / RATE.duration_of(samples.len()).as_secs_f64());
    }
    wholes.sort();
    factors.sort_by(f64::total_cmp);
    println!("{VOICE}: whole sentence P50 {:?} P95 {:?}, RTF P50 {:.4}", wholes[10], wholes[18], factors[10]);
}

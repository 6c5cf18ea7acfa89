//! One talk with the real server, which then loses power, comes back, and is told to stop.

use std::process::ExitStatus;
use std::sync::LazyLock;

use audio::pcm::Pcm;
use models::stt::wer::{word_error_rate, words};
use serde_json::Value;
use tempfile::TempDir;

use super::command::{avatar, read, run};
use super::server::Server;
use super::speech::{cut, transcribe};

const KEY: &str = "a-key-of-this-test-8c1f0e";

/// What came of it.
struct Evidence {
    said: String,
    /// What `avatar call` reported of the turn.
    turn: Value,
    /// All that the caller heard.
    heard: Pcm,
    /// All that was logged, at level debug.
    log: String,
    /// The conversation as stored, before the power cut and after, with both sides' audio.
    before: (Value, Vec<Vec<u8>>),
    after: (Value, Vec<Vec<u8>>),
    unauthorized: u16,
    /// Told to stop while a call is running.
    stopped: ExitStatus,
    caller_was_told: bool,
    left: Vec<String>,
}

static EVIDENCE: LazyLock<Evidence> = LazyLock::new(gather);

fn gather() -> Evidence {
    let folder = TempDir::new().unwrap();
    let said = cut("talking-about", &folder.path().join("question.wav"));
    let settings = ["log.level=debug", "session.temperature=0", "session.max_reply_tokens=40"];
    let start = || {
        Server::start(folder.path(), Some(KEY), |command| {
            command.args(settings.iter().flat_map(|setting| ["--set", *setting]));
        })
    };
    let server = start();
    let call = |url: &str, more: &[&str]| {
        let mut command = avatar(folder.path(), &["call", "question.wav", "--to", url]);
        command.args(more).env("AVATAR_KEY", KEY);
        command
    };
    let ended = run(&mut call(&server.url, &["--brief", "-o", "heard.wav"]));
    assert!(ended.status.success(), "{}\n{}", ended.err, server.log());
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    let heard = audio::wav::read_file(&folder.path().join("heard.wav")).unwrap();
    let before = stored(&server);
    server.kill();

    let server = start();
    let after = stored(&server);
    let unauthorized = {
        let stranger = ureq::Agent::config_builder().http_status_as_error(false).build();
        let stranger: ureq::Agent = stranger.into();
        stranger.get(format!("{}/api/conversations", server.url)).call().unwrap().status().as_u16()
    };
    // A second call runs when the server is told to stop.
    let url = server.url.clone();
    let (stopped, caller_was_told) = std::thread::scope(|scope| {
        let caller = scope.spawn(|| run(&mut call(&url, &["--brief", "--repeat", "20"])));
        while server.log().matches("call begins").count() < 2 {
            assert!(!caller.is_finished(), "the second call did not connect: {}", caller.join().unwrap().err);
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let stopped = server.terminate();
        let ended = caller.join().unwrap();
        (stopped, !ended.status.success() && ended.err.contains("ended"))
    });
    let mut left: Vec<_> = std::fs::read_dir(folder.path().join("kept"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    Evidence {
        said,
        turn: report["report"]["turns"][0].clone(),
        heard,
        log: read(&folder.path().join("log")),
        before,
        after,
        unauthorized,
        stopped,
        caller_was_told,
        left,
    }
}

/// The one conversation there is, and its first turn's audio, the caller's first.
fn stored(server: &Server) -> (Value, Vec<Vec<u8>>) {
    let list = server.get("/api/conversations").json();
    assert_eq!(list.as_array().unwrap().len(), 1, "{list}");
    let shown = server.get(&format!("/api/conversations/{}", list[0]["id"].as_str().unwrap())).json();
    let audio = ["user", "assistant"].map(|side| {
        let told = server.get(shown["turns"][0][side]["audio"].as_str().unwrap());
        assert_eq!(told.status, 200);
        told.body
    });
    (shown, audio.into())
}

/// How far better audio is changes while nobody looks.
fn without_renders(shown: &Value) -> Value {
    let mut shown = shown.clone();
    let replies = shown["turns"].as_array_mut().unwrap().iter_mut();
    replies.for_each(|turn| drop(turn["assistant"].as_object_mut().unwrap().remove("hq").unwrap()));
    shown
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap().trim()
}

#[test]
fn a_spoken_question_is_understood() {
    let evidence = &*EVIDENCE;
    let transcript = text(&evidence.turn, "transcript");
    let rate = word_error_rate(&evidence.said, transcript);
    assert!(rate <= 0.10, "{rate}: {transcript}");
}

#[test]
fn the_answer_is_heard_as_it_is_written_and_unclipped() {
    let evidence = &*EVIDENCE;
    assert_eq!(evidence.turn["answered"], true, "{}", evidence.turn);
    assert_eq!(evidence.turn["errors"], serde_json::json!([]));
    let reply = text(&evidence.turn, "reply");
    assert!(words(reply).len() >= 2, "{reply}");
    assert!(audio::level::peak(&evidence.heard.samples) > 0.05, "it is hardly to be heard");
    assert!(audio::level::longest_clipping(&evidence.heard.samples) < 3, "it is clipped");
    let heard = transcribe(&evidence.heard);
    let rate = word_error_rate(reply, &heard);
    assert!(rate <= 0.25, "{rate}: '{reply}' was heard as '{heard}'");
}

#[test]
fn a_power_cut_loses_no_finished_turn() {
    let evidence = &*EVIDENCE;
    assert_eq!(without_renders(&evidence.after.0), without_renders(&evidence.before.0));
    assert!(evidence.after.1 == evidence.before.1, "the audio is another");
    let turn = &evidence.after.0["turns"][0];
    assert_eq!(text(&turn["user"], "text"), text(&evidence.turn, "transcript"));
    assert_eq!(text(&turn["assistant"], "text"), text(&evidence.turn, "reply"));
    for (side, audio) in ["user", "assistant"].iter().zip(&evidence.after.1) {
        let pcm = audio::ogg::read(&audio[..]).unwrap();
        let told = turn[side]["duration_ms"].as_f64().unwrap();
        assert!(
            (pcm.duration().as_secs_f64() * 1e3 - told).abs() < 100.0,
            "{side}: {:?}, not {told} ms",
            pcm.duration()
        );
        assert!(audio::level::peak(&pcm.samples) > 0.05, "{side} is silent");
    }
}

#[test]
fn history_is_closed_to_who_has_no_key() {
    assert_eq!(EVIDENCE.unauthorized, 401);
}

#[test]
fn the_log_holds_neither_what_was_said_nor_the_key() {
    let evidence = &*EVIDENCE;
    assert!(evidence.log.contains("call begins") && evidence.log.contains(" DEBUG "), "the log is not the one meant");
    assert!(!evidence.log.contains(KEY), "the key is in the log");
    let logged = format!(" {} ", words(&evidence.log).join(" "));
    for (whose, said) in [("caller", text(&evidence.turn, "transcript")), ("reply", text(&evidence.turn, "reply"))] {
        let said = words(said);
        for three in said.windows(3) {
            let three = format!(" {} ", three.join(" "));
            assert!(!logged.contains(&three), "the {whose}'s words '{three}' are in the log");
        }
    }
}

#[test]
fn a_log_that_goes_to_a_file_has_no_colours() {
    assert!(!EVIDENCE.log.contains('\u{1b}'));
}

#[test]
fn told_to_stop_the_server_ends_its_calls_closes_its_history_and_exits_with_zero() {
    let evidence = &*EVIDENCE;
    assert_eq!(evidence.stopped.code(), Some(0));
    assert!(evidence.caller_was_told, "the call that ran was not told of the end");
    assert_eq!(evidence.left, ["audio", "history.sqlite3", "voices"], "no write-ahead log is left");
    assert!(!evidence.log.contains("panicked"), "{}", evidence.log);
}

//! What a talk is reported as. Pure.

use std::ops::Range;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use signaling::caller::recording::Recording;

use super::talk::Noted;

/// One recording that was said, and what came of it.
#[derive(Debug, Clone)]
pub struct Turn {
    pub file: String,
    /// When the packet with the last voiced sample was sent.
    pub voice_end: Instant,
    /// When the first packet with voice came back.
    pub first_audible: Option<Instant>,
    /// Which of the events belong to it.
    pub events: Range<usize>,
    /// The reply was heard out.
    pub answered: bool,
}

pub fn report(start: Instant, events: &[Noted], turns: &[Turn], recording: &Recording, with_events: bool) -> Value {
    let told: Vec<_> = turns.iter().map(|turn| turn_report(start, events, turn)).collect();
    let mut report = json!({
        "turns": told,
        "packets": recording.packets(),
        "holes": recording.holes().iter().map(|hole| milliseconds(hole.length)).collect::<Vec<_>>(),
        "longest_wait_ms": milliseconds(recording.longest_wait()),
    });
    if with_events {
        let told: Vec<_> = events.iter().map(|noted| told_event(start, noted)).collect();
        report["events"] = Value::Array(told);
    }
    report
}

fn turn_report(start: Instant, events: &[Noted], turn: &Turn) -> Value {
    let own = events.get(turn.events.clone()).unwrap_or_default();
    let texts = |kind: &str, field: &str| -> Vec<String> {
        let of_kind = own.iter().filter(|noted| noted.kind() == kind);
        of_kind.filter_map(|noted| noted.event[field].as_str().map(str::to_owned)).collect()
    };
    let transcripts = texts("conversation.item.input_audio_transcription.completed", "transcript");
    let replies = texts("response.output_audio_transcript.done", "transcript");
    let stages =
        own.iter().rev().find(|noted| noted.kind() == "avatar.turn.timings").map(|noted| noted.event["stages"].clone());
    let usage = own
        .iter()
        .rev()
        .find(|noted| noted.kind() == "response.done")
        .map(|noted| noted.event["response"]["usage"].clone());
    let faults: Vec<_> =
        own.iter().filter(|noted| noted.kind() == "error").map(|noted| noted.event["error"].clone()).collect();
    // A turn that began while the recording still had voice to come cut the caller off.
    let committed_early =
        own.iter().filter(|noted| noted.kind() == "input_audio_buffer.committed" && noted.at < turn.voice_end).count();
    json!({
        "file": turn.file,
        "transcript": transcripts.join(" "),
        "reply": replies.join(" "),
        "answered": turn.answered,
        "voice_end_ms": milliseconds(turn.voice_end.saturating_duration_since(start)),
        "voice_to_voice_ms": turn.first_audible.map(|heard| milliseconds(heard.saturating_duration_since(turn.voice_end))),
        "false_cut_ins": committed_early,
        "stages": stages,
        "usage": usage,
        "errors": faults,
    })
}

fn told_event(start: Instant, noted: &Noted) -> Value {
    json!({"at_ms": milliseconds(noted.at.saturating_duration_since(start)), "event": noted.event})
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

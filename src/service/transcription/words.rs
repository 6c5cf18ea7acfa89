//! What was heard, in the shapes that clients ask for.

use std::fmt::Write;
use std::time::Duration;

use axum::Json;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use models::stt::wer::is_han;
use serde_json::{Value, json};

use super::listen::Passage;

/// `response_format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Json,
    Text,
    VerboseJson,
    Srt,
    Vtt,
}

impl Shape {
    pub const ALL: [(&'static str, Self); 5] = [
        ("json", Self::Json),
        ("text", Self::Text),
        ("verbose_json", Self::VerboseJson),
        ("srt", Self::Srt),
        ("vtt", Self::Vtt),
    ];
}

/// All that was heard so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    /// As it was asked for, or as it was found.
    pub language: Option<String>,
    /// Of the recording.
    pub duration: Duration,
    pub passages: Vec<Passage>,
}

impl Heard {
    /// Takes one more passage; gives what it adds to the text.
    pub fn take(&mut self, passage: Passage) -> String {
        let before = self.passages.last().and_then(|last| last.text.chars().next_back());
        let after = passage.text.chars().next();
        let delta = format!("{}{}", between(before, after), passage.text);
        self.language = self.language.take().or_else(|| passage.language.clone());
        self.passages.push(passage);
        delta
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        for passage in &self.passages {
            text.push_str(between(text.chars().next_back(), passage.text.chars().next()));
            text.push_str(&passage.text);
        }
        text
    }

    pub fn usage(&self) -> Value {
        json!({ "type": "duration", "seconds": self.duration.as_secs_f64().ceil() as u64 })
    }

    pub fn shaped(&self, shape: Shape) -> Response {
        let plain = |kind: &'static str, text: String| ([(header::CONTENT_TYPE, kind)], text).into_response();
        match shape {
            Shape::Json => Json(json!({ "text": self.text(), "usage": self.usage() })).into_response(),
            Shape::Text => plain("text/plain; charset=utf-8", self.text() + "\n"),
            Shape::VerboseJson => Json(self.verbose()).into_response(),
            Shape::Srt => plain("application/x-subrip; charset=utf-8", self.subtitles("", ",", true)),
            Shape::Vtt => plain("text/vtt; charset=utf-8", self.subtitles("WEBVTT\n\n", ".", false)),
        }
    }

    /// What a segment of OpenAI's has besides, and these engines do not know, is left out.
    fn verbose(&self) -> Value {
        let segment = |(id, passage): (usize, &Passage)| {
            json!({
                "id": id, "start": seconds(passage.from), "end": seconds(passage.to), "text": passage.text,
                "avg_logprob": passage.mean_log_probability,
            })
        };
        let segments: Vec<_> = self.passages.iter().enumerate().map(segment).collect();
        json!({
            "task": "transcribe", "language": self.language, "duration": seconds(self.duration), "text": self.text(),
            "segments": segments, "usage": self.usage(),
        })
    }

    fn subtitles(&self, head: &str, point: &str, numbered: bool) -> String {
        let mut text = head.to_owned();
        for (at, passage) in self.passages.iter().enumerate() {
            if numbered {
                let _ = writeln!(text, "{}", at + 1);
            }
            let (from, to) = (clock(passage.from, point), clock(passage.to, point));
            let _ = writeln!(text, "{from} --> {to}\n{}\n", passage.text);
        }
        text
    }
}

/// Chinese is written without spaces.
fn between(before: Option<char>, after: Option<char>) -> &'static str {
    let is_close = |character: char| is_han(character) || "，。！？；：、」』".contains(character);
    match (before, after) {
        (Some(before), Some(after)) if !(is_close(before) && is_close(after)) => " ",
        _ => "",
    }
}

/// To the millisecond.
fn seconds(time: Duration) -> f64 {
    time.as_millis() as f64 / 1000.0
}

fn clock(time: Duration, point: &str) -> String {
    let (millis, seconds) = (time.subsec_millis(), time.as_secs());
    format!("{:02}:{:02}:{:02}{point}{millis:03}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(texts: &[&str]) -> (Heard, String) {
        let mut heard = Heard { language: None, duration: Duration::from_millis(7_250), passages: Vec::new() };
        let mut deltas = String::new();
        for (at, text) in (0..).zip(texts) {
            let from = Duration::from_millis(3_723_004 + at * 1_500);
            let passage = Passage {
                from,
                to: from + Duration::from_millis(1_200),
                text: (*text).to_owned(),
                language: Some("en".to_owned()),
                mean_log_probability: -0.25,
            };
            deltas += &heard.take(passage);
        }
        (heard, deltas)
    }

    #[test]
    fn the_pieces_of_a_stream_are_the_text() {
        for (texts, text) in [
            (&["Hello there.", "How are you?"][..], "Hello there. How are you?"),
            (&["今天天氣", "很好。", "Yes."], "今天天氣很好。 Yes."),
            (&[], ""),
        ] {
            let (heard, deltas) = heard(texts);
            assert_eq!((heard.text().as_str(), deltas.as_str()), (text, text));
        }
    }

    #[test]
    fn subtitles_have_the_times_that_players_read() {
        let (heard, _) = heard(&["One.", "Two."]);
        assert_eq!(
            heard.subtitles("", ",", true),
            "1\n01:02:03,004 --> 01:02:04,204\nOne.\n\n2\n01:02:04,504 --> 01:02:05,704\nTwo.\n\n"
        );
        assert!(heard.subtitles("WEBVTT\n\n", ".", false).starts_with("WEBVTT\n\n01:02:03.004 --> 01:02:04.204\nOne."));
    }

    #[test]
    fn the_verbose_shape_has_what_was_found() {
        let verbose = heard(&["One."]).0.verbose();
        assert_eq!((&verbose["language"], &verbose["duration"]), (&json!("en"), &json!(7.25)));
        assert_eq!(verbose["segments"][0]["start"], 3_723.004);
        assert_eq!(verbose["segments"][0]["avg_logprob"], -0.25);
        assert_eq!(verbose["usage"]["seconds"], 8);
    }
}

//! Transcriptions on the wire: the form that asks, and what an answer says.
//!
//! Pure. Of `verbose_json` it takes what the gate weighs: the mean log probability and the probability that nobody spoke. Of plain
//! `json` there is the text alone, and the text then needs the voice activity detector's word to be believed.

use serde_json::Value;

use crate::stt::Recognized;

/// What a text without a probability is taken to have: said words of small talk are believed where a detector heard fitting
/// speech, and what engines say on noise is not (see [`crate::stt::gate`]).
const UNKNOWN_LOG_PROBABILITY: f32 = -0.4;
/// Segments of an answer that are looked at.
const SEGMENTS_MAX: usize = 10_000;

/// A part of a form.
pub(super) enum Field<'a> {
    Text(&'a str, &'a str),
    /// Name, file name, bytes.
    Wav(&'a str, &'a str, &'a [u8]),
}

/// `multipart/form-data` (RFC 7578). `boundary` must not occur in the fields.
pub(super) fn form(fields: &[Field<'_>], boundary: &str) -> Vec<u8> {
    let mut form = Vec::new();
    for field in fields {
        form.extend(format!("--{boundary}\r\ncontent-disposition: form-data; name=").into_bytes());
        match field {
            Field::Text(name, text) => form.extend(format!("\"{name}\"\r\n\r\n{text}").into_bytes()),
            Field::Wav(name, file, bytes) => {
                form.extend(format!("\"{name}\"; filename=\"{file}\"\r\ncontent-type: audio/wav\r\n\r\n").into_bytes());
                form.extend_from_slice(bytes);
            }
        }
        form.extend(b"\r\n");
    }
    form.extend(format!("--{boundary}--\r\n").into_bytes());
    form
}

/// What an answer says; `None` if it is none.
pub(super) fn read(body: &[u8]) -> Option<Recognized> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let text = answer["text"].as_str()?.to_owned();
    let language = answer["language"].as_str().and_then(tag);
    let segments = answer["segments"].as_array().map(Vec::as_slice).unwrap_or_default();
    let (mut log_probability, mut weights) = (0.0, 0.0);
    let mut no_speech: Option<f64> = None;
    for segment in segments.iter().take(SEGMENTS_MAX) {
        if let Some(mean) = segment["avg_logprob"].as_f64().filter(|mean| mean.is_finite()) {
            let tokens = segment["tokens"].as_array().map(|tokens| tokens.len() as f64);
            let seconds = || Some(segment["end"].as_f64()? - segment["start"].as_f64()?);
            let weight = tokens.or_else(seconds).filter(|weight| *weight > 0.0).unwrap_or(1.0);
            log_probability += mean * weight;
            weights += weight;
        }
        if let Some(probability) = segment["no_speech_prob"].as_f64() {
            // Somebody spoke if somebody spoke in any of them.
            no_speech = Some(no_speech.unwrap_or(1.0).min(probability));
        }
    }
    let mean_log_probability = if weights > 0.0 { (log_probability / weights) as f32 } else { UNKNOWN_LOG_PROBABILITY };
    // Servers that name their tokens are few: the words stand for them.
    let tokens = u32::try_from(text.split_whitespace().count()).unwrap_or(u32::MAX);
    let no_speech_probability = no_speech.map(|probability| probability as f32);
    Some(Recognized { text, language, mean_log_probability, tokens, no_speech_probability })
}

/// A language as BCP 47, from a code or an English name.
fn tag(language: &str) -> Option<String> {
    const NAMES: [(&str, &str); 12] = [
        ("arabic", "ar"),
        ("chinese", "zh"),
        ("dutch", "nl"),
        ("english", "en"),
        ("french", "fr"),
        ("german", "de"),
        ("italian", "it"),
        ("japanese", "ja"),
        ("korean", "ko"),
        ("portuguese", "pt"),
        ("russian", "ru"),
        ("spanish", "es"),
    ];
    let lower = language.trim().to_ascii_lowercase();
    let named = NAMES.iter().find(|(name, _)| *name == lower).map(|(_, code)| (*code).to_owned());
    let is_code = |text: &str| {
        let first = text.split('-').next().unwrap_or_default();
        (2..=3).contains(&first.len())
            && text.len() <= 16
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    named.or_else(|| is_code(&lower).then(|| language.trim().to_owned()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_weighed_by_tokens_and_taken_where_they_are() {
        let body = br#"{"task":"transcribe","language":"english","duration":3.0,"text":" Hello there.","segments":[
            {"avg_logprob":-0.1,"no_speech_prob":0.9,"tokens":[1,2,3]},
            {"avg_logprob":-0.5,"no_speech_prob":0.02,"tokens":[4]}]}"#;
        let heard = read(body).unwrap();
        assert_eq!((heard.text.as_str(), heard.language.as_deref()), (" Hello there.", Some("en")));
        assert!((heard.mean_log_probability + 0.2).abs() < 1e-6);
        assert_eq!(heard.no_speech_probability, Some(0.02));
        let plain = read(br#"{"text":"Hello."}"#).unwrap();
        assert_eq!((plain.mean_log_probability, plain.no_speech_probability), (UNKNOWN_LOG_PROBABILITY, None));
        assert_eq!(read(br#"{"text":"x","segments":null,"language":null}"#).unwrap().text, "x");
    }

    #[test]
    fn languages_are_tags_whatever_a_server_calls_them() {
        for (said, expected) in [
            ("en", Some("en")),
            ("zh-TW", Some("zh-TW")),
            ("Chinese", Some("zh")),
            ("klingon", None),
            ("", None),
            ("a b", None),
        ] {
            assert_eq!(tag(said).as_deref(), expected, "{said}");
        }
    }

    #[test]
    fn what_is_no_transcript_is_not_taken_for_silence() {
        for body in [&b""[..], b"Hello", b"[]", b"{\"error\":\"x\"}", b"{\"text\":1}"] {
            assert!(read(body).is_none());
        }
    }

    #[test]
    fn a_form_is_written_as_the_standard_has_it() {
        let form = form(&[Field::Text("model", "m"), Field::Wav("file", "speech.wav", b"RIFF")], "XX");
        let expected = "--XX\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nm\r\n--XX\r\ncontent-disposition: form-data; \
                        name=\"file\"; filename=\"speech.wav\"\r\ncontent-type: audio/wav\r\n\r\nRIFF\r\n--XX--\r\n";
        assert_eq!(String::from_utf8(form).unwrap(), expected);
    }
}

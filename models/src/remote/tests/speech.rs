//! Hearing and speaking: what is sent, and what comes of what is answered.

use std::time::Instant;

use audio::pcm::{Pcm, SampleRate};

use super::scripted::{Act, answer, chunk, end, head};
use super::*;
use crate::stt::script::Script;
use crate::stt::{Refused, SpeechToText, TranscribeRequest, Urgency};
use crate::tts::{SpeakRequest, TextToSpeech};

fn listener(server: &Scripted, partial_spacing: Option<Duration>) -> RemoteStt {
    RemoteStt::new(
        network(),
        RemoteSttSettings { server: settings(&server.address), partial_spacing },
        Script::ByLanguage,
    )
}

fn heard(urgency: Urgency, speech: Option<Duration>) -> TranscribeRequest {
    let audio: Vec<f32> = (0..16_000).map(|n| (n as f32 * 0.05).sin() * 0.3).collect();
    TranscribeRequest { audio: audio.into(), language: Some("zh-TW".into()), urgency, speech }
}

const SECOND: Option<Duration> = Some(Duration::from_secs(1));

#[tokio::test]
async fn speech_is_sent_as_a_recording_and_its_text_comes_back() {
    let body = r#"{"text":" 今天天氣怎麼樣？","language":"chinese","segments":[{"avg_logprob":-0.2,"tokens":[1,2],"no_speech_prob":0.01}]}"#;
    let server = Scripted::start([answer(200, "", body)]);
    let engine = listener(&server, None);
    let transcript = engine.transcribe(heard(Urgency::Final, SECOND)).unwrap().finished().await.unwrap();
    assert_eq!((transcript.text.as_str(), transcript.language.as_deref()), ("今天天氣怎麼樣？", Some("zh")));
    assert!((transcript.mean_log_probability + 0.2).abs() < 1e-6);
    let seen = &server.seen()[0];
    let form = String::from_utf8_lossy(&seen.body);
    assert_eq!(seen.path, "/v1/audio/transcriptions");
    for part in
        ["name=\"model\"\r\n\r\nm\r\n", "name=\"language\"\r\n\r\nzh\r\n", "verbose_json", "filename=\"speech.wav\""]
    {
        assert!(form.contains(part), "{part}");
    }
    let at = seen.body.windows(4).position(|bytes| bytes == b"RIFF").unwrap();
    let sent = audio::wav::read(&seen.body[at..]).unwrap();
    assert_eq!((sent.rate, sent.samples.len()), (SampleRate::HZ_16000, 16_000));
}

#[tokio::test]
async fn a_server_of_many_models_is_asked_for_one_that_hears() {
    let server = Scripted::start([answer(200, "", r#"{"text":"Hello there."}"#)]);
    let settings = ServerSettings { model: String::new(), ..settings(&server.address) };
    let engine =
        RemoteStt::new(network(), RemoteSttSettings { server: settings, partial_spacing: None }, Script::ByLanguage);
    engine.transcribe(heard(Urgency::Final, SECOND)).unwrap().finished().await.unwrap();
    assert!(String::from_utf8_lossy(&server.seen()[0].body).contains("name=\"model\"\r\n\r\near\r\n"));
}

#[tokio::test]
async fn a_server_without_probabilities_is_asked_for_text_alone_from_then_on() {
    let refusal = answer(422, "", r#"{"detail":"response_format verbose_json is not supported"}"#);
    let server = Scripted::start([refusal, answer(200, "", r#"{"text":"Hello there."}"#)]);
    let engine = listener(&server, None);
    for _ in 0..2 {
        let transcript = engine.transcribe(heard(Urgency::Final, SECOND)).unwrap().finished().await.unwrap();
        assert_eq!(transcript.text, "Hello there.");
    }
    let asked: Vec<bool> =
        server.seen().iter().map(|seen| String::from_utf8_lossy(&seen.body).contains("verbose_json")).collect();
    assert_eq!(asked, [true, false, false]);
}

#[tokio::test]
async fn a_caller_who_reads_traditional_characters_gets_them_from_a_server_that_writes_simplified() {
    let body = r#"{"text":"你听得见我说话吗？","language":"chinese"}"#;
    let server = Scripted::start([answer(200, "", body)]);
    let transcript =
        listener(&server, None).transcribe(heard(Urgency::Final, SECOND)).unwrap().finished().await.unwrap();
    assert_eq!(transcript.text, "你聽得見我說話嗎？");
}

#[tokio::test]
async fn what_a_server_makes_of_noise_is_withheld() {
    let server = Scripted::start([answer(200, "", r#"{"text":"Thank you for watching!"}"#)]);
    let transcript = listener(&server, None)
        .transcribe(heard(Urgency::Final, Some(Duration::ZERO)))
        .unwrap()
        .finished()
        .await
        .unwrap();
    assert_eq!((transcript.text.as_str(), transcript.refused), ("", Some(Refused::Phantom)));
}

#[tokio::test]
async fn partials_do_not_hammer_a_server_and_the_final_is_never_refused() {
    let server = Scripted::start([vec![Act::UntilClosed]]);
    let engine = listener(&server, Some(Duration::from_secs(300)));
    let partial = || engine.transcribe(heard(Urgency::Partial, SECOND));
    let first = partial().unwrap();
    for _ in 0..5 {
        assert!(matches!(partial(), Err(EngineError::Overloaded { .. })));
    }
    let last = engine.transcribe(heard(Urgency::Final, SECOND)).unwrap();
    until(|| server.seen().len() == 2).await;
    drop((first, last));
    until(|| server.closed() == 2).await;
    let off = listener(&server, None).transcribe(heard(Urgency::Partial, SECOND));
    assert!(matches!(off, Err(EngineError::Overloaded { .. })));
    let busy = listener(&server, Some(Duration::ZERO));
    let under_way: Vec<_> = (0..8).map(|_| busy.transcribe(heard(Urgency::Partial, SECOND))).collect();
    assert_eq!(under_way.iter().filter(|asked| asked.is_ok()).count(), 4);
}

fn voice(server: &Scripted, encoding: Encoding) -> RemoteTts {
    let voices = vec!["alloy".into(), "echo".into()];
    let rate = SampleRate::HZ_24000;
    RemoteTts::new(network(), RemoteTtsSettings { server: settings(&server.address), voices, encoding, rate })
}

fn sentence(voice: &str) -> SpeakRequest {
    SpeakRequest { text: "Good morning.".into(), voice: voice.into(), deadline: Instant::now() }
}

/// Half a second of a tone after as much silence.
fn tone() -> Vec<f32> {
    (0..24_000).map(|n| if n < 12_000 { 0.0 } else { (n as f32 * 0.1).sin() * 0.4 }).collect()
}

fn raw() -> Vec<u8> {
    tone().iter().flat_map(|sample| audio::pcm::to_i16(*sample).to_le_bytes()).collect()
}

async fn listen(engine: &RemoteTts, voice: &str) -> (Option<Pcm>, Option<String>) {
    let mut speech = match engine.speak(sentence(voice)) {
        Ok(speech) => speech,
        Err(error) => return (None, Some(error.to_string())),
    };
    let mut all: Option<Pcm> = None;
    while let Some(chunk) = speech.next().await {
        match (chunk, &mut all) {
            (Ok(chunk), Some(all)) => all.samples.extend(chunk.samples),
            (Ok(chunk), None) => all = Some(chunk),
            (Err(error), _) => return (all, Some(error.to_string())),
        }
    }
    (all, None)
}

#[tokio::test]
async fn speech_is_heard_without_its_silent_beginning_whatever_its_wrapping() {
    let mut wav = Vec::new();
    audio::wav::write(&Pcm::new(SampleRate::HZ_24000, tone()), &mut wav).unwrap();
    wav[40..44].copy_from_slice(&u32::MAX.to_le_bytes());
    for (encoding, kind, bytes, rate) in [
        (Encoding::Pcm, "audio/pcm", raw(), 24_000),
        (Encoding::Pcm, "audio/pcm; rate=16000", raw(), 16_000),
        (Encoding::Pcm, "application/octet-stream", wav.clone(), 24_000),
        (Encoding::Wav, "audio/wav", wav, 24_000),
    ] {
        let script = std::iter::once(head(kind)).chain(bytes.chunks(1_001).map(chunk)).chain([end()]).collect();
        let server = Scripted::start([script]);
        let (pcm, error) = listen(&voice(&server, encoding), "remote/echo").await;
        let pcm = pcm.unwrap();
        assert_eq!((error, pcm.rate.hertz()), (None, rate), "{kind}");
        // What is left of the silence, the tone, and the gap to the next sentence.
        let seconds = pcm.samples.len() as f64 / 24_000.0;
        assert!((0.5..0.75).contains(&seconds), "{kind}: {seconds}");
        let body: serde_json::Value = serde_json::from_slice(&server.seen()[0].body).unwrap();
        let format = if encoding == Encoding::Wav { "wav" } else { "pcm" };
        assert_eq!(
            (&body["voice"], &body["input"], &body["response_format"]),
            (&"echo".into(), &"Good morning.".into(), &format.into())
        );
    }
}

#[tokio::test]
async fn what_is_no_sound_is_told_and_not_played() {
    for (script, part) in [
        (answer(200, "", r#"{"error":"no voice"}"#), "not with sound"),
        (vec![head("audio/mpeg"), chunk(b"ID3\x04rest of an mp3"), end()], "compressed"),
        (vec![head("audio/pcm"), end()], "before its first sound"),
    ] {
        let server = Scripted::start([script]);
        let (pcm, error) = listen(&voice(&server, Encoding::Pcm), "").await;
        assert!(pcm.is_none() && error.as_ref().unwrap().contains(part), "{error:?}");
    }
}

#[tokio::test]
async fn speech_that_breaks_off_is_an_error_after_what_was_heard() {
    let server = Scripted::start([vec![head("audio/pcm"), chunk(&raw()), Act::Close]]);
    let (pcm, error) = listen(&voice(&server, Encoding::Pcm), "").await;
    assert!(pcm.unwrap().samples.len() > 11_000 && error.unwrap().contains("broke off"));
    assert_eq!(server.seen().len(), 1, "half of it would be heard twice");
}

#[tokio::test]
async fn a_listener_who_goes_away_closes_the_connection() {
    let server = Scripted::start([vec![head("audio/pcm"), chunk(&raw()), Act::UntilClosed]]);
    let engine = voice(&server, Encoding::Pcm);
    let mut speech = engine.speak(sentence("")).unwrap();
    speech.next().await.unwrap().unwrap();
    drop(speech);
    until(|| server.closed() == 1).await;
}

#[tokio::test]
async fn a_voice_that_is_not_named_is_refused_here() {
    let server = Scripted::start([vec![Act::Close]]);
    let (_, error) = listen(&voice(&server, Encoding::Pcm), "flite/slt").await;
    assert!(error.unwrap().contains("remote/alloy, remote/echo"));
}

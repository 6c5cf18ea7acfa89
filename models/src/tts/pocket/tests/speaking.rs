//! The engine as calls use it, with random weights of a small shape: queue, order, cancelling, voices, bad texts.

use std::time::{Duration, Instant};

use audio::pcm::Pcm;

use super::super::config::Config;
use super::super::linear::Precision;
use super::super::random::{random_model, random_values, write_random_weights};
use super::super::service::PocketTts;
use super::super::{script, tokens::Tokens};
use super::{recorded, small_config};
use crate::error::EngineError;
use crate::tts::voices::Voices;
use crate::tts::{ClonedVoice, SpeakRequest, Speech, TextToSpeech, VoiceCloner};

/// A small model that speaks every text to its greatest length.
fn engine(change: impl FnOnce(&mut Config)) -> PocketTts {
    let mut config = small_config("usual");
    config.default_eos_threshold = 1e30;
    change(&mut config);
    let tokens = Tokens::open(&recorded("tokenizer.json"), config.flow_lm.lookup_table.n_bins).unwrap();
    let model = random_model(config, Precision::Single).unwrap();
    let presets = vec![("alba".to_owned(), recorded("usual-voice.safetensors"))];
    PocketTts::start("small", model, tokens, presets).unwrap()
}

fn request(text: &str, deadline: Instant) -> SpeakRequest {
    SpeakRequest { text: text.into(), voice: String::new(), deadline }
}

async fn whole(mut speech: Speech) -> Result<Vec<f32>, EngineError> {
    let mut samples = Vec::new();
    while let Some(chunk) = speech.next().await {
        samples.extend(chunk?.samples);
    }
    Ok(samples)
}

fn reason(engine: &PocketTts, request: SpeakRequest) -> String {
    engine.speak(request).err().map_or_else(String::new, |error| error.to_string())
}

#[tokio::test]
async fn speeches_asked_for_together_all_come_out_whole() {
    // They end as soon as an end is believed.
    let engine = engine(|config| config.default_eos_threshold = -1e30);
    let now = Instant::now();
    let speeches: Vec<Speech> =
        (0..12).map(|_| engine.speak(request("Good morning, it is sunny.", now)).unwrap()).collect();
    for speech in speeches {
        let seconds = whole(speech).await.unwrap().len() as f32 / 8_000.0;
        assert!((0.5..2.0).contains(&seconds), "{seconds} s");
    }
    let load = engine.load();
    assert_eq!((load.served, load.waiting, load.dropped), (12, 0, 0));
}

#[tokio::test]
async fn numbers_and_dates_are_said_in_words() {
    // Every text is spoken to its greatest length, which its tokens decide.
    let engine = engine(|_| ());
    let mut lengths = Vec::new();
    for text in ["On 3/14 it costs $45.50.", "On March fourteenth it costs forty-five dollars and fifty cents."] {
        lengths.push(whole(engine.speak(request(text, Instant::now())).unwrap()).await.unwrap().len());
    }
    assert_eq!(lengths[0], lengths[1]);
}

#[tokio::test]
async fn speech_of_one_who_has_gone_stops_within_a_frame() {
    let engine = engine(|_| ());
    let now = Instant::now();
    let long = "good morning how can i help you today ".repeat(40);
    let mut speech = engine.speak(request(&long, now)).unwrap();
    assert!(speech.next().await.unwrap().is_ok());
    drop(speech);
    whole(engine.speak(request("Yes.", now)).unwrap()).await.unwrap();
    let spoken = engine.load().spoken;
    assert!(spoken < Duration::from_secs(60), "{spoken:?} were made though the listener had gone");
}

#[tokio::test]
async fn caller_who_does_not_listen_holds_up_nobody() {
    let engine = engine(|_| ());
    let now = Instant::now();
    // More than the channel takes, and more urgent.
    let long = "good morning. ".repeat(400);
    let slow = engine.speak(request(&long, now)).unwrap();
    let quick = engine.speak(request("Good morning.", now + Duration::from_secs(3600))).unwrap();
    assert!(!whole(quick).await.unwrap().is_empty());
    drop(slow);
}

#[tokio::test]
async fn text_of_ten_thousand_characters_is_spoken_in_pieces() {
    let engine = engine(|_| ());
    let text = "It is sunny; we go out! ".repeat(417);
    assert!(text.len() > 10_000);
    let mut speech = engine.speak(request(&text, Instant::now())).unwrap();
    for _ in 0..50 {
        assert!(speech.next().await.unwrap().is_ok());
    }
    let config = small_config("usual");
    let tokens = Tokens::open(&recorded("tokenizer.json"), config.flow_lm.lookup_table.n_bins).unwrap();
    let pieces = script::pieces(&text, &tokens, &config).unwrap();
    assert!(pieces.len() > 100);
    for piece in &pieces {
        assert!(tokens.encode(piece).unwrap().len() <= 51, "{piece:?}");
    }
    let unspaced = "a".repeat(10_000);
    let pieces = script::pieces(&unspaced, &tokens, &config).unwrap();
    assert_eq!(pieces.concat(), unspaced);
    assert!(pieces.iter().all(|piece| tokens.encode(piece).unwrap().len() <= 52));
    assert!(reason(&engine, request(&"a ".repeat(20_000), Instant::now())).contains("send it in parts"));
}

#[test]
fn what_has_no_sound_here_is_refused_with_the_reason() {
    let engine = engine(|_| ());
    let now = Instant::now();
    assert!(reason(&engine, request("😀 🎉", now)).contains("nothing that can be spoken"));
    assert!(reason(&engine, request("", now)).contains("nothing that can be spoken"));
    assert!(reason(&engine, request("今天天气很好", now)).contains("English only"));
    assert!(reason(&engine, request("Доброе утро", now)).contains("English only"));
    assert_eq!(reason(&engine, request("I like café 北京 a lot", now)), "");
    let other = SpeakRequest { voice: "pocket-tts/nobody".into(), ..request("Hello", now) };
    assert!(reason(&engine, other).contains("pocket-tts/alba"));
}

#[tokio::test]
async fn cloned_voice_speaks_until_it_is_removed() {
    let engine = engine(|_| ());
    let rate = audio::pcm::SampleRate::HZ_16000;
    let recording = Pcm::new(rate, random_values("someone", 4 * 16_000).into_iter().map(|value| value * 0.5).collect());
    let cloned = engine.condition(&recording).unwrap();
    let again = engine.condition(&recording).unwrap();
    // The notes in the header are in no order.
    let numbers = |voice: &ClonedVoice| {
        voice.bytes[8 + usize::from(voice.bytes[0]) + 256 * usize::from(voice.bytes[1])..].to_vec()
    };
    assert_eq!(numbers(&cloned), numbers(&again), "the same recording gave another voice");
    let voice = engine.add_voice("someone", &cloned).unwrap();
    assert_eq!(voice.id, "pocket-tts/someone");
    assert!(engine.has_voice(&voice.id));
    let voices = Voices::new(vec![std::sync::Arc::new(engine)], None).unwrap();
    let asked = SpeakRequest { voice: voice.id.clone(), ..request("Good morning.", Instant::now()) };
    assert!(!whole(voices.speak(asked).unwrap()).await.unwrap().is_empty());
}

#[test]
fn voice_that_is_not_of_these_weights_is_not_added() {
    let engine = engine(|_| ());
    let refused = |name: &str, voice: &ClonedVoice| engine.add_voice(name, voice).err().map(|error| error.to_string());
    let voice = |bytes: &[u8]| ClonedVoice { engine: "pocket-tts", bytes: bytes.to_vec() };
    let good = std::fs::read(recorded("usual-voice.safetensors")).unwrap();
    assert!(refused("a", &voice(&good[..good.len() / 2])).unwrap().contains("cannot be used"));
    assert!(refused("a", &ClonedVoice { engine: "flite", bytes: good.clone() }).unwrap().contains("made by flite"));
    assert!(refused("alba", &voice(&good)).unwrap().contains("another name"));
    assert!(refused("a/b", &voice(&good)).unwrap().contains("another name"));
    assert_eq!(refused("a", &voice(&good)), None);
    assert!(engine.remove_voice("pocket-tts/a") && !engine.remove_voice("pocket-tts/a"));
    assert!(!engine.remove_voice("pocket-tts/alba"));
    for index in 0..32 {
        assert_eq!(refused(&format!("voice-{index}"), &voice(&good)), None);
    }
    assert!(refused("one-more", &voice(&good)).unwrap().contains("remove one first"));
}

#[test]
fn prompt_is_written_as_the_model_was_taught() {
    let config = small_config("usual");
    let finish = |text: &str| script::finish(text, &config).map(|piece| (piece.text, piece.frames_after_end));
    let expect =
        |text: &str, to: &str, frames: usize| assert_eq!(finish(text), Some((to.to_owned(), frames)), "{text}");
    expect("hello", "Hello.", 5);
    expect("so it goes, on and on,", "So it goes, on and on.", 3);
    expect("he said “yes I will go”", "He said “yes I will go”.", 3);
    expect("“Hi?”, she  said to\nhim", "“Hi?”, she said to him.", 3);
    expect("it’s late now my friend?", "It's late now my friend?", 3);
    assert_eq!(finish("   "), None);
}

#[tokio::test]
async fn folder_is_opened_with_what_is_in_it_or_refused_by_the_name_of_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let open = || PocketTts::open_as(folder.path(), "small", small_config("usual"), Precision::Single);
    let missing = || open().err().unwrap().to_string();
    assert!(missing().contains("model.safetensors"), "{}", missing());
    write_random_weights(small_config("usual"), &folder.path().join("model.safetensors")).unwrap();
    assert!(missing().contains("tokenizer.json"), "{}", missing());
    std::fs::copy(recorded("tokenizer.json"), folder.path().join("tokenizer.json")).unwrap();
    assert!(missing().contains("voice-alba.safetensors"), "{}", missing());
    for name in ["zoe", "alba", "carl"] {
        let voice = folder.path().join(format!("voice-{name}.safetensors"));
        std::fs::copy(recorded("usual-voice.safetensors"), voice).unwrap();
    }
    let (engine, speed) = open().unwrap();
    assert!(speed.real_time_factor > 0.0);
    let ids: Vec<&str> = engine.voices().iter().map(|voice| voice.id.as_str()).collect();
    assert_eq!(ids, ["pocket-tts/alba", "pocket-tts/carl", "pocket-tts/zoe"]);
    let asked = SpeakRequest { voice: "pocket-tts/zoe".into(), ..request("Good morning.", Instant::now()) };
    assert!(!whole(engine.speak(asked).unwrap()).await.unwrap().is_empty());
    std::fs::write(folder.path().join("voice-alba.safetensors"), b"no voice").unwrap();
    assert!(missing().contains("voice-alba.safetensors"), "{}", missing());
}

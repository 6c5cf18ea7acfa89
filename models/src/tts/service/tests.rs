#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc as std_mpsc;

use super::*;
use crate::tts::festival::Festival;
use crate::tts::flite::Flite;
use crate::tts::voices::Voices;

const RATE: SampleRate = SampleRate::HZ_16000;

/// Says a loud chunk of 20 ms a character; first waits for the test, if it is told to.
struct Scripted {
    gate: Option<std_mpsc::Receiver<()>>,
    said: Arc<Mutex<Vec<String>>>,
    chunks: Arc<AtomicUsize>,
    voices: Vec<Voice>,
}

impl Synthesizer for Scripted {
    fn name(&self) -> String {
        "scripted".into()
    }

    fn voices(&self) -> Vec<Voice> {
        self.voices.clone()
    }

    fn synthesize(
        &mut self,
        text: &str,
        _voice: &str,
        sink: &mut dyn FnMut(Pcm) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        self.said.lock().unwrap().push(text.into());
        if let Some(gate) = &self.gate {
            let _ = gate.recv();
        }
        assert!(text != "panic", "scripted panic");
        if text == "error" {
            return Err(EngineError::BadRequest("scripted error".into()));
        }
        for _ in text.chars() {
            self.chunks.fetch_add(1, Ordering::SeqCst);
            if sink(Pcm::new(RATE, vec![0.5; 320])).is_break() {
                break;
            }
        }
        Ok(())
    }
}

fn voice(id: &str) -> Voice {
    Voice { id: id.into(), name: id.into(), language: "en-US", rate: RATE }
}

struct Stage {
    service: SpeechService,
    gate: std_mpsc::Sender<()>,
    said: Arc<Mutex<Vec<String>>>,
    chunks: Arc<AtomicUsize>,
}

fn stage(gated: bool, ids: &[&str]) -> Stage {
    let (gate, waiting) = std_mpsc::channel();
    let (said, chunks) = (Arc::default(), Arc::default());
    let scripted = Scripted {
        gate: gated.then_some(waiting),
        said: Arc::clone(&said),
        chunks: Arc::clone(&chunks),
        voices: ids.iter().map(|id| voice(id)).collect(),
    };
    Stage { service: SpeechService::start("scripted", vec![Box::new(scripted)]).unwrap(), gate, said, chunks }
}

fn request(text: &str, deadline_ms: u64, base: Instant) -> SpeakRequest {
    SpeakRequest { text: text.into(), voice: String::new(), deadline: base + Duration::from_millis(deadline_ms) }
}

async fn whole(mut speech: Speech) -> Result<Vec<f32>, EngineError> {
    let mut samples = Vec::new();
    while let Some(chunk) = speech.next().await {
        samples.extend(chunk?.samples);
    }
    Ok(samples)
}

/// The worker has begun on its first sentence, and waits.
async fn until_begun(said: &Mutex<Vec<String>>) {
    while said.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn sentence_whose_listener_runs_dry_first_is_made_first() {
    let Stage { service, gate, said, .. } = stage(true, &["s/a"]);
    let now = Instant::now();
    let first = service.speak(request("first", 0, now)).unwrap();
    until_begun(&said).await;
    let late = service.speak(request("late", 300, now)).unwrap();
    let soon = service.speak(request("soon", 100, now)).unwrap();
    let also_soon = service.speak(request("also soon", 100, now)).unwrap();
    assert_eq!(service.queue(), Some(QueueDepth { waiting: 3, busy: 1 }));
    for _ in 0..4 {
        gate.send(()).unwrap();
    }
    for speech in [first, late, soon, also_soon] {
        assert!(!whole(speech).await.unwrap().is_empty());
    }
    assert_eq!(*said.lock().unwrap(), ["first", "soon", "also soon", "late"]);
    assert_eq!(service.load().served, 4);
    assert_eq!(service.queue(), Some(QueueDepth::default()));
}

#[tokio::test]
async fn request_whose_caller_has_gone_costs_no_work() {
    let Stage { service, gate, said, .. } = stage(true, &["s/a"]);
    let now = Instant::now();
    let first = service.speak(request("first", 0, now)).unwrap();
    until_begun(&said).await;
    drop(service.speak(request("gone", 100, now)).unwrap());
    let last = service.speak(request("last", 200, now)).unwrap();
    gate.send(()).unwrap();
    gate.send(()).unwrap();
    whole(first).await.unwrap();
    whole(last).await.unwrap();
    assert_eq!(*said.lock().unwrap(), ["first", "last"]);
    assert_eq!(service.load().dropped, 1);
}

#[tokio::test]
async fn cancelled_sentence_stops_within_one_chunk() {
    let Stage { service, gate, said, chunks } = stage(true, &["s/a"]);
    let now = Instant::now();
    let speech = service.speak(request(&"x".repeat(200), 0, now)).unwrap();
    until_begun(&said).await;
    drop(speech);
    gate.send(()).unwrap();
    gate.send(()).unwrap();
    whole(service.speak(request("next", 0, now)).unwrap()).await.unwrap();
    assert_eq!(chunks.load(Ordering::SeqCst), 1 + "next".len());
}

#[tokio::test]
async fn full_queue_refuses_at_once_and_the_gone_make_room() {
    let Stage { service, gate, said, .. } = stage(true, &["s/a"]);
    let now = Instant::now();
    let first = service.speak(request("first", 0, now)).unwrap();
    until_begun(&said).await;
    let mut waiting: Vec<Speech> = (0..QUEUE_BOUND).map(|_| service.speak(request("wait", 1, now)).unwrap()).collect();
    let refused = service.speak(request("too many", 1, now)).err().unwrap();
    assert!(matches!(refused, EngineError::Overloaded { waiting: QUEUE_BOUND, .. }), "{refused}");
    waiting.pop();
    waiting.push(service.speak(request("fits", 1, now)).unwrap());
    for _ in 0..=QUEUE_BOUND {
        gate.send(()).unwrap();
    }
    whole(first).await.unwrap();
    for speech in waiting {
        whole(speech).await.unwrap();
    }
}

#[tokio::test]
async fn panic_of_an_engine_fails_one_sentence_only() {
    let Stage { service, .. } = stage(false, &["s/a"]);
    let now = Instant::now();
    let error = whole(service.speak(request("panic", 0, now)).unwrap()).await.unwrap_err();
    assert!(
        matches!(&error, EngineError::Failed { engine: "scripted", reason } if reason.contains("scripted panic")),
        "{error}"
    );
    let error = whole(service.speak(request("error", 0, now)).unwrap()).await.unwrap_err();
    assert!(matches!(error, EngineError::BadRequest(_)), "{error}");
    assert!(!whole(service.speak(request("fine", 0, now)).unwrap()).await.unwrap().is_empty());
}

#[tokio::test]
async fn listener_in_real_time_does_not_hold_the_engine() {
    let Stage { service, .. } = stage(false, &["s/a"]);
    let now = Instant::now();
    // 80 s of audio that nobody takes yet.
    let slow = service.speak(request(&"x".repeat(TEXT_MAX), 0, now)).unwrap();
    let quick = service.speak(request("quick", 0, now)).unwrap();
    assert!(!whole(quick).await.unwrap().is_empty());
    let samples = whole(slow).await.unwrap();
    assert_eq!(samples.len(), TEXT_MAX * 320 + RATE.samples_in(super::super::trim::SENTENCE_GAP), "audio lost");
}

#[tokio::test]
async fn stopping_the_service_ends_what_waits_with_a_reason() {
    let Stage { service, gate, said, .. } = stage(true, &["s/a"]);
    let now = Instant::now();
    let first = service.speak(request("first", 0, now)).unwrap();
    until_begun(&said).await;
    let second = service.speak(request("second", 0, now)).unwrap();
    let stopping = std::thread::spawn(move || drop(service));
    let error = whole(second).await.unwrap_err();
    drop(gate);
    stopping.join().unwrap();
    assert!(matches!(error, EngineError::Stopped { .. }), "{error}");
    assert!(whole(first).await.is_err());
}

#[tokio::test]
async fn unsayable_overlong_or_unknown_is_refused_before_the_queue() {
    let Stage { service, .. } = stage(false, &["s/a", "s/b"]);
    let now = Instant::now();
    let bad = |text: &str, voice: &str| {
        let error = service.speak(SpeakRequest { voice: voice.into(), ..request(text, 0, now) }).err().unwrap();
        assert!(matches!(error, EngineError::BadRequest(_)), "{error}");
        error.to_string()
    };
    assert!(bad("😀", "").contains("nothing that can be spoken"));
    assert!(bad(&"a".repeat(TEXT_MAX + 1), "").contains("4000"));
    assert!(bad("hello", "s/c").contains("s/a, s/b"));
}

#[tokio::test]
async fn engine_is_given_words_in_the_language_of_its_voice() {
    let said = Arc::default();
    let voices = [("s/en", "en-US"), ("s/zh", "zh-TW")].map(|(id, language)| Voice { language, ..voice(id) });
    let scripted = Scripted { gate: None, said: Arc::clone(&said), chunks: Arc::default(), voices: voices.to_vec() };
    let service = SpeechService::start("scripted", vec![Box::new(scripted)]).unwrap();
    for id in ["s/en", "s/zh"] {
        let asked = SpeakRequest { voice: id.into(), ..request("NT$1,200, 14:30", 0, Instant::now()) };
        whole(service.speak(asked).unwrap()).await.unwrap();
    }
    let said = said.lock().unwrap().clone();
    assert_eq!(
        said,
        ["one thousand two hundred New Taiwan dollars, fourteen thirty", "新台幣一千兩百元, 十四點三十分"]
    );
}

#[tokio::test]
async fn real_engines_refuse_what_they_cannot_say_and_say_the_rest() {
    let flite = Flite::open().unwrap_or_else(|error| panic!("{error}"));
    let festival = Festival::open().unwrap_or_else(|error| panic!("{error}"));
    let engines: [Box<dyn Synthesizer>; 2] = [Box::new(flite), Box::new(festival)];
    for engine in engines {
        let service = SpeechService::start("real", vec![engine]).unwrap();
        let refusal = async |text: &str| match service.speak(request(text, 0, Instant::now())) {
            Ok(speech) => whole(speech).await.unwrap_err().to_string(),
            Err(error) => error.to_string(),
        };
        let voice = &service.voices()[0].id;
        assert!(refusal(&"word ".repeat(2_000)).await.contains("at most 4000"), "{voice}");
        assert!(refusal("😀🎉 👍").await.contains("nothing that can be spoken"), "{voice}");
        for foreign in ["你好，世界。", "我有3個蘋果，12:30見。", "Привет, мир 5", "こんにちは 2026"]
        {
            let told = refusal(foreign).await;
            assert!(told.contains("English only") && told.contains(voice.as_str()), "{voice}: {told}");
        }
        for mixed in ["Hello 你好 my good friend 😀", "7", "50%", "It is 20°C – really."] {
            let samples = whole(service.speak(request(mixed, 0, Instant::now())).unwrap()).await.unwrap();
            assert!(samples.len() > 3_000, "{voice} says nothing of {mixed}");
        }
    }
}

#[tokio::test]
async fn each_voice_goes_to_the_engine_that_has_it() {
    let (one, two) = (stage(false, &["one/a", "one/b"]), stage(false, &["two/a"]));
    let engines: Vec<Arc<dyn TextToSpeech>> = vec![Arc::new(one.service), Arc::new(two.service)];
    let voices = Voices::new(engines.clone(), Some("two/a")).unwrap();
    let ids: Vec<&str> = voices.voices().iter().map(|voice| voice.id.as_str()).collect();
    assert_eq!(ids, ["two/a", "one/a", "one/b"]);
    let now = Instant::now();
    for (id, text) in [("", "default"), ("one/b", "by id"), ("one", "by engine")] {
        whole(voices.speak(SpeakRequest { voice: id.into(), ..request(text, 0, now) }).unwrap()).await.unwrap();
    }
    assert_eq!(*one.said.lock().unwrap(), ["by id", "by engine"]);
    assert_eq!(*two.said.lock().unwrap(), ["default"]);
    assert!(voices.speak(SpeakRequest { voice: "three/a".into(), ..request("x", 0, now) }).is_err());
    assert!(Voices::new(engines, Some("three/a")).is_err());
    assert!(Voices::new(Vec::new(), None).is_err());
}

#[tokio::test]
async fn spoken_sentence_begins_at_once_and_leaves_a_short_gap() {
    let flite = Flite::open().unwrap_or_else(|error| panic!("{error}"));
    let service = SpeechService::start("flite", vec![Box::new(flite)]).unwrap();
    // Over 5 ms, since a voice's noise floor has single peaks; more than two neighbouring windows of silence can make together.
    let loud = |window: &[f32]| window.iter().map(|s| s * s).sum::<f32>() / window.len() as f32 > 0.0075_f32.powi(2);
    for voice in service.voices().to_vec() {
        let text = "Good morning, how can I help you?";
        let asked = SpeakRequest { voice: voice.id.clone(), ..request(text, 0, Instant::now()) };
        let samples = whole(service.speak(asked).unwrap()).await.unwrap();
        let lead = samples.windows(80).position(loud).unwrap() as f32 / 16.0;
        let tail = samples.windows(80).rev().position(loud).unwrap() as f32 / 16.0;
        assert!(lead < 30.0, "{}: {lead} ms of silence first", voice.id);
        assert!((80.0..300.0).contains(&tail), "{}: {tail} ms of silence last", voice.id);
    }
}

#[tokio::test]
async fn first_chunk_is_there_before_the_sentence_is_made() {
    let flite = Flite::open().unwrap_or_else(|error| panic!("{error}"));
    let service = SpeechService::start("flite", vec![Box::new(flite)]).unwrap();
    let mut speech = service.speak(request(&"And so it goes on and on. ".repeat(40), 0, Instant::now())).unwrap();
    assert!(speech.next().await.unwrap().is_ok());
    drop(speech);
    whole(service.speak(request("Yes.", 0, Instant::now())).unwrap()).await.unwrap();
    let spoken = service.load().spoken;
    assert!(spoken < Duration::from_secs(30), "{spoken:?} were made though the listener had gone");
}

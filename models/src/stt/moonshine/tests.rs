//! On the real model and human speech.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::super::gate::{self, Evidence};
use super::super::memory::Memory;
use super::super::pool::{PoolLimits, RecognizerPool};
use super::super::recordings::{self, SECOND};
use super::super::sliding;
use super::super::stream::{Ending, PrefixAgreement};
use super::super::wer::{word_error_rate, words};
use super::super::{Refused, SpeechToText, TranscribeRequest, Urgency};
use super::*;
use crate::cancel::CancelOnDrop;
use crate::vad::silero::Silero;
use crate::vad::{VoiceDetector, WINDOW};

const BECKETT: &str = "ever tried ever failed no matter try again fail again fail better";
const TWO_CITIES: &str = "it was the best of times it was the worst of times it was the age of wisdom it was the age of \
    foolishness it was the epoch of belief it was the epoch of incredulity it was the season of light it was the season \
    of darkness it was the spring of hope it was the winter of despair we had everything before us we had nothing before \
    us we were all going direct to heaven we were all going direct the other way in short the period was so far like the \
    present period that some of its noisiest authorities insisted on its being received for good or for evil in the \
    superlative degree of comparison only";

fn moonshine() -> Moonshine {
    let folder = recordings::model("moonshine-tiny-en/tokenizer.bin");
    Moonshine::load(&recordings::runtime(), folder.parent().unwrap(), 1).unwrap()
}

fn hear(moonshine: &mut Moonshine, audio: &[f32]) -> Recognized {
    sliding::transcribe(moonshine, audio, None, &Memory::default(), &Cancelled::default()).unwrap()
}

fn alone(audio: &[f32]) -> Piece<'_> {
    Piece { audio, language: None, before: "" }
}

#[test]
fn what_a_person_says_is_written_down() {
    let mut moonshine = moonshine();
    let beckett = hear(&mut moonshine, &recordings::speech("beckett"));
    assert!(word_error_rate(BECKETT, &beckett.text) <= 0.1, "{}", beckett.text);
    assert!(beckett.mean_log_probability > -0.5, "{}", beckett.mean_log_probability);
}

#[test]
fn a_recording_longer_than_a_piece_is_heard_to_its_end() {
    let heard = hear(&mut moonshine(), &recordings::speech("two_cities"));
    assert!(word_error_rate(TWO_CITIES, &heard.text) <= 0.1, "{}", heard.text);
}

#[test]
fn two_minutes_of_speech_lose_and_double_no_words_where_pieces_meet() {
    let once = recordings::speech("two_cities");
    let (count, mut audio) = (3, Vec::new());
    for _ in 0..count {
        audio.extend_from_slice(&once);
        audio.extend([0.0; SECOND / 2]);
    }
    let reference = vec![TWO_CITIES; count].join(" ");
    let heard = hear(&mut moonshine(), &audio);
    let rate = word_error_rate(&reference, &heard.text);
    assert!(rate <= 0.1, "{rate}: {}", heard.text);
    let said = words(&heard.text);
    let doubled: Vec<_> = said.windows(2).filter(|pair| pair[0] == pair[1]).collect();
    assert!(doubled.is_empty(), "{doubled:?}");
    let (said, wanted) = (said.len() as f32, words(&reference).len() as f32);
    assert!((0.95..=1.05).contains(&(said / wanted)), "{said} words of {wanted}");
}

#[tokio::test]
async fn growing_speech_is_the_same_text_as_whole_speech() {
    let pool = RecognizerPool::start(vec![Box::new(moonshine())], vec!["en"], PoolLimits::default()).unwrap();
    let audio = recordings::speech("two_cities");
    let ask = |end: usize, urgency| {
        let audio = audio.get(..end).unwrap().into();
        pool.transcribe(TranscribeRequest { audio, language: None, urgency, speech: None }).unwrap().finished()
    };
    for end in (SECOND..audio.len()).step_by(2 * SECOND) {
        ask(end, Urgency::Partial).await.unwrap();
    }
    let grown = ask(audio.len(), Urgency::Final).await.unwrap();
    assert_eq!(grown.text, hear(&mut moonshine(), &audio).text);
}

#[test]
fn nothing_and_a_click_are_not_an_error() {
    let mut moonshine = moonshine();
    assert_eq!(hear(&mut moonshine, &[]).text, "");
    hear(&mut moonshine, &[0.5]);
    hear(&mut moonshine, &recordings::tone(200, 1_000.0));
    let broken = moonshine.recognize(&alone(&[f32::NAN; 2_000]), &Cancelled::default());
    assert!(matches!(broken, Err(EngineError::Failed { .. })), "{broken:?}");
}

#[test]
fn noise_does_not_babble_without_end() {
    let mut moonshine = moonshine();
    for (name, audio) in recordings::not_speech() {
        let (tokens, _) = moonshine.piece(&audio, &Cancelled::default()).unwrap();
        assert!(tokens.len() <= 26, "{name}: {} tokens in four seconds", tokens.len());
    }
}

#[test]
fn a_minute_of_noise_gives_no_turn_and_speech_does() {
    let mut moonshine = moonshine();
    let detector =
        Silero::load(&recordings::runtime(), &recordings::model("silero-vad/silero_vad_16k_op15.onnx")).unwrap();
    let mut refused = |audio: &[f32]| {
        let mut stream = detector.stream();
        let windows = audio.as_chunks().0.iter().filter(|window| stream.push(window).unwrap() > 0.5).count();
        let recognized = hear(&mut moonshine, audio);
        gate::refuse(&Evidence::of(&recognized, Some(RATE.duration_of(windows * WINDOW))))
    };
    for (name, audio) in recordings::not_speech().into_iter().chain(recordings::extra("noise").map(|it| ("room", it))) {
        for length in [SECOND, 2 * SECOND, 4 * SECOND] {
            assert!(refused(&audio[..length]).is_some(), "{name}, {length} samples");
        }
    }
    assert_eq!(refused(&recordings::speech("beckett")[..2 * SECOND]), None);
    assert_eq!(refused(&recordings::speech("clone-test")), None);
}

#[test]
fn partials_of_growing_speech_are_the_beginning_of_the_final_text() {
    let mut moonshine = moonshine();
    for speech in [recordings::speech("beckett"), recordings::speech("two_cities")[..9 * SECOND].to_vec()] {
        let mut agreement = PrefixAgreement::default();
        let mut published = String::new();
        for end in (SECOND..speech.len()).step_by(SECOND) {
            published.extend(agreement.pass(&hear(&mut moonshine, &speech[..end]).text));
        }
        let text = hear(&mut moonshine, &speech).text;
        assert!(2 * words(&published).len() > words(&text).len(), "too late to be of use: {published:?}");
        let ending = agreement.finish(&text);
        let Ending::Delta(rest) = ending else { unreachable!("{published:?} and then {text:?}") };
        assert_eq!(words(&(published + &rest)), words(&text));
    }
}

#[tokio::test]
async fn a_pool_answers_with_text_and_withholds_what_is_no_speech() {
    let recognizer: Box<dyn Recognizer> = Box::new(moonshine());
    let pool = RecognizerPool::start(vec![recognizer], vec!["en"], PoolLimits::default()).unwrap();
    let ask = |audio: Vec<f32>, seconds: f32| TranscribeRequest {
        audio: audio.into(),
        language: None,
        urgency: Urgency::Final,
        speech: Some(Duration::from_secs_f32(seconds)),
    };
    let spoken = pool.transcribe(ask(recordings::speech("clone-test"), 3.3)).unwrap();
    let silent = pool.transcribe(ask(vec![0.0; 2 * SECOND], 0.0)).unwrap();
    let spoken = spoken.finished().await.unwrap();
    assert_eq!(
        (words(&spoken.text), spoken.refused),
        (words("I do. I think that America could do it very well."), None)
    );
    assert!(spoken.computed > Duration::ZERO);
    let silent = silent.finished().await.unwrap();
    assert_eq!((silent.text.as_str(), silent.refused), ("", Some(Refused::Phantom)));
}

#[test]
fn a_cancelled_request_stops_before_the_next_token() {
    let cancelled = CancelOnDrop::default().watch();
    let answer = moonshine().recognize(&alone(&recordings::speech("beckett")), &cancelled);
    assert!(matches!(answer, Err(EngineError::Failed { .. })), "{answer:?}");
}

#[test]
fn the_probability_of_a_sure_choice_is_near_one() {
    let (index, log_probability) = most_probable(&[9.0, 0.0, 50.0, 1.0], 3).unwrap();
    assert_eq!(index, 1);
    assert!(log_probability.abs() < 1e-6);
    assert!((most_probable(&[1.0, 1.0], 2).unwrap().1 + 2_f32.ln()).abs() < 1e-6);
    assert_eq!(most_probable(&[f32::NAN], 1), None);
    assert_eq!(most_probable(&[1.0], 2), None);
}

#[test]
fn a_folder_with_a_damaged_file_is_refused_and_named() {
    let runtime = recordings::runtime();
    let whole = recordings::model("moonshine-tiny-en/tokenizer.bin");
    let names = ["tokenizer.bin", "encoder_model.ort", "decoder_model_merged.ort"];
    for damaged in names {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::copy(whole.with_file_name(name), folder.path().join(name)).unwrap();
        }
        let path = folder.path().join(damaged);
        std::fs::remove_file(&path).unwrap();
        let refused = Moonshine::load(&runtime, folder.path(), 1).err().unwrap();
        assert!(matches!(&refused, EngineError::Missing { path: named, .. } if *named == path), "{refused}");
        let bytes = std::fs::read(whole.with_file_name(damaged)).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2 + 1]).unwrap();
        let refused = Moonshine::load(&runtime, folder.path(), 1).err().unwrap();
        assert!(matches!(&refused, EngineError::Corrupt { path: named, .. } if named.ends_with(damaged)), "{refused}");
    }
}

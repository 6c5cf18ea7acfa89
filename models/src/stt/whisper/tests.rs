//! The mechanics, on a model with random weights, and its numbers against openai-whisper's.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::super::recordings::{self, SECOND};
use super::*;
use crate::cancel::CancelOnDrop;

fn load(bytes: &[u8], options: &WhisperOptions) -> Result<Vec<Whisper>, EngineError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ggml-random.bin");
    std::fs::write(&path, bytes).unwrap();
    Whisper::load(&path, options)
}

fn random() -> Whisper {
    load(random_model::bytes(), &WhisperOptions::default()).unwrap().remove(0)
}

fn piece<'a>(audio: &'a [f32], language: Option<&'a str>) -> Piece<'a> {
    Piece { audio, language, before: "" }
}

fn hear(whisper: &mut Whisper, audio: &[f32], language: Option<&str>) -> Result<Recognized, EngineError> {
    whisper.recognize(&piece(audio, language), &Cancelled::default())
}

#[test]
fn the_same_speech_gives_the_same_text_and_numbers() {
    let mut whisper = random();
    assert_eq!(whisper.name(), "whisper/ggml-random");
    assert!(whisper.is_multilingual());
    let speech = recordings::white_noise(2 * SECOND, 0.1);
    let one = hear(&mut whisper, &speech, Some("en")).unwrap();
    let again = hear(&mut whisper, &speech, Some("en")).unwrap();
    assert_eq!(one, again);
    assert_eq!(one.language.as_deref(), Some("en"));
    assert!(one.mean_log_probability < 0.0 && one.mean_log_probability.is_finite());
    assert!((0.0..=1.0).contains(&one.no_speech_probability.unwrap()));
    assert!(one.tokens <= 32, "{one:?}");
}

#[test]
fn one_model_serves_recognisers_on_their_own_threads() {
    let speech = recordings::white_noise(SECOND, 0.1);
    let answers: Vec<_> = load(random_model::bytes(), &WhisperOptions { recognizers: 2, ..WhisperOptions::default() })
        .unwrap()
        .into_iter()
        .map(|mut whisper| {
            let speech = speech.clone();
            std::thread::spawn(move || hear(&mut whisper, &speech, Some("en")).unwrap())
        })
        .collect();
    let [one, other] = answers.try_into().map(|pair: [_; 2]| pair.map(|it| it.join().unwrap())).unwrap();
    assert_eq!(one, other);
}

#[test]
fn nothing_and_broken_samples_are_not_an_error() {
    let mut whisper = random();
    hear(&mut whisper, &[], Some("en")).unwrap();
    hear(&mut whisper, &[f32::NAN; 100], Some("en")).unwrap();
}

#[test]
fn languages_are_taken_as_callers_write_them_and_unknown_ones_refused() {
    let mut whisper = random();
    for (asked, expected) in [("zh-TW", "zh"), ("EN", "en"), ("de_DE", "de")] {
        let heard = hear(&mut whisper, &[0.1; 1_600], Some(asked)).unwrap();
        assert_eq!(heard.language.as_deref(), Some(expected));
    }
    // whisper.cpp knows Cantonese, and this model has the token of another thing in its place.
    for asked in ["tlh", "", "e\0n", "-", "English please", "english", "yue"] {
        let refused = hear(&mut whisper, &[0.1; 1_600], Some(asked));
        assert!(matches!(refused, Err(EngineError::BadRequest(_))), "{asked:?}: {refused:?}");
    }
    assert!(hear(&mut whisper, &[0.1; 1_600], None).unwrap().language.is_some());
}

#[test]
fn a_detected_language_does_not_depend_on_the_prompt() {
    let speech = recordings::white_noise(SECOND, 0.1);
    let prompt = "w100 w200 w300 w400".to_owned();
    let mut prompted =
        load(random_model::bytes(), &WhisperOptions { prompt, ..WhisperOptions::default() }).unwrap().remove(0);
    let plain = hear(&mut random(), &speech, None).unwrap();
    let told = hear(&mut prompted, &speech, None).unwrap();
    assert_eq!(plain.language, told.language);
    assert_ne!(plain.mean_log_probability, told.mean_log_probability, "the prompt is not heeded");
}

#[test]
fn a_prompt_of_any_length_leaves_room_for_the_names_and_the_text() {
    let names = "- ' -";
    let options = WhisperOptions { prompt: names.to_owned(), ..WhisperOptions::default() };
    let mut whisper = load(random_model::bytes(), &options).unwrap().remove(0);
    let names = whisper.shared.tokenize(names);
    assert_eq!(names, [1, 2, 1]);
    let before = " '".repeat(2_000);
    let prompt = whisper.shared.prompt(&before);
    assert_eq!(prompt.len(), whisper.shared.tokens.longest_prompt());
    assert_eq!(prompt[..3], names);
    assert!(prompt[3..].iter().all(|token| *token == 2));
    let speech = recordings::white_noise(20 * SECOND, 0.1);
    whisper.recognize(&Piece { before: &before, ..piece(&speech, None) }, &Cancelled::default()).unwrap();
    assert!(whisper.shared.tokenize("\0 \n").is_empty());
    whisper.shared.tokenize(&"天氣 123 !?".repeat(10_000));
}

#[test]
fn a_request_given_up_before_it_began_does_nothing() {
    let cancelled = CancelOnDrop::default().watch();
    let answer = random().recognize(&piece(&[0.1; SECOND], Some("en")), &cancelled);
    assert!(matches!(answer, Err(EngineError::Failed { .. })), "{answer:?}");
}

#[test]
fn a_request_given_up_stops_inside_the_encoder_and_the_next_one_runs() {
    let mut whisper = random();
    assert!(whisper.backends.can_stop(), "whisper.cpp has changed: read its ggml_backend_device again");
    let audio = recordings::white_noise(SECOND, 0.1);
    let before = hear(&mut whisper, &audio, Some("en")).unwrap();
    let cancelled = CancelOnDrop::default().watch();
    ffi::prepare(&mut whisper.state, &audio, 178, 1).unwrap();
    let encode = |state: &mut WhisperState| state.encode(0, 1);
    // Past every look between the passes, as when the caller goes while the encoder runs.
    assert!(whisper.backends.stoppable(&mut whisper.state, &cancelled, encode).is_err());
    assert!(whisper.backends.stoppable(&mut whisper.state, &Cancelled::default(), encode).is_ok());
    assert!(whisper.state.encode(0, 1).is_ok(), "the flag is gone with its pass");
    assert_eq!(hear(&mut whisper, &audio, Some("en")).unwrap(), before);
}

#[test]
fn one_request_given_up_does_not_stop_another() {
    let two = load(random_model::bytes(), &WhisperOptions { recognizers: 2, ..WhisperOptions::default() }).unwrap();
    let [mut one, mut other] = <[Whisper; 2]>::try_from(two).map_err(|_| "two").unwrap();
    let audio = recordings::white_noise(SECOND, 0.1);
    ffi::prepare(&mut one.state, &audio, 178, 1).unwrap();
    let cancelled = CancelOnDrop::default().watch();
    one.backends.stoppable(&mut one.state, &cancelled, |_| hear(&mut other, &audio, Some("en")).unwrap());
}

#[test]
fn a_damaged_file_is_refused_and_the_server_lives() {
    let whole = random_model::bytes();
    let mut no_numbers = whole.to_vec();
    let name = b"decoder.token_embedding.weight";
    let weights = whole.windows(name.len()).position(|bytes| bytes == name).unwrap() + name.len();
    no_numbers[weights..weights + 1_000].as_chunks_mut().0.fill(0x7e00_u16.to_le_bytes());
    let mut other_name = whole.to_vec();
    other_name[random_model::tensors_at() + 20] ^= 1;
    for (what, bytes) in [
        ("empty", &[][..]),
        ("text", b"<html>not found</html>"),
        ("half", &whole[..whole.len() / 2]),
        ("a name no tensor has", &other_name),
        ("weights that are no numbers", &no_numbers),
    ] {
        let refused = load(bytes, &WhisperOptions::default()).err();
        assert!(matches!(&refused, Some(EngineError::Corrupt { .. })), "{what}: {refused:?}");
    }
    let refused = load(&no_numbers, &WhisperOptions::default()).err().unwrap();
    assert!(refused.to_string().contains("its weights are damaged"), "{refused}");
    let missing = Whisper::load(Path::new("/nowhere/ggml.bin"), &WhisperOptions::default()).err();
    assert!(matches!(missing, Some(EngineError::Missing { .. })), "{missing:?}");
}

#[test]
fn a_decoder_asked_for_what_it_does_not_have_refuses() {
    let mut whisper = random();
    hear(&mut whisper, &[0.1; SECOND], Some("en")).unwrap();
    let state = &mut whisper.state;
    assert!(ffi::decode(state, &[], 0, 448, 1).is_err());
    assert!(ffi::decode(state, &[-1], 0, 448, 1).is_err());
    assert!(ffi::decode(state, &[51_865], 0, 448, 1).is_err());
    assert!(ffi::decode(state, &[1], 448, 448, 1).is_err());
    assert!(ffi::decode(state, &[1, 2], 0, 448, 1).is_ok());
}

#[test]
fn the_encoder_looks_at_the_speech_and_a_margin() {
    assert_eq!(audio_context(3 * SECOND), 278);
    assert_eq!(audio_context(27 * SECOND), 1_478);
    assert_eq!(audio_context(30 * SECOND), 1_500);
    assert_eq!(audio_context(usize::MAX), 1_500);
}

/// What `scripts/parity/whisper` wrote down of openai-whisper with the same weights.
#[derive(Deserialize)]
struct Reference {
    /// Of the model's file.
    sha256: String,
    /// The numbers of the tokens whose logits are given.
    seen: Vec<usize>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    samples: usize,
    frames: i32,
    language: Option<i32>,
    detected: i32,
    prompt: Vec<i32>,
    no_speech_probability: f32,
    tokens: Vec<i32>,
    mean_log_probability: f32,
    /// Of each step, of the tokens in `seen`.
    logits: Vec<Vec<f32>>,
}

/// The reference's sound: noise of the model's own generator, over a tone.
fn sound(samples: usize) -> Vec<f32> {
    let mut random = 0_u32;
    (0..samples)
        .map(|index| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = f64::from(random >> 16) / 32_768.0 - 1.0;
            let tone = (index as f64 * 0.15).sin();
            (0.05 * noise + 0.2 * tone * (index as f64 * 0.0005).sin()) as f32
        })
        .collect()
}

#[test]
fn the_numbers_are_those_of_openai_whisper() {
    let written = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parity/whisper/random.json");
    let reference: Reference = serde_json::from_slice(&std::fs::read(written).unwrap()).unwrap();
    let digest: String = Sha256::digest(random_model::bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, reference.sha256, "the script makes other weights");
    let mut whisper = random();
    let Whisper { state, backends, shared, .. } = &mut whisper;
    for case in &reference.cases {
        let cancelled = Cancelled::default();
        let mut pass = Pass { state, backends, tokens: &shared.tokens, threads: 1, cancelled: &cancelled };
        pass.encode(&sound(case.samples), case.frames).unwrap();
        let wanted = Wanted { language: case.language, prompt: &case.prompt, most_tokens: case.tokens.len() };
        let mut steps = Vec::new();
        let decoded = pass.decode(&wanted, |logits| steps.push(logits.to_vec())).unwrap();
        assert_eq!(decoded.tokens, case.tokens, "{}", case.name);
        assert_eq!(decoded.language, Some(case.language.unwrap_or(case.detected)), "{}", case.name);
        let close = |ours: f32, theirs: f32, allowed: f32| (ours - theirs).abs() <= allowed;
        let ratio = decoded.no_speech_probability / case.no_speech_probability;
        assert!(close(ratio, 1.0, 1e-3), "{}: no speech {ratio}", case.name);
        assert!(close(decoded.mean_log_probability, case.mean_log_probability, 2e-3), "{}", case.name);
        let mut worst = 0.0_f32;
        for (ours, theirs) in steps.iter().zip(&case.logits) {
            for (seen, theirs) in reference.seen.iter().zip(theirs) {
                worst = worst.max((ours[*seen] - theirs).abs());
            }
        }
        assert_eq!(steps.len(), case.logits.len());
        assert!(worst <= LOGITS_WITHIN, "{}: logits differ by {worst}", case.name);
    }
}

/// whisper.cpp keeps keys, values and products in half precision and takes GELU from a table of it. The logits are −3 to 3.
const LOGITS_WITHIN: f32 = 1e-3;

//! Human speech from the starter models' recordings, and the library's own ear.

use std::path::Path;

use audio::pcm::{Pcm, SampleRate};
use audio::resample::resample;
use models::cancel::Cancelled;
use models::onnx::OnnxRuntime;
use models::stt::moonshine::Moonshine;
use models::stt::sliding;

use super::command::models;

/// Writes the utterance of that id to `to`; gives what is said in it.
pub fn cut(id: &str, to: &Path) -> String {
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/speech/utterances.json");
    let table: serde_json::Value = serde_json::from_slice(&std::fs::read(table).unwrap()).unwrap();
    let utterance = table["recordings"].as_array().unwrap().iter().find(|one| one["id"] == id).unwrap();
    let recording = models().join("speech-samples").join(utterance["file"].as_str().unwrap());
    let whole = audio::wav::read_file(&recording).unwrap();
    let at = |field: &str| (utterance[field].as_f64().unwrap() * f64::from(whole.rate.hertz())) as usize;
    let piece = Pcm::new(whole.rate, whole.samples[at("start")..at("end").min(whole.samples.len())].to_vec());
    audio::wav::write_file(&piece, to).unwrap();
    utterance["text"].as_str().unwrap().to_owned()
}

/// What Moonshine makes of a sound.
pub fn transcribe(pcm: &Pcm) -> String {
    let runtime = OnnxRuntime::load(&models().join("onnxruntime/libonnxruntime.so")).unwrap();
    let mut moonshine = Moonshine::load(&runtime, &models().join("moonshine-tiny-en"), 1).unwrap();
    let heard = resample(pcm, SampleRate::HZ_16000).unwrap();
    sliding::whole(&mut moonshine, &heard.samples, Some("en"), &Cancelled::default()).unwrap().text
}

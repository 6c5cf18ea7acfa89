//! Each module, and all of them end to end, within 1e-3 of the reference package.

use std::fs::File;

use candle_core::{Device, Tensor};

use super::super::model::{Model, Thinking};
use super::super::voice::VoiceState;
use super::super::weights::{SafeFile, Source};
use super::super::{reference, script, tokens::Tokens};
use super::{random_values, recorded, recorded_noise, small_model, unit_noise};
use audio::pcm::{Pcm, SampleRate};

const CONFIGURATIONS: [&str; 3] = ["usual", "slim", "pointwise"];
const SAID: &str = "Good morning, how can I help you? It is sunny today.";
const TOLERANCE: f32 = 1e-3;

fn expected(name: &str) -> SafeFile<File> {
    SafeFile::open(&recorded(&format!("{name}.safetensors")), "the reference").unwrap()
}

fn values(file: &mut SafeFile<File>, name: &str) -> Vec<f32> {
    let shape = file.info(name).unwrap().shape.clone();
    file.values(name, &shape).unwrap()
}

#[track_caller]
fn assert_close(ours: &[f32], theirs: &[f32], what: &str) {
    assert_eq!(ours.len(), theirs.len(), "{what}: lengths differ");
    let worst = ours.iter().zip(theirs).map(|(ours, theirs)| (ours - theirs).abs()).fold(0.0, f32::max);
    let level = (theirs.iter().map(|value| value * value).sum::<f32>() / theirs.len() as f32).sqrt();
    assert!(level > 0.05, "{what}: the reference is nearly silent ({level}), which proves nothing");
    assert!(worst < TOLERANCE, "{what}: differs by {worst}");
}

fn reference_audio(model: &Model) -> Pcm {
    let rate = SampleRate::new(model.config.mimi.sample_rate).unwrap();
    let count = (3.3 * f64::from(rate.hertz())) as usize + 7;
    Pcm::new(rate, random_values("audio", count).into_iter().map(|value| value * 0.5).collect())
}

fn latents(model: &Model, first: usize, count: usize) -> Vec<Vec<f32>> {
    (first..first + count).map(|index| unit_noise(index, model.config.mimi.quantizer.dimension)).collect()
}

#[test]
fn codec_speaks_as_the_reference_whole_and_frame_by_frame() {
    for name in CONFIGURATIONS {
        let (model, mut file) = (small_model(name), expected(name));
        let theirs = values(&mut file, "decoded");
        let latents = latents(&model, 100, 6);
        let flat = Tensor::new(latents.clone(), &Device::Cpu).unwrap();
        let decoder = model.parts().decoder;
        let whole = decoder.forward(&flat, &mut decoder.start()).unwrap();
        assert_close(&whole, &theirs, &format!("{name}: decoded whole"));
        let mut state = decoder.start();
        let mut streamed = Vec::new();
        for frame in 0..6 {
            streamed.extend(decoder.forward(&flat.narrow(0, frame, 1).unwrap(), &mut state).unwrap());
        }
        assert_close(&streamed, &theirs, &format!("{name}: decoded frame by frame"));
    }
}

#[test]
fn codec_hears_as_the_reference() {
    for name in CONFIGURATIONS {
        let (model, mut file) = (small_model(name), expected(name));
        let encoded = model.parts().encoder.forward(&reference_audio(&model).samples).unwrap();
        let encoded = encoded.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_close(&encoded, &values(&mut file, "encoded"), &format!("{name}: encoded"));
    }
}

#[test]
fn flow_head_makes_the_reference_latents() {
    for name in CONFIGURATIONS {
        let (model, mut file) = (small_model(name), expected(name));
        let width = model.config.head_width();
        let said: Vec<Vec<f32>> = (0..3).map(|index| random_values(&format!("said.{index}"), width)).collect();
        let said = Tensor::new(said, &Device::Cpu).unwrap();
        let noise = Tensor::new(latents(&model, 200, 3), &Device::Cpu).unwrap();
        let made = model.parts().flow.forward(&said, &noise).unwrap().flatten_all().unwrap();
        assert_close(&made.to_vec1::<f32>().unwrap(), &values(&mut file, "flow"), &format!("{name}: flow"));
    }
}

fn heard(model: &Model) -> VoiceState {
    let audio = reference_audio(model);
    model.hear(&reference::prepare(&audio, audio.rate).unwrap()).unwrap()
}

#[test]
fn voice_of_a_recording_is_the_reference_voice() {
    for name in CONFIGURATIONS {
        let model = small_model(name);
        let mut file = SafeFile::open(&recorded(&format!("{name}-voice.safetensors")), "the voice").unwrap();
        let theirs = VoiceState::read(&mut file, &model.config, Some(&model.fingerprint)).unwrap();
        let ours = heard(&model);
        assert_eq!(ours.layers.len(), theirs.layers.len());
        for (layer, (ours, theirs)) in ours.layers.iter().zip(&theirs.layers).enumerate() {
            for (ours, theirs, what) in [(&ours.0, &theirs.0, "keys"), (&ours.1, &theirs.1, "values")] {
                let flat = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                assert_close(&flat(ours), &flat(theirs), &format!("{name}: {what} of layer {layer}"));
            }
        }
    }
}

fn begin(model: &Model, voice: &VoiceState, file: &mut SafeFile<File>) -> Thinking {
    let which = if model.config.flow_lm.lookup_table.rank.is_some() { "tokenizer.model" } else { "tokenizer.json" };
    let tokens = Tokens::open(&recorded(which), model.config.flow_lm.lookup_table.n_bins).unwrap();
    let pieces = script::pieces(SAID, &tokens, &model.config).unwrap();
    assert_eq!(pieces.len(), 1);
    let piece = script::finish(&pieces[0], &model.config).unwrap();
    let ids = tokens.encode(&piece.text).unwrap();
    let mut thinking = model.start(voice, ids, piece.frames_after_end, recorded_noise()).unwrap();
    thinking.end_threshold = values(file, "end_threshold")[0];
    thinking
}

#[test]
fn speech_is_the_reference_speech_to_its_end() {
    for name in CONFIGURATIONS {
        let (model, mut file) = (small_model(name), expected(name));
        let voice = heard(&model);
        let mut thinking = begin(&model, &voice, &mut file);
        let mut state = model.start_audio();
        let mut audio = Vec::new();
        while let Some(latent) = model.think(&mut [&mut thinking]).unwrap().remove(0) {
            audio.extend(model.sound(&[latent], &mut state).unwrap());
        }
        let fade = model.config.mimi.sample_rate as usize / 200;
        for (at, sample) in audio.iter_mut().take(fade).enumerate() {
            *sample *= at as f32 / (fade - 1) as f32;
        }
        assert_close(&audio, &values(&mut file, "audio"), &format!("{name}: speech"));
        let steps = values(&mut file, "ends").len();
        assert_eq!(thinking.steps, steps, "{name}: ended at another step");
        assert!(!thinking.ran_on(), "{name}: the end was never heard");
    }
}

#[test]
fn speeches_that_share_the_weights_do_not_touch_each_other() {
    let (model, mut file) = (small_model("usual"), expected("usual"));
    let voice = heard(&model);
    let alone = |model: &Model, mut thinking: Thinking| {
        let mut made = Vec::new();
        while let Some(latent) = model.think(&mut [&mut thinking]).unwrap().remove(0) {
            made.extend(latent);
        }
        made
    };
    let one = alone(&model, begin(&model, &voice, &mut file));
    // A second begins while the first is under way, and a third in the voice of other words.
    let mut first = begin(&model, &voice, &mut file);
    let mut second = begin(&model, &voice, &mut file);
    let mut third = model.start(&voice, vec![5, 9, 11], 3, recorded_noise()).unwrap();
    let (mut made_first, mut made_second) = (Vec::new(), Vec::new());
    for step in 0..60 {
        let mut batch = vec![&mut first];
        if step >= 3 {
            batch.push(&mut second);
            batch.push(&mut third);
        }
        let latents = model.think(&mut batch).unwrap();
        for (made, latent) in [&mut made_first, &mut made_second].into_iter().zip(latents) {
            made.extend(latent.unwrap_or_default());
        }
    }
    let closest = |made: &[f32]| assert_close(made.get(..one.len()).unwrap(), &one, "batched");
    closest(&made_first);
    closest(&made_second);
}

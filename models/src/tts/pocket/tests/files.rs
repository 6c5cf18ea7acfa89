//! Files that are truncated, of another shape, or of numbers that are none.

use std::collections::HashMap;
use std::io::Cursor;

use super::super::config::Config;
use super::super::linear::Precision;
use super::super::model::Model;
use super::super::random::{random_values, write_random_weights};
use super::super::sentencepiece::Pieces;
use super::super::tokens::Tokens;
use super::super::voice::VoiceState;
use super::super::weights::{SafeFile, probe};
use super::{recorded, small_config, small_model};

/// Type, shape and bytes of tensors, by name.
type Tensors = HashMap<String, (safetensors::Dtype, Vec<usize>, Vec<u8>)>;

fn weights(name: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    write_random_weights(small_config(name), &path).unwrap();
    std::fs::read(path).unwrap()
}

fn load(bytes: &[u8], config: Config) -> Result<Model, String> {
    let mut file = SafeFile::read(Cursor::new(bytes.to_vec()))?;
    Model::load(&mut file, config, Precision::Single)
}

#[test]
fn weights_of_another_model_or_cut_short_are_refused_with_the_reason() {
    let bytes = weights("slim");
    load(&bytes, small_config("slim")).unwrap();
    let refused = |bytes: &[u8], config: Config| load(bytes, config).err().unwrap();
    let other = refused(&bytes, small_config("usual"));
    assert!(other.contains("has the shape"), "{other}");
    for length in [0, 7, 8, 100, bytes.len() / 2, bytes.len() - 1] {
        let why = refused(&bytes[..length], small_config("slim"));
        assert!(why.contains("bytes") || why.contains("short") || why.contains("header"), "{length}: {why}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(refused(&longer, small_config("slim")).contains("bytes"));
    let mut nan = bytes.clone();
    let end = nan.len();
    nan[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    assert!(refused(&nan, small_config("slim")).contains("not finite"));
    let mut huge = bytes;
    huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(refused(&huge, small_config("slim")).contains("header claims"));
}

#[test]
fn absurd_sizes_are_refused_before_anything_is_read() {
    let spoilt: [fn(&mut Config); 8] = [
        |config| config.flow_lm.transformer.num_heads = 0,
        |config| config.flow_lm.transformer.num_heads = 7,
        |config| config.flow_lm.transformer.d_model = 1 << 30,
        |config| config.flow_lm.transformer.num_layers = 0,
        |config| config.mimi.seanet.ratios = Vec::new(),
        |config| config.mimi.frame_rate = 0.0,
        |config| config.mimi.outer_dim = 5,
        |config| config.mimi.seanet.compress = 0,
    ];
    for spoil in spoilt {
        let mut config = small_config("usual");
        spoil(&mut config);
        assert!(config.check().is_err(), "{config:?}");
    }
    Config::english().check().unwrap();
    Config::english_18m().check().unwrap();
}

#[test]
fn voice_outlives_its_file_and_is_refused_by_other_weights() {
    let model = small_model("usual");
    let theirs = std::fs::read(recorded("usual-voice.safetensors")).unwrap();
    let read = |bytes: &[u8], fingerprint: &str| {
        VoiceState::read(&mut SafeFile::read(Cursor::new(bytes.to_vec()))?, &model.config, Some(fingerprint))
    };
    let voice = read(&theirs, &model.fingerprint).unwrap();
    let ours = voice.write(&model.fingerprint).unwrap();
    let again = read(&ours, &model.fingerprint).unwrap();
    for ((keys, values), (same_keys, same_values)) in voice.layers.iter().zip(&again.layers) {
        for (one, other) in [(keys, same_keys), (values, same_values)] {
            assert_eq!(one.to_vec3::<f32>().unwrap(), other.to_vec3::<f32>().unwrap());
        }
    }
    let why = read(&ours, "others").err().unwrap();
    assert!(why.contains("other weights"), "{why}");
    let slim = std::fs::read(recorded("slim-voice.safetensors")).unwrap();
    assert!(read(&slim, &model.fingerprint).is_err());
    assert!(read(&weights("usual"), &model.fingerprint).err().unwrap().contains("no voice of this model"));
}

#[test]
fn voice_with_numbers_that_are_none_or_a_wrong_length_is_refused() {
    let model = small_model("usual");
    let samples = random_values("audio", 2 * model.config.mimi.frame_samples());
    let bytes = model.hear(&samples).unwrap().write(&model.fingerprint).unwrap();
    let refused = |change: &dyn Fn(&mut Tensors)| {
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let mut tensors: Tensors = file
            .iter()
            .map(|(name, view)| (name.to_owned(), (view.dtype(), view.shape().to_vec(), view.data().to_vec())))
            .collect();
        change(&mut tensors);
        let views = tensors.iter().map(|(name, (dtype, shape, data))| {
            (name.as_str(), safetensors::tensor::TensorView::new(*dtype, shape.clone(), data).unwrap())
        });
        let bytes = safetensors::serialize(views, None).unwrap();
        VoiceState::read(&mut SafeFile::read(Cursor::new(bytes)).unwrap(), &model.config, None).err().unwrap()
    };
    let offset = "transformer.layers.1.self_attn/offset";
    let set = |value: i64| {
        move |tensors: &mut Tensors| {
            tensors.get_mut(offset).unwrap().2 = value.to_le_bytes().to_vec();
        }
    };
    for wrong in [0, -1, 2, 4, 1 << 40] {
        refused(&set(wrong));
    }
    let nan = refused(&|tensors| {
        tensors.get_mut("transformer.layers.0.self_attn/cache").unwrap().2[..4]
            .copy_from_slice(&f32::NAN.to_le_bytes());
    });
    assert!(nan.contains("not finite"), "{nan}");
}

#[test]
fn no_bytes_make_the_loaders_panic() {
    let voice = std::fs::read(recorded("slim-voice.safetensors")).unwrap();
    let pieces = std::fs::read(recorded("tokenizer.model")).unwrap();
    assert!(probe(&voice) > 0);
    let mut state = 1_u64;
    for _ in 0..2_000 {
        let mut draw = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        let spoil = |bytes: &[u8], draw: &mut dyn FnMut(usize) -> usize| {
            let head = bytes.len().min(1_500);
            let mut spoilt = bytes.to_vec();
            for _ in 0..=draw(3) {
                let at = draw(head);
                spoilt[at] = draw(256) as u8;
            }
            let length = draw(bytes.len() + 1);
            if draw(4) == 0 {
                spoilt.truncate(length);
            }
            spoilt
        };
        probe(&spoil(&voice, &mut draw));
        let spoilt = spoil(&pieces, &mut draw);
        let _ = Pieces::read(&spoilt);
        if let Ok(tokens) = Tokens::read(&spoilt, 120) {
            let _ = tokens.encode("Hello, world");
        }
    }
}

#[test]
fn tokens_are_those_of_sentencepiece_from_either_file() {
    let recorded_tokens: serde_json::Value =
        serde_json::from_slice(&std::fs::read(recorded("tokens.json")).unwrap()).unwrap();
    let vocabulary = recorded_tokens["vocabulary"].as_u64().unwrap() as usize;
    for file in ["tokenizer.model", "tokenizer.json"] {
        let tokens = Tokens::open(&recorded(file), vocabulary).unwrap();
        for (text, ids) in recorded_tokens["ids"].as_object().unwrap() {
            let ids: Vec<u32> = ids.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
            assert_eq!(tokens.encode(text).unwrap(), ids, "{file}: {text:?}");
        }
        let error = Tokens::open(&recorded(file), vocabulary + 1).err().unwrap().to_string();
        assert!(error.contains("tokens and the model"), "{error}");
    }
}

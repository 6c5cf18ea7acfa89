//! Random weights in a model's true shape: for parity with the reference on the same numbers, and for measuring speed without the
//! real weights. Names and shapes alone determine them; `scripts/parity/pocket` has the twin.

use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::config::Config;
use super::linear::Precision;
use super::model::Model;
use super::weights::{Flaw, Source};

/// Uniform in -1..1: FNV-1a of the name seeds SplitMix64, whose upper 24 bits are taken.
pub(super) fn random_values(name: &str, count: usize) -> Vec<f32> {
    let seed = name
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3));
    (1..=count as u64)
        .map(|at| {
            let z = seed.wrapping_add(at.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((z ^ (z >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// Gives every tensor that is asked for, scaled so that what flows through the model neither dies nor explodes.
#[derive(Debug, Default)]
pub(super) struct RandomWeights {
    /// Names and shapes of what was asked for, in order.
    pub asked: Vec<(String, Vec<usize>)>,
}

impl Source for RandomWeights {
    fn values(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Flaw> {
        self.asked.push((name.into(), shape.into()));
        Ok(weight(name, shape))
    }
}

fn weight(name: &str, shape: &[usize]) -> Vec<f32> {
    let count = shape.iter().product();
    let ends = |tails: &[&str]| tails.iter().any(|tail| name.ends_with(tail));
    if ends(&[".freqs"]) {
        return (0..count).map(|at| (-(10_000_f64.ln()) * at as f64 / count as f64).exp() as f32).collect();
    }
    let (middle, scale) = if shape.len() == 1 {
        match () {
            () if ends(&[".weight", ".alpha", "emb_std"]) => (1.0, 0.2),
            () if ends(&[".scale"]) => (0.3, 0.1),
            () if ends(&[".bias"]) => (0.0, 0.1),
            () => (0.0, 1.0),
        }
    } else {
        let fan = if name.contains(".convtr.") {
            let mixes = shape.get(1).is_some_and(|inputs| *inputs > 1);
            2 * if mixes { shape.first().copied().unwrap_or(1) } else { 1 }
        } else if ends(&["embed.weight", "bos_before_voice"]) {
            3
        } else if ends(&["input_linear.weight"]) {
            // What was said weighs little in what comes next, or rounding errors would grow from step to step.
            16 * shape.iter().skip(1).product::<usize>()
        } else {
            shape.iter().skip(1).product()
        };
        (0.0, (3.0 / fan as f32).sqrt())
    };
    random_values(name, count).into_iter().map(|value| middle + scale * value).collect()
}

/// A model of `config` with random weights.
pub(super) fn random_model(config: Config, precision: Precision) -> Result<Model, Flaw> {
    Model::load(&mut RandomWeights::default(), config, precision)
}

/// Writes random weights of `config` as a file that this crate and the reference package load.
pub fn write_random_weights(config: Config, path: &Path) -> Result<(), Flaw> {
    let mut weights = RandomWeights::default();
    Model::load(&mut weights, config, Precision::Single)?;
    // Written tensor by tensor the file would need no memory; the crate that knows the format wants them all.
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = weights
        .asked
        .into_iter()
        .map(|(name, shape)| {
            let bytes = weight(&name, &shape).into_iter().flat_map(f32::to_le_bytes).collect();
            (name, shape, bytes)
        })
        .collect();
    let views: Result<Vec<(&str, TensorView<'_>)>, _> = tensors
        .iter()
        .map(|(name, shape, bytes)| TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (name.as_str(), view)))
        .collect();
    let views = views.map_err(|error| error.to_string())?;
    safetensors::serialize_to_file(views, None, path).map_err(|error| error.to_string())
}

/// A tokenizer of `vocabulary` pieces in the form of the released ones: letters, common words, and fillers that no text becomes.
pub fn random_tokenizer(vocabulary: usize) -> String {
    const WORDS: &str = "the of and to in is you that it he was for on are as with his they at be this have from or one had by word but \
        not what all were we when your can said there use an each which she do how their if will up other about out many then them \
        these so some her would make like him into time has look two more write go see number no way could people my than first \
        water been call who oil its now find long down day did get come made may part good morning help today";
    let single = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,!?;:'-▁".chars().map(String::from);
    let words = WORDS.split_whitespace().map(|word| format!("▁{word}"));
    let mut pieces: Vec<(String, f64)> = vec![("<unk>".into(), 0.0)];
    pieces.extend(single.map(|piece| (piece, -8.0)));
    pieces.extend(words.map(|piece| (piece, -6.0)));
    let from = pieces.len();
    pieces.extend((from..vocabulary).map(|at| (format!("\u{1}{at}"), -20.0)));
    pieces.truncate(vocabulary);
    let space =
        serde_json::json!({ "type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": false });
    serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null, "post_processor": null,
        "pre_tokenizer": &space, "decoder": &space,
        "model": { "type": "Unigram", "unk_id": 0, "vocab": pieces, "byte_fallback": false },
    })
    .to_string()
}

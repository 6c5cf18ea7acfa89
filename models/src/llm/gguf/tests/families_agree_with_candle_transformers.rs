//! The same tiny file gives the same logits here and in candle-transformers' own models.

use candle_core::quantized::gguf_file::Content;
use candle_core::{Device, Tensor};
use candle_transformers::models::{quantized_llama, quantized_qwen2, quantized_qwen3};

use super::*;

const PROMPT: [u32; 12] = [256, 10, 200, 33, 33, 7, 255, 0, 91, 257, 64, 5];

fn compare(family: &str, tolerance: f32, theirs: impl FnOnce(Content, &mut std::fs::File, &Tensor) -> Tensor) {
    let file = on_disk(&Draft::new(family).bytes());
    let network = network(file.path());
    let ours = read(&network, &mut fresh(&network), &PROMPT, 5);
    let mut source = std::fs::File::open(file.path()).unwrap();
    let content = Content::read(&mut source).unwrap();
    let prompt = Tensor::new(&PROMPT, &Device::Cpu).unwrap().unsqueeze(0).unwrap();
    let theirs = theirs(content, &mut source, &prompt).flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert!(theirs.iter().any(|logit| logit.abs() > 0.1));
    let difference = largest_difference(&ours, &theirs);
    assert!(difference < tolerance, "{family} differs by {difference}");
}

#[test]
fn llama() {
    compare("llama", 1e-3, |content, source, prompt| {
        quantized_llama::ModelWeights::from_gguf(content, source, &Device::Cpu).unwrap().forward(prompt, 0).unwrap()
    });
}

#[test]
fn qwen2() {
    compare("qwen2", 1e-3, |content, source, prompt| {
        quantized_qwen2::ModelWeights::from_gguf(content, source, &Device::Cpu).unwrap().forward(prompt, 0).unwrap()
    });
}

#[test]
fn qwen3() {
    // Theirs keeps keys, values and the rotation in half precision.
    compare("qwen3", 1e-2, |content, source, prompt| {
        quantized_qwen3::ModelWeights::from_gguf(content, source, &Device::Cpu).unwrap().forward(prompt, 0).unwrap()
    });
}

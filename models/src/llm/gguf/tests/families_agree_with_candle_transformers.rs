//! Our network gives the logits that candle's own readers of GGUF files (`candle-transformers`) give, for files made on the spot: a second
//! reference beside `transformers`, which needs no committed numbers.

use candle_core::quantized::gguf_file::Content;
use candle_core::{Device, Tensor};
use candle_transformers::models::{quantized_llama, quantized_qwen2, quantized_qwen3};

use super::*;

type Forward = Box<dyn FnMut(&Tensor, usize) -> candle_core::Result<Tensor>>;

fn theirs(family: &str, path: &std::path::Path) -> Forward {
    let mut file = std::fs::File::open(path).unwrap();
    let content = Content::read(&mut file).unwrap();
    match family {
        "llama" => {
            let mut model = quantized_llama::ModelWeights::from_gguf(content, &mut file, &Device::Cpu).unwrap();
            Box::new(move |tokens, before| model.forward(tokens, before))
        }
        "qwen2" => {
            let mut model = quantized_qwen2::ModelWeights::from_gguf(content, &mut file, &Device::Cpu).unwrap();
            Box::new(move |tokens, before| model.forward(tokens, before))
        }
        _ => {
            let mut model = quantized_qwen3::ModelWeights::from_gguf(content, &mut file, &Device::Cpu).unwrap();
            Box::new(move |tokens, before| model.forward(tokens, before))
        }
    }
}

fn compare(family: &str) {
    let mut draft = Draft::new(family);
    // Single precision for theirs too.
    draft.set("general.dtype", whole(0));
    let file = on_disk(&draft.bytes());
    let network = network(file.path());
    let (mut ours, mut theirs) = (fresh(&network), theirs(family, file.path()));
    let mut random = Random(7);
    let ids: Vec<u32> = (0..48).map(|_| (random.next() % 256) as u32).collect();
    let mut before = 0;
    // A prompt in parts, then a token at a time: candle's Qwen3 does not see single tokens again in a part that follows.
    for part in [38, 7, 1, 1, 1] {
        let tokens = &ids[before..before + part];
        let input = Tensor::new(tokens, &Device::Cpu).unwrap().unsqueeze(0).unwrap();
        let expected: Vec<f32> = theirs(&input, before).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let logits = read(&network, &mut ours, tokens, part);
        let difference = largest_difference(&logits, &expected);
        assert!(difference < 1e-3, "{family}: {difference} after {} tokens", before + part);
        assert!(expected.iter().any(|logit| logit.abs() > 0.5), "logits that could be anybody's");
        before += part;
    }
}

#[test]
fn llama() {
    compare("llama");
}

#[test]
fn qwen2() {
    compare("qwen2");
}

#[test]
fn qwen3() {
    compare("qwen3");
}

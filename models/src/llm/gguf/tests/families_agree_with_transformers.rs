//! Tiny models with random weights give the logits, and say the words, that `transformers` gives and says
//! (`scripts/parity/llm/families.py`).

use std::path::PathBuf;

use serde::Deserialize;

use super::super::template::ChatTemplate;
use super::*;
use crate::llm::{Message, Speaker};

const TOLERANCE: f32 = 1e-3;

#[derive(Deserialize)]
struct Case {
    ids: Vec<u32>,
    /// Positions in `ids` whose logits follow.
    at: Vec<usize>,
    logits: Vec<Vec<f32>>,
    /// How many of `ids` are kept before `then` is read.
    kept: usize,
    then: Vec<u32>,
    then_at: Vec<usize>,
    then_logits: Vec<Vec<f32>>,
    /// The prompt of [`talk`], as text and as ids, and the reply.
    said: String,
    prompt: Vec<u32>,
    greedy: Vec<u32>,
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parity/llm")).join(name)
}

fn talk() -> Vec<Message> {
    [
        (Speaker::User, "Hello there, who are you?"),
        (Speaker::Assistant, "it's 12 o'clock  你好"),
        (Speaker::User, "And then? 😀"),
    ]
    .map(|(speaker, text)| Message { speaker, text: text.into() })
    .to_vec()
}

/// Reads what the reference read, and tells the largest difference (`--nocapture` shows it).
#[expect(clippy::print_stderr, reason = "for whoever wants the figures")]
fn compare(gguf: &str, reference: &str, context: usize) {
    let case: Case = serde_json::from_slice(&std::fs::read(path(reference)).unwrap()).unwrap();
    let file = GgufFile::open(&path(gguf)).unwrap();
    let tokens = Tokens::read(&file).unwrap();
    let sizes = Sizes::read(&file, tokens.vocabulary()).unwrap();
    let network = Network::load(&file, sizes, context, &Device::Cpu, &|_| {}).unwrap();

    let mut largest = 0.0f32;
    let mut expect = |logits: &[f32], expected: &[f32], what: &str| {
        let difference = largest_difference(logits, expected);
        assert!(difference < TOLERANCE, "{gguf}: {what} differs by {difference}");
        assert!(expected.iter().any(|logit| logit.abs() > 0.5), "logits that could be anybody's");
        largest = largest.max(difference);
    };
    for part in [512, 7, 1] {
        for (at, expected) in case.at.iter().zip(&case.logits) {
            let logits = read(&network, &mut fresh(&network), &case.ids[..=*at], part);
            expect(&logits, expected, &format!("position {at}, read {part} at a time"));
        }
    }
    let mut cache = fresh(&network);
    read(&network, &mut cache, &case.ids, 32);
    cache.truncate(case.kept);
    for (at, &token) in case.then.iter().enumerate() {
        let logits = read(&network, &mut cache, &[token], 1);
        if let Some(index) = case.then_at.iter().position(|&wanted| wanted == at) {
            expect(&logits, &case.then_logits[index], &format!("after a cut, token {at}"));
        }
    }

    let template = ChatTemplate::new(file.text("tokenizer.chat_template").unwrap(), &tokens.bos, &tokens.eos).unwrap();
    let said = template.render(&talk(), false).unwrap();
    assert_eq!(said, case.said);
    assert_eq!(tokens.encode(&said).unwrap(), case.prompt);
    if case.prompt.len() <= context {
        let mut cache = fresh(&network);
        let mut logits = read(&network, &mut cache, &case.prompt, 16);
        for expected in case.greedy {
            let best = (0u32..).zip(&logits).max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
            assert_eq!(best, expected, "{gguf}: the greedy reply");
            logits = read(&network, &mut cache, &[expected], 1);
        }
    }
    eprintln!("{reference}: logits differ by {largest:.1e} at most");
}

#[test]
fn llama_with_llama_3s_divisors_and_a_head_of_its_own() {
    compare("llama.gguf", "llama.json", 512);
}

#[test]
fn qwen2_with_biases_and_yarn() {
    compare("qwen2.gguf", "qwen2.json", 512);
}

#[test]
fn qwen3_with_head_norms_and_heads_wider_than_the_width_says() {
    compare("qwen3.gguf", "qwen3.json", 512);
}

#[test]
fn gemma3_with_sliding_windows_two_rotations_and_norms_after() {
    compare("gemma3.gguf", "gemma3.json", 512);
}

#[test]
fn phi3_fused_partly_rotated_with_a_window_and_long_divisors() {
    compare("phi3.gguf", "phi3.json", 512);
}

#[test]
fn phi3_in_a_short_context_with_short_divisors() {
    compare("phi3.gguf", "phi3-short.json", 32);
}

#[test]
fn smollm3_whose_fourth_layer_does_not_rotate() {
    compare("smollm3.gguf", "smollm3.json", 512);
}

//! A tiny model in a real GGUF file, made on the spot, and the tests that use it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cache_reuse_changes_nothing;
mod damaged_files_are_refused;
mod families_agree_with_candle_transformers;
mod families_agree_with_transformers;
mod greedy_text_is_llama_cpps;
mod memory_and_ends;
mod scheduling;
mod smollm2_says_what_it_should;
mod tokens_agree_with_references;

use std::io::Write;

use candle_core::Device;

use super::architecture::Sizes;
use super::cache::KvCache;
use super::file::GgufFile;
use super::network::{Network, Segment};
use super::tokens::Tokens;

pub(super) const CHATML: &str = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
/// The 256 bytes, then these.
pub(super) const START: u32 = 256;
pub(super) const END: u32 = 257;
const VOCABULARY: usize = 260;

/// A GGUF file in the making.
pub(super) struct Draft {
    pub metadata: Vec<(String, Vec<u8>)>,
    pub tensors: Vec<(String, Vec<usize>)>,
    seed: u64,
}

pub(super) fn text(value: &str) -> Vec<u8> {
    [&8u32.to_le_bytes()[..], &string(value)].concat()
}

pub(super) fn whole(value: u32) -> Vec<u8> {
    [4u32.to_le_bytes(), value.to_le_bytes()].concat()
}

pub(super) fn float(value: f32) -> Vec<u8> {
    [6u32.to_le_bytes(), value.to_le_bytes()].concat()
}

fn string(value: &str) -> Vec<u8> {
    [&(value.len() as u64).to_le_bytes()[..], value.as_bytes()].concat()
}

fn list(kind: u32, items: &[Vec<u8>]) -> Vec<u8> {
    [&9u32.to_le_bytes()[..], &kind.to_le_bytes(), &(items.len() as u64).to_le_bytes(), &items.concat()].concat()
}

impl Draft {
    /// Two layers, 260 tokens, random weights.
    pub fn new(family: &str) -> Self {
        let letters: Vec<char> = {
            let plain = |byte: &u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
            let mut next = 256;
            (0..256u32)
                .map(|byte| {
                    let code = if plain(&byte) {
                        byte
                    } else {
                        next += 1;
                        next - 1
                    };
                    char::from_u32(code).unwrap()
                })
                .collect()
        };
        let mut tokens: Vec<String> = letters.iter().map(char::to_string).collect();
        tokens.extend(["<|im_start|>", "<|im_end|>", "he", "<think>"].map(String::from));
        let kinds = (0..VOCABULARY as u32).map(|id| match id {
            START | END => 3u32,
            259 => 4,
            _ => 1,
        });
        let size = |key: &str, value| (format!("{family}.{key}"), whole(value));
        let metadata = vec![
            ("general.architecture".into(), text(family)),
            size("block_count", 2),
            size("context_length", 512),
            size("embedding_length", 32),
            size("feed_forward_length", 64),
            size("attention.head_count", 4),
            size("attention.head_count_kv", 2),
            size("attention.key_length", 8),
            size("attention.value_length", 8),
            size("rope.dimension_count", 8),
            (format!("{family}.attention.layer_norm_rms_epsilon"), float(1e-5)),
            (format!("{family}.rope.freq_base"), float(1e4)),
            ("tokenizer.ggml.model".into(), text("gpt2")),
            ("tokenizer.ggml.pre".into(), text("smollm")),
            ("tokenizer.ggml.tokens".into(), list(8, &tokens.iter().map(|token| string(token)).collect::<Vec<_>>())),
            (
                "tokenizer.ggml.token_type".into(),
                list(4, &kinds.map(|kind| kind.to_le_bytes().to_vec()).collect::<Vec<_>>()),
            ),
            ("tokenizer.ggml.merges".into(), list(8, &[string("h e")])),
            ("tokenizer.ggml.eos_token_id".into(), whole(END)),
            ("tokenizer.chat_template".into(), text(CHATML)),
        ];
        let mut tensors =
            vec![("token_embd.weight".to_owned(), vec![VOCABULARY, 32]), ("output_norm.weight".into(), vec![32])];
        if family != "llama" {
            tensors.push(("output.weight".into(), vec![VOCABULARY, 32]));
        }
        for layer in 0..2 {
            let mut add = |part: &str, shape: &[usize]| tensors.push((format!("blk.{layer}.{part}"), shape.to_vec()));
            add("attn_norm.weight", &[32]);
            add("attn_q.weight", &[32, 32]);
            add("attn_k.weight", &[16, 32]);
            add("attn_v.weight", &[16, 32]);
            add("attn_output.weight", &[32, 32]);
            add("ffn_norm.weight", &[32]);
            add("ffn_gate.weight", &[64, 32]);
            add("ffn_up.weight", &[64, 32]);
            add("ffn_down.weight", &[32, 64]);
            if family == "qwen2" {
                add("attn_q.bias", &[32]);
                add("attn_k.bias", &[16]);
                add("attn_v.bias", &[16]);
            }
            if family == "qwen3" {
                add("attn_q_norm.weight", &[8]);
                add("attn_k_norm.weight", &[8]);
            }
        }
        Self { metadata, tensors, seed: 1 }
    }

    pub fn set(&mut self, key: &str, value: Vec<u8>) {
        self.metadata.retain(|(name, _)| name != key);
        self.metadata.push((key.into(), value));
    }

    pub fn without(mut self, key: &str) -> Self {
        self.metadata.retain(|(name, _)| name != key);
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(3u32.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            out.extend(string(key));
            out.extend(value);
        }
        let mut offset = 0u64;
        for (name, shape) in &self.tensors {
            out.extend(string(name));
            out.extend((shape.len() as u32).to_le_bytes());
            out.extend(shape.iter().rev().flat_map(|&dimension| (dimension as u64).to_le_bytes()));
            out.extend(0u32.to_le_bytes());
            out.extend(offset.to_le_bytes());
            offset += (4 * shape.iter().product::<usize>() as u64).next_multiple_of(32);
        }
        out.resize(out.len().next_multiple_of(32), 0);
        let mut random = Random(self.seed);
        for (name, shape) in &self.tensors {
            let is_norm = name.contains("norm");
            for _ in 0..shape.iter().product() {
                let value = random.next_float();
                out.extend((if is_norm { 1.0 + 0.2 * value } else { 0.6 * value }).to_le_bytes());
            }
            out.resize(out.len().next_multiple_of(32), 0);
        }
        out
    }
}

/// A small linear congruential generator (Knuth's MMIX constants): the same numbers everywhere.
pub(super) struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// -1.0 to 1.0.
    pub fn next_float(&mut self) -> f32 {
        (self.next() % 20_001) as f32 / 10_000.0 - 1.0
    }
}

pub(super) fn on_disk(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".gguf").tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.flush().unwrap();
    file
}

pub(super) fn network(path: &std::path::Path) -> Network {
    let file = GgufFile::open(path).unwrap();
    let tokens = Tokens::read(&file).unwrap();
    let sizes = Sizes::read(&file, tokens.vocabulary()).unwrap();
    Network::load(&file, sizes, 4096, &Device::Cpu, &|_| {}).unwrap()
}

/// Logits after the last of `tokens`, read in parts of `part`, on top of `cache`.
pub(super) fn read(network: &Network, cache: &mut KvCache, tokens: &[u32], part: usize) -> Vec<f32> {
    let mut last = Vec::new();
    for tokens in tokens.chunks(part) {
        let mut logits = network.forward(&mut [Segment { cache, tokens, wants_logits: true }]).unwrap();
        last = logits.pop().flatten().unwrap();
    }
    last
}

pub(super) fn fresh(network: &Network) -> KvCache {
    KvCache::new(network.cache_shape())
}

pub(super) fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

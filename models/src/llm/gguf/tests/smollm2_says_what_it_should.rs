//! The starter model against an independent account of it (`models/scripts/smollm2_reference.py`).

use std::path::PathBuf;
use std::sync::OnceLock;

use serde::Deserialize;

use super::super::template::ChatTemplate;
use super::*;
use crate::llm::{Message, Speaker};

#[derive(Deserialize)]
struct Case {
    messages: Vec<Said>,
    prompt: String,
    ids: Vec<u32>,
    /// The best tokens after the prompt with their logits, in float32 over the weights as shipped.
    best: Vec<(u32, f32)>,
    greedy: Vec<u32>,
}

#[derive(Deserialize)]
struct Said {
    role: String,
    content: String,
}

impl Case {
    fn all() -> Vec<Self> {
        serde_json::from_str(include_str!("../fixtures/smollm2.json")).unwrap()
    }

    fn messages(&self) -> Vec<Message> {
        let speaker = |role: &str| match role {
            "system" => Speaker::System,
            "user" => Speaker::User,
            _ => Speaker::Assistant,
        };
        self.messages.iter().map(|said| Message { speaker: speaker(&said.role), text: said.content.clone() }).collect()
    }
}

fn path() -> PathBuf {
    let models = std::env::var_os("AVATAR_MODELS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../data/models")), PathBuf::from);
    let path = models.join("smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf");
    assert!(path.exists(), "{} is missing; run `make models`", path.display());
    path
}

pub(super) fn starter() -> &'static Network {
    static STARTER: OnceLock<Network> = OnceLock::new();
    STARTER.get_or_init(|| network(&path()))
}

pub(super) fn argmax(logits: &[f32]) -> u32 {
    (0u32..).zip(logits).max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0
}

#[test]
fn prompts_and_tokens_are_exactly_the_models_own() {
    let file = GgufFile::open(&path()).unwrap();
    let tokens = Tokens::read(&file).unwrap();
    let template = ChatTemplate::new(file.text("tokenizer.chat_template").unwrap(), &tokens.bos, &tokens.eos).unwrap();
    for case in Case::all() {
        assert_eq!(template.render(&case.messages(), false).unwrap(), case.prompt);
        assert_eq!(tokens.encode(&case.prompt).unwrap(), case.ids, "{}", case.prompt);
    }
}

/// Int8 arithmetic moves a logit by up to about one; candle's unpadded Q8_0 kernels do the same.
const NOISE: f32 = 1.2;

#[test]
fn logits_are_near_those_of_the_weights_as_shipped() {
    for case in Case::all() {
        let logits = read(starter(), &mut fresh(starter()), &case.ids, 64);
        let (chosen, best) = (argmax(&logits), case.best[0].1);
        let chosen = case.best.iter().find(|(token, _)| *token == chosen);
        assert!(chosen.is_some_and(|(_, logit)| best - logit < NOISE), "{chosen:?} for {:?}", case.prompt);
        for (token, expected) in case.best {
            let difference = (logits[token as usize] - expected).abs();
            assert!(difference < NOISE, "token {token} of {:?}: off by {difference}", case.prompt);
        }
    }
}

#[test]
fn the_next_word_is_nearly_always_the_references() {
    let (mut agreed, mut all) = (0, 0);
    for case in Case::all() {
        let mut cache = fresh(starter());
        let mut logits = read(starter(), &mut cache, &case.ids, 64);
        for expected in case.greedy {
            agreed += usize::from(argmax(&logits) == expected);
            all += 1;
            logits = read(starter(), &mut cache, &[expected], 1);
        }
    }
    assert!(agreed * 100 >= all * 75, "{agreed} of {all}");
}

/// Another split of the same text rounds differently, and int8 makes that as large as its own noise; what `tests::cache_reuse…`
/// proves to 1e-4 in float32 is here proved to that noise.
#[test]
fn a_reused_cache_gives_the_logits_of_a_fresh_one() {
    let cases = Case::all();
    let (first, second) = (&cases[0].ids, &cases[2].ids);
    let mut cache = fresh(starter());
    let other = read(starter(), &mut cache, first, 64);
    let shared = cache.common_prefix(second);
    assert!(shared > 10);
    cache.truncate(shared);
    let reused = read(starter(), &mut cache, &second[shared..], 9);
    let from_scratch = read(starter(), &mut fresh(starter()), second, 512);
    let one_by_one = read(starter(), &mut fresh(starter()), second, 1);
    let mean_difference =
        |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f32>() / a.len() as f32;
    let apart = mean_difference(&other, &from_scratch);
    for logits in [&reused, &one_by_one] {
        let difference = mean_difference(logits, &from_scratch);
        assert!(4.0 * difference < apart, "{difference} where another prompt is {apart} away");
        let chosen = argmax(logits) as usize;
        let best = from_scratch[argmax(&from_scratch) as usize];
        assert!(best - from_scratch[chosen] < NOISE);
    }
}

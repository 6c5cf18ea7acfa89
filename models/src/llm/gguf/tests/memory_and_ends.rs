//! Caches within their budget, and every way in which a reply can end.

use super::super::{GgufModel, GgufOptions};
use super::scheduling::{Alphabet, Bench, heard, request};
use super::*;
use crate::error::EngineError;
use crate::llm::{GenerateRequest, LanguageModel, Message, Sampling, Speaker, StopReason};

/// Bytes that `tokens` take in the alphabet's cache.
fn budget(tokens: usize) -> usize {
    128 * tokens
}

#[test]
fn conversations_whose_caches_do_not_fit_together_follow_one_another() {
    let alphabet = Alphabet::default();
    // Prompts of about 40 tokens and 100 to come: two fit.
    let mut bench = Bench::with_budget(&alphabet, budget(300));
    let asked: Vec<_> = (0..5).map(|index| bench.ask(&format!("{index}"), "hello", 100).unwrap()).collect();
    bench.work();
    assert!(alphabet.steps.borrow().iter().all(|step| step.len() <= 2), "three at once");
    for generation in asked {
        assert_eq!(heard(generation).unwrap().0.len(), 100);
    }
}

#[test]
fn one_conversation_is_let_in_whatever_it_takes() {
    let alphabet = Alphabet::default();
    let mut bench = Bench::with_budget(&alphabet, 1);
    let alone = bench.ask("alone", "hello", 5).unwrap();
    bench.work();
    assert_eq!(heard(alone).unwrap().0.len(), 5);
}

#[test]
fn who_leaves_while_it_is_held_up_lets_the_next_one_in() {
    let alphabet = Alphabet::default();
    let mut bench = Bench::with_budget(&alphabet, budget(300));
    let first = bench.ask("first", "hello", 200).unwrap();
    let held_up = bench.ask("held up", "hello", 200).unwrap();
    let small = bench.ask("small", "hello", 10).unwrap();
    bench.step();
    bench.step();
    assert!(alphabet.steps.borrow().iter().all(|step| step.len() == 1), "nobody overtakes");
    drop(held_up);
    bench.work();
    assert_eq!(heard(small).unwrap().0.len(), 10);
    assert_eq!(heard(first).unwrap().0.len(), 200);
}

#[test]
fn a_conversation_whose_cache_was_dropped_goes_on_as_if_it_had_not() {
    let file = on_disk(&Draft::new("llama").bytes());
    let talk = |cache_budget| {
        let options = GgufOptions { cache_budget, ..GgufOptions::default() };
        let model = GgufModel::load(file.path(), &options, &|_| {}).unwrap();
        let mut replies = Vec::new();
        for turn in 0..3 {
            for name in ["a", "b"] {
                let words = format!("{name}{}", " tell me more".repeat(10 * (turn + 1)));
                let (text, _, usage) = heard(model.generate(request(name, &words, 20)).unwrap()).unwrap();
                replies.push((text, usage.cached_tokens > 60));
            }
        }
        replies.into_iter().unzip::<_, _, Vec<_>, Vec<_>>()
    };
    let (replies, cached) = talk(1 << 30);
    let (rebuilt_replies, rebuilt) = talk(1);
    assert_eq!(replies, rebuilt_replies);
    assert!(cached[2..].iter().all(|cached| *cached) && !rebuilt.contains(&true), "{cached:?} {rebuilt:?}");
}

#[test]
fn a_new_conversation_finds_the_system_prompt_read() {
    let file = on_disk(&Draft::new("llama").bytes());
    let system = "You are a voice on the telephone. Answer in one or two short sentences.";
    let options = GgufOptions { system_prompt: Some(system.into()), ..GgufOptions::default() };
    let model = GgufModel::load(file.path(), &options, &|_| {}).unwrap();
    let mut first = request("new", "hello", 3);
    first.messages.insert(0, Message { speaker: Speaker::System, text: system.into() });
    let usage = heard(model.generate(first).unwrap()).unwrap().2;
    assert!(usage.cached_tokens as usize >= system.len(), "{usage:?}");
}

#[test]
fn a_stop_string_that_spans_tokens_ends_the_reply_before_it() {
    let alphabet = Alphabet::default();
    let mut bench = Bench::new(&alphabet);
    let sampling = Sampling { temperature: 0.0, max_tokens: 60, stop: vec!["xyz".into()], ..Sampling::default() };
    let generation = bench.ask_for(GenerateRequest { sampling, ..request("talk", "hello!", 60) }).unwrap();
    bench.work();
    let (text, reason, usage) = heard(generation).unwrap();
    assert_eq!(reason, StopReason::StopString);
    assert!(text.ends_with('w') && !text.contains('x'), "{text}");
    assert_eq!(usage.generated_tokens as usize, text.len() + 3);
}

#[test]
fn impossible_stop_strings_are_refused_at_once() {
    let file = on_disk(&Draft::new("llama").bytes());
    let model = GgufModel::load(file.path(), &GgufOptions::default(), &|_| {}).unwrap();
    let sampling = Sampling { stop: vec![String::new()], ..Sampling::default() };
    let refused = model.generate(GenerateRequest { sampling, ..request("talk", "hello", 1) });
    assert!(matches!(refused, Err(EngineError::BadRequest(words)) if words.contains("stop string")));
}

#[test]
fn scores_that_are_no_numbers_end_their_own_reply_with_an_error() {
    let alphabet = Alphabet::default();
    alphabet.nonsense.set(Some(b'#'.into()));
    let mut bench = Bench::new(&alphabet);
    let sound = bench.ask("sound", "hi", 5).unwrap();
    let damaged = bench.ask("damaged", "#", 5).unwrap();
    bench.work();
    assert!(matches!(heard(damaged), Err(EngineError::Failed { reason, .. }) if reason.contains("not numbers")));
    assert_eq!(heard(sound).unwrap().0.len(), 5);
}

#[test]
fn weights_that_are_no_numbers_are_found_at_load() {
    let mut bytes = Draft::new("llama").bytes();
    let end = bytes.len();
    bytes[end - 64..].copy_from_slice(&f32::NAN.to_le_bytes().repeat(16));
    let file = on_disk(&bytes);
    let error = GgufModel::load(file.path(), &GgufOptions::default(), &|_| {}).err().unwrap();
    assert!(error.to_string().contains("not numbers"), "{error}");
}

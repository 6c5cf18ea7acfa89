//! Measures a GGUF model on this machine: `cargo run --release -p models --example llm_bench -- MODEL.gguf`.

#![allow(clippy::print_stdout)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use models::error::EngineError;
use models::llm::gguf::{GgufModel, GgufOptions};
use models::llm::{GenerateRequest, LanguageModel, Message, Piece, Sampling, Speaker, TokenUsage};

const SYSTEM: &str = "Answer in one or two short sentences.";

#[derive(Debug)]
struct Measured {
    first: Duration,
    total: Duration,
    usage: TokenUsage,
    text: String,
}

impl Measured {
    fn tokens_per_second(&self) -> f64 {
        f64::from(self.usage.generated_tokens.saturating_sub(1)) / (self.total - self.first).as_secs_f64()
    }
}

fn message(speaker: Speaker, text: &str) -> Message {
    Message { speaker, text: text.into() }
}

async fn ask(
    model: &GgufModel,
    conversation: &str,
    messages: Vec<Message>,
    max_tokens: usize,
    temperature: f64,
) -> Result<Measured, EngineError> {
    let started = Instant::now();
    let sampling = Sampling { temperature, repeat_penalty: 1.1, max_tokens, seed: 1, ..Sampling::default() };
    let mut generation = model.generate(GenerateRequest { conversation: conversation.into(), messages, sampling })?;
    let mut measured =
        Measured { first: Duration::ZERO, total: Duration::ZERO, usage: TokenUsage::default(), text: String::new() };
    while let Some(piece) = generation.next().await {
        match piece? {
            Piece::Text(text) => {
                if measured.text.is_empty() {
                    measured.first = started.elapsed();
                }
                measured.text.push_str(&text);
            }
            Piece::Done { usage, .. } => measured.usage = usage,
        }
    }
    measured.total = started.elapsed();
    Ok(measured)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path: PathBuf = std::env::args_os().nth(1).ok_or("usage: llm_bench MODEL.gguf")?.into();
    let started = Instant::now();
    let options = GgufOptions { system_prompt: Some(SYSTEM.into()), ..GgufOptions::default() };
    let model = GgufModel::load(&path, &options, &|_| {})?;
    println!("load and warm-up: {:.2} s", started.elapsed().as_secs_f64());

    for round in 0..3 {
        let long =
            "The harbour was quiet and the boats lay still while the old keeper walked along the wall. ".repeat(10);
        let prompt =
            vec![message(Speaker::System, SYSTEM), message(Speaker::User, &format!("{round} {long}What did he do?"))];
        let conversation = format!("long {round}");
        let first = ask(&model, &conversation, prompt.clone(), 64, 0.0).await?;
        println!(
            "prompt {} tokens ({} cached): first token {:.0} ms, then {:.1} tokens/s ({})",
            first.usage.prompt_tokens,
            first.usage.cached_tokens,
            first.first.as_secs_f64() * 1e3,
            first.tokens_per_second(),
            first.usage.generated_tokens,
        );
        let mut next = prompt;
        next.push(message(Speaker::Assistant, &first.text));
        next.push(message(
            Speaker::User,
            "And could you please tell me what he was thinking about while he walked along the wall that night?",
        ));
        let second = ask(&model, &conversation, next, 24, 0.0).await?;
        println!(
            "next turn {} tokens ({} cached, {} read): first token {:.0} ms",
            second.usage.prompt_tokens,
            second.usage.cached_tokens,
            second.usage.prompt_tokens - second.usage.cached_tokens,
            second.first.as_secs_f64() * 1e3,
        );
    }
    for callers in [1usize, 2, 5] {
        let started = Instant::now();
        let questions = [
            "Tell me about the sea.",
            "Tell me about mountains.",
            "Describe a forest.",
            "Describe a city.",
            "Describe the moon.",
        ];
        let names: Vec<String> = (0..callers).map(|caller| format!("{callers} callers, {caller}")).collect();
        let asks = names.iter().zip(questions).map(|(name, question)| {
            ask(&model, name, vec![message(Speaker::System, SYSTEM), message(Speaker::User, question)], 64, 0.0)
        });
        let answers = join_all(asks).await;
        let mut tokens = 0;
        let mut rates = Vec::new();
        for answer in answers {
            let answer = answer?;
            tokens += answer.usage.generated_tokens;
            rates.push(format!("{:.1} (first {:.0} ms)", answer.tokens_per_second(), answer.first.as_secs_f64() * 1e3));
        }
        println!(
            "{callers} at once: {:.1} tokens/s together; each {}",
            f64::from(tokens) / started.elapsed().as_secs_f64(),
            rates.join(", ")
        );
    }
    let talks = [
        ["What is the capital of France?", "And what is it famous for?"],
        ["How do I make a cup of tea?", "How long should I wait?"],
        ["My name is Anna and I live in Oslo.", "What is my name?"],
        ["Why is the sky blue?", "And at sunset?"],
    ];
    for (index, talk) in talks.iter().enumerate() {
        let mut messages = vec![message(Speaker::System, SYSTEM)];
        for question in talk {
            messages.push(message(Speaker::User, question));
            let answer = ask(&model, &format!("talk {index}"), messages.clone(), 80, 0.2).await?;
            println!(
                "? {question}\n! {} [{} cached of {}, first {:.0} ms, {} tokens]",
                answer.text.trim(),
                answer.usage.cached_tokens,
                answer.usage.prompt_tokens,
                answer.first.as_secs_f64() * 1e3,
                answer.usage.generated_tokens
            );
            messages.push(message(Speaker::Assistant, answer.text.trim()));
        }
    }
    Ok(())
}

/// Runs futures together on this task.
async fn join_all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut pinned: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        let mut all_done = true;
        for (future, output) in &mut pinned {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *output = Some(value),
                    std::task::Poll::Pending => all_done = false,
                }
            }
        }
        if all_done { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    pinned.into_iter().filter_map(|(_, output)| output).collect()
}

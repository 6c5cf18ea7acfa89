//! The engine for GGUF files, on candle.
//!
//! [`GgufModel::load`] reads a model of one of the families in `architecture` with its tokenizer and chat template from one GGUF
//! file, and starts the one thread that computes (see `scheduler`). The file is untrusted: whatever is wrong with it is an error
//! that says so. It promises the contract of [`crate::llm`]; it refuses mixtures of experts, and whatever in a file it would have
//! to leave out.

mod architecture;
mod arrangement;
mod cache;
mod file;
mod footprint;
mod inbox;
mod kernels;
pub mod measure;
mod network;
mod outlet;
mod pace;
mod python;
mod rotation;
mod sampler;
mod scheduler;
mod sequence;
mod steps;
mod store;
mod template;
mod tokens;
mod vocabulary;
mod weights;
mod window;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use candle_core::Device;

use self::architecture::Sizes;
use self::file::GgufFile;
pub use self::footprint::{Footprint, footprint};
use self::inbox::{Inbox, Job};
use self::network::Network;
use self::outlet::Outlet;
use self::scheduler::Scheduler;
use self::template::ChatTemplate;
use self::tokens::Tokens;
use super::{GenerateRequest, Generation, LanguageModel, Message, Speaker};
use crate::error::EngineError;
use crate::queue::QueueDepth;

/// Reads a chat template and renders `messages` with it, without a model.
#[cfg(any(test, fuzzing))]
pub(crate) fn render(source: &str, messages: &[Message]) -> Result<String, String> {
    ChatTemplate::new(source, "<s>", "</s>")?.render(messages, false)
}

/// How errors call this engine.
const ENGINE: &str = "the language model";

/// How to run a model.
#[derive(Debug, Clone)]
pub struct GgufOptions {
    /// Tokens that prompt and reply may take together; at most what the model was trained for. Costs memory only as
    /// conversations grow. Models with LongRoPE are read with their divisors for a context of this length.
    pub context: usize,
    /// Bytes that the key-value caches of all conversations may take together. Idle ones are dropped, oldest first, and requests
    /// whose cache might not fit beside the running ones wait; a single request is let in whatever it takes.
    pub cache_budget: usize,
    /// The system prompt that most conversations begin with: it is read once, at load.
    pub system_prompt: Option<String>,
    /// Where weights, caches and activations lie.
    pub device: Device,
}

impl Default for GgufOptions {
    fn default() -> Self {
        Self { context: 4096, cache_budget: 1 << 30, system_prompt: None, device: Device::Cpu }
    }
}

/// A GGUF model, ready to answer. Dropping it stops its thread.
pub struct GgufModel {
    name: String,
    inbox: Arc<Inbox>,
    thread: Option<JoinHandle<()>>,
}

impl GgufModel {
    /// Loads and warms up the model, which takes seconds: not for a tokio worker. `progress` is told the share that is done, 0.0
    /// to 1.0, from several threads.
    pub fn load(path: &Path, options: &GgufOptions, progress: &(dyn Fn(f32) + Sync)) -> Result<Self, EngineError> {
        let started = Instant::now();
        let file = GgufFile::open(path)?;
        let corrupt = |flaw: String| file.corrupt(&flaw);
        let tokens = Tokens::read(&file).map_err(corrupt)?;
        let source = file.text("tokenizer.chat_template").map_err(corrupt)?;
        let template = ChatTemplate::new(source, &tokens.bos, &tokens.eos).map_err(corrupt)?;
        let sizes = Sizes::read(&file, tokens.vocabulary()).map_err(corrupt)?;
        let context = options.context.min(sizes.trained_context);
        if context < 64 {
            return Err(EngineError::BadRequest(format!(
                "a context of {context} tokens is too small to talk in; configure at least 64"
            )));
        }
        let network = Network::load(&file, sizes, context, &options.device, progress).map_err(corrupt)?;
        let mut scheduler = Scheduler::new(network, tokens, template, context, options.cache_budget);
        let beginning =
            options.system_prompt.iter().map(|text| Message { speaker: Speaker::System, text: text.clone() });
        scheduler.warm_up(&beginning.collect::<Vec<_>>())?;

        let inbox = Arc::new(Inbox::default());
        let thread = {
            let inbox = Arc::clone(&inbox);
            std::thread::Builder::new()
                .name("llm".into())
                .spawn(move || scheduler.run(&inbox))
                .map_err(|error| EngineError::Failed { engine: ENGINE, reason: error.to_string() })?
        };
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        tracing::info!(model = %stem, took = ?started.elapsed(), context, "language model loaded");
        Ok(Self { name: format!("candle {stem}"), inbox, thread: Some(thread) })
    }
}

impl LanguageModel for GgufModel {
    fn queue(&self) -> Option<QueueDepth> {
        Some(self.inbox.queue())
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    fn generate(&self, request: GenerateRequest) -> Result<Generation, EngineError> {
        self.submit(request, false)
    }

    fn generate_when_idle(&self, request: GenerateRequest) -> Result<Generation, EngineError> {
        self.submit(request, true)
    }

    fn forget(&self, conversation: &str) {
        self.inbox.forget(conversation);
    }
}

impl GgufModel {
    fn submit(&self, request: GenerateRequest, yields: bool) -> Result<Generation, EngineError> {
        if request.messages.last().is_none_or(|message| message.speaker != Speaker::User) {
            return Err(EngineError::BadRequest("a conversation must end with the user's message".into()));
        }
        if request.sampling.max_tokens == 0 {
            return Err(EngineError::BadRequest("a reply of no tokens was asked for; ask for at least one".into()));
        }
        Outlet::check(&request.sampling)?;
        let (generation, pieces, cancelled) = Generation::new();
        self.inbox.submit(Job { request, pieces, cancelled, yields })?;
        Ok(generation)
    }
}

impl Drop for GgufModel {
    fn drop(&mut self) {
        self.inbox.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the language model's thread had panicked");
        }
    }
}

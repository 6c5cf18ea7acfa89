//! The language model: messages in, a stream of text out.
//!
//! The contract is stateless: each request carries the whole conversation as it now stands. The engine keeps the key-value
//! cache of each conversation and prefills only what comes after the longest prefix of tokens that the cache already holds, so
//! a new turn costs its new words, and a reply that was cut to what was heard costs the difference.

pub mod gguf;

use tokio::sync::mpsc;

use crate::cancel::{CancelOnDrop, Cancelled};
use crate::error::EngineError;

/// How many pieces of text may wait for the call. When full the engine's sequence waits, the others go on.
pub const PIECES_BOUND: usize = 256;

/// Who said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    System,
    User,
    Assistant,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub speaker: Speaker,
    pub text: String,
}

/// One reply to make.
#[derive(Debug, Clone)]
pub struct GenerateRequest {
    /// Whose key-value cache to use. Any text; a new one starts an empty cache.
    pub conversation: String,
    /// Oldest first: system prompt, then the turns, the last from the user.
    pub messages: Vec<Message>,
    pub sampling: Sampling,
}

/// How tokens are chosen and when to stop.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// 0.0 is greedy.
    pub temperature: f64,
    pub top_p: Option<f64>,
    /// 1.0 is none.
    pub repeat_penalty: f32,
    pub max_tokens: usize,
    pub seed: u64,
}

/// What a generation yields, in order; `Done` is last.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// Whole characters, in the order they are to be read.
    Text(String),
    Done {
        reason: StopReason,
        usage: TokenUsage,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// The model ended its message.
    EndOfTurn,
    /// `max_tokens`.
    Length,
    /// The engine failed after it had begun: what has come is all there will be.
    BrokenOff,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TokenUsage {
    pub prompt_tokens: u32,
    /// Of the prompt, how many were in the cache.
    pub cached_tokens: u32,
    pub generated_tokens: u32,
}

/// The language model as calls use it: shared, queued, cancellable.
pub trait LanguageModel: Send + Sync {
    /// Engine and model, as `doctor` and the history show it.
    fn name(&self) -> String;
    /// Queues the request; [`EngineError::Overloaded`] at once if the queue is full.
    fn generate(&self, request: GenerateRequest) -> Result<Generation, EngineError>;
    /// The conversation is over: its cache may go.
    fn forget(&self, conversation: &str);
}

/// A reply in the making; dropping it cancels.
pub struct Generation {
    pieces: mpsc::Receiver<Result<Piece, EngineError>>,
    #[expect(dead_code, reason = "held for its drop")]
    cancel: CancelOnDrop,
}

impl Generation {
    /// The handle, and what the engine's side needs.
    pub fn new() -> (Self, mpsc::Sender<Result<Piece, EngineError>>, Cancelled) {
        let (tx, pieces) = mpsc::channel(PIECES_BOUND);
        let cancel = CancelOnDrop::default();
        let cancelled = cancel.watch();
        (Self { pieces, cancel }, tx, cancelled)
    }

    /// The next piece; `None` after `Done`, after an error, or when the engine has stopped.
    pub async fn next(&mut self) -> Option<Result<Piece, EngineError>> {
        self.pieces.recv().await
    }
}

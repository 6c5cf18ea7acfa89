//! What can go wrong with an engine, said so that a person knows what to do.

use std::path::PathBuf;

#[derive(Debug, Clone, thiserror::Error)]
pub enum EngineError {
    /// A file the engine needs is not there.
    #[error("{what} is missing at {}; {hint}", path.display())]
    Missing { what: String, path: PathBuf, hint: String },
    /// A file is there but is not what it should be.
    #[error("{} cannot be used: {reason}; {hint}", path.display())]
    Corrupt { path: PathBuf, reason: String, hint: String },
    /// A library or program of the system is not there.
    #[error("{what} is not installed; {hint}")]
    NotInstalled { what: String, hint: String },
    /// The engine's queue is full; the request was not taken.
    #[error("{engine} is overloaded: {waiting} requests wait; try again shortly")]
    Overloaded { engine: &'static str, waiting: usize },
    /// The request itself can't be served (empty text, unknown voice, prompt over the context).
    #[error("{0}")]
    BadRequest(String),
    /// The engine failed on this request; others go on.
    #[error("{engine} failed: {reason}")]
    Failed { engine: &'static str, reason: String },
    /// A server that an engine asks over the network does not do what it should; what was said to be its address, without keys.
    #[error("{server} cannot be used: {reason}; {hint}")]
    Remote { server: String, reason: String, hint: String },
    /// Where the engine works there was no room for this: the graphics card's memory, or the machine's. Another place, a smaller
    /// model or another engine may still serve it.
    #[error(
        "{engine} ran out of memory on {place}: {reason}; choose a smaller model or fewer calls (`avatar doctor` shows what fits)"
    )]
    OutOfMemory {
        engine: &'static str,
        /// As the configuration names devices: `cuda:0`, `metal`, `cpu`.
        place: String,
        /// What the allocator said.
        reason: String,
    },
    /// The engine's thread is gone; the server must be restarted.
    #[error("{engine} has stopped; restart the server")]
    Stopped { engine: &'static str },
}

impl EngineError {
    /// Whether another place, a smaller model or another engine may still serve what this one could not.
    pub fn is_out_of_memory(&self) -> bool {
        matches!(self, Self::OutOfMemory { .. })
    }
}

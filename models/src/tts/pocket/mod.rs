//! Pocket TTS: a neural voice for processors, which clones from a few seconds of speech.
//!
//! A backbone (transformer) reads the text after what it remembers of a voice, and then thinks up 80 ms of speech at a time as a latent,
//! which the codec (Mimi) turns into samples at once. One copy of the weights serves every call; each speech owns its state.
//! Model and reference implementation: Kyutai's Pocket TTS (arXiv 2509.06926; package `pocket-tts` 4.0.1, MIT).

mod codec;
pub mod config;
mod conv;
mod flow;
mod linear;
mod model;
mod open;
mod past;
pub mod random;
mod reference;
mod rota;
mod script;
mod seanet;
mod sentencepiece;
mod service;
mod speech;
mod tokens;
mod transformer;
mod voice;
mod weights;

pub use linear::Precision;
pub use open::{Release, Speed};
pub use service::PocketTts;
pub use weights::probe;

/// What its voices' ids begin with.
pub const ENGINE: &str = "pocket-tts";
/// What the releases here speak.
const LANGUAGE: &str = "en-US";

#[cfg(test)]
mod tests;

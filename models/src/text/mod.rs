//! Text on its way to a voice: sentences, and what may be spoken.
//!
//! [`sentences::SentenceSplitter`] cuts a stream of text into pieces for a voice; [`speakable::speakable`] strips what no voice
//! should read. Both are pure and read one character at a time, so how the text was chunked on its way never matters.

mod abbreviations;
mod characters;
mod markup;
pub mod sentences;
pub mod speakable;
#[cfg(test)]
mod tests;

pub use sentences::{Sentence, SentenceSplitter};
pub use speakable::speakable;

//! Text on its way to a voice: sentences, what may be spoken, and how it is said.
//!
//! [`sentences::SentenceSplitter`] cuts a stream of text into pieces for a voice; [`speakable::speakable`] strips what no voice
//! should read. Both are pure and read one character at a time, so how the text was chunked on its way never matters.
//! [`normalise::spoken_form`] makes words of what a piece has of numbers, dates, signs and abbreviations.

mod abbreviations;
pub(crate) mod characters;
pub mod han;
mod markup;
pub mod normalise;
pub mod sentences;
pub mod speakable;
#[cfg(test)]
mod tests;

pub use normalise::spoken_form;
pub use sentences::{Sentence, SentenceSplitter};
pub use speakable::speakable;

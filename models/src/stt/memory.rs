//! What complete pieces of speech were transcribed to, so that a growing utterance is transcribed only once.
//!
//! Owns the texts of the last few pieces of all calls. A piece is known by its samples: by a keyed 64-bit hash of them, their
//! number, the language and what was said before. Bounded; the one that was not asked for longest goes first.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use super::{Piece, Recognized};

/// Five calls of two minutes have a hundred. Each takes a few hundred bytes.
const MOST: usize = 256;

/// See the module.
#[derive(Default)]
pub struct Memory {
    keys: RandomState,
    /// The one asked for last at the end.
    pieces: Mutex<VecDeque<(Key, Recognized)>>,
}

/// What a piece is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    hash: u64,
    samples: usize,
}

impl Memory {
    pub fn key(&self, piece: &Piece<'_>) -> Key {
        let bits: Vec<u32> = piece.audio.iter().map(|sample| sample.to_bits()).collect();
        Key { hash: self.keys.hash_one((bits, piece.language, piece.before)), samples: piece.audio.len() }
    }

    pub fn recall(&self, key: Key) -> Option<Recognized> {
        let mut pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        let at = pieces.iter().position(|(known, _)| *known == key)?;
        let found = pieces.remove(at)?;
        let recognized = found.1.clone();
        pieces.push_back(found);
        Some(recognized)
    }

    pub fn keep(&self, key: Key, recognized: Recognized) {
        let mut pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        pieces.retain(|(known, _)| *known != key);
        if pieces.len() >= MOST {
            pieces.pop_front();
        }
        pieces.push_back((key, recognized));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Recognized {
        let text = text.to_owned();
        Recognized { text, language: None, mean_log_probability: 0.0, tokens: 1, no_speech_probability: None }
    }

    #[test]
    fn the_same_sound_in_another_place_is_another_piece() {
        let memory = Memory::default();
        let piece = Piece { audio: &[0.5, 0.25], language: Some("en"), before: "go" };
        memory.keep(memory.key(&piece), said("on"));
        assert_eq!(memory.recall(memory.key(&piece)), Some(said("on")));
        for other in [
            Piece { audio: &[0.5], ..piece },
            Piece { audio: &[0.5, 0.26], ..piece },
            Piece { language: None, ..piece },
            Piece { before: "goo", ..piece },
        ] {
            assert_eq!(memory.recall(memory.key(&other)), None, "{other:?}");
        }
    }

    #[test]
    fn it_never_grows_and_forgets_what_nobody_asks_for() {
        let memory = Memory::default();
        let key = |number: usize| Key { hash: 7, samples: number };
        for number in 0..2 * MOST {
            memory.keep(key(number), said("x"));
            assert!(memory.recall(key(0)).is_some(), "asked for each time, and gone after {number}");
        }
        assert!(memory.recall(key(MOST)).is_none());
        assert!(memory.recall(key(2 * MOST - 1)).is_some());
        assert_eq!(memory.pieces.lock().map(|pieces| pieces.len()).unwrap_or(0), MOST);
    }
}

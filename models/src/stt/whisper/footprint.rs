//! What a Whisper model will take of memory, read from its file's header: no weights are read.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use super::ggml::{self, Header};
use crate::error::EngineError;
use crate::onnx::{corrupt, readable};

/// whisper.cpp rounds the lengths of its caches up to this.
const CACHE_STEP: u64 = 256;
/// Keys and values are kept in half precision.
const HALF: u64 = 2;
const SINGLE: u64 = 4;
/// Graphs, decoder's logits and small buffers: an allowance, not a measurement.
const SMALL_BUFFERS: u64 = 96 << 20;

/// Sizes in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// As the file holds them.
    pub weights: u64,
    /// Of one recogniser: its caches, and its work buffers for the longest audio.
    pub per_recognizer: u64,
}

/// Walks the ggml file at `path`; the errors are those of [`super::Whisper::load`].
pub fn footprint(path: &Path) -> Result<Footprint, EngineError> {
    let path = readable(path, "the Whisper model")?;
    let file = File::open(&path).map_err(|error| corrupt(&path, error))?;
    let weights = file.metadata().map_err(|error| corrupt(&path, error))?.len();
    let header = ggml::check(BufReader::new(file)).map_err(|reason| corrupt(&path, reason))?;
    Ok(Footprint { weights, per_recognizer: per_recognizer(&header) })
}

/// As whisper.cpp 1.8 allocates a state without flash attention (`whisper_init_state`): caches of the decoder's own text and of
/// the audio it looks at, padding, and the encoder's buffer, in which one layer's attention weighs most.
fn per_recognizer(header: &Header) -> u64 {
    let size = |value: i32| u64::from(value.unsigned_abs());
    let [audio, text] =
        [header.audio_context, header.text_context].map(|length| size(length).next_multiple_of(CACHE_STEP));
    let [state, layers] = [header.text_state, header.text_layers].map(size);
    // Keys and values of the decoder's own text, and of the audio.
    let caches = 2 * HALF * layers * state * (text + audio);
    let padding = 2 * HALF * size(header.audio_state) * audio;
    let frames = size(header.audio_context);
    // Scores, and what softmax makes of them; then the layer's inputs, its inner layer of four times the width, and its outputs.
    let attention = 2 * SINGLE * size(header.audio_heads) * frames * frames;
    let layer = 12 * SINGLE * size(header.audio_state) * frames;
    caches + padding + attention + layer + SMALL_BUFFERS
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::random_model;
    use super::*;

    #[test]
    fn large_models_are_planned_with_the_buffers_they_have() {
        let turbo = Header {
            vocabulary: 51_866,
            audio_context: 1_500,
            audio_state: 1_280,
            audio_heads: 20,
            audio_layers: 32,
            text_context: 448,
            text_state: 1_280,
            text_heads: 20,
            text_layers: 4,
            mels: 128,
            file_type: 1,
        };
        let large = Header { text_layers: 32, ..turbo };
        let [turbo, large] = [turbo, large].map(|header| per_recognizer(&header) >> 20);
        // Caches of 40 and 320 MiB, attention of 343, a layer's 88, padding of 7.
        assert_eq!((turbo, large), (574, 854));
    }

    #[test]
    fn the_weights_are_as_large_as_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), random_model::bytes()).unwrap();
        let found = footprint(file.path()).unwrap();
        assert_eq!(found.weights, random_model::bytes().len() as u64);
        std::fs::write(file.path(), b"not a model").unwrap();
        assert!(footprint(file.path()).is_err());
    }
}

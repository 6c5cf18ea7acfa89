//! What reads files and texts from outside, one function a format, for the fuzz targets in `fuzz/` and for the test that runs
//! each over a few seeds. Whatever the bytes are, nothing panics and nothing is allocated on their word alone.
//!
//! Only compiled for tests and with `--cfg fuzzing`, which `cargo fuzz` sets.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use crate::llm::gguf::{GgufModel, GgufOptions};
use crate::llm::{Message, Speaker};
use crate::stt::moonshine::tokens::Vocabulary;
use crate::stt::whisper::ggml;

/// A GGUF file, all the way: head, tokenizer, template, weights, and the first pass through the network.
pub fn gguf(path: &Path) {
    let options = GgufOptions { context: 64, cache_budget: 1 << 20, ..GgufOptions::default() };
    drop(GgufModel::load(path, &options, &|_| {}));
}

/// A Whisper file in ggml format. The first eight bytes are the file's claimed length, the rest is what the check reads; the
/// weights, which it skips, take no bytes here, so that a whole model fits in a small input.
pub fn ggml(bytes: &[u8]) {
    let Some((length, bytes)) = bytes.split_first_chunk::<8>() else { return };
    // No file is longer than this on any file system.
    let length = u64::from_le_bytes(*length) % (1 << 60);
    drop(ggml::check(Sparse { bytes, at: 0, length }));
}

/// Moonshine's vocabulary, and the text of its tokens.
pub fn moonshine_tokens(bytes: &[u8]) {
    if let Some(vocabulary) = Vocabulary::parse(bytes) {
        let all: Vec<i64> = (0..vocabulary.len() as i64 + 2).collect();
        drop(vocabulary.text(&all));
    }
}

/// A safetensors file: its header, every tensor it names, and the voice it may be; and the same bytes as a tokenizer's pieces.
pub fn safetensors(bytes: &[u8]) {
    crate::tts::pocket::probe(bytes);
}

/// A chat template and what is said in it: the template up to the first zero byte, then the messages, a zero byte after each.
pub fn chat_template(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.split('\0');
    let source = parts.next().unwrap_or_default();
    let speakers = [Speaker::System, Speaker::User, Speaker::Assistant].into_iter().cycle();
    let messages: Vec<Message> =
        parts.take(16).zip(speakers).map(|(text, speaker)| Message { speaker, text: text.to_owned() }).collect();
    drop(crate::llm::gguf::render(source, &messages));
}

/// A file of which only what is read has bytes; what is skipped is there and empty.
struct Sparse<'a> {
    bytes: &'a [u8],
    at: u64,
    length: u64,
}

impl Read for Sparse<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read(buffer)?;
        self.at = self.at.saturating_add(read as u64);
        Ok(read)
    }
}

impl Seek for Sparse<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(from) => self.length.checked_add_signed(from),
            SeekFrom::Current(from) => self.at.checked_add_signed(from),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// Runs `target` over the seeds in `fuzz/seeds/`, each whole, cut short at many places, and with each of many bytes changed.
    fn over_seeds(name: &str, target: impl Fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(name);
        let mut seeds = 0;
        for entry in std::fs::read_dir(&folder).unwrap() {
            let seed = std::fs::read(entry.unwrap().path()).unwrap();
            target(&seed);
            let step = (seed.len() / 24).max(1);
            for at in (0..seed.len()).step_by(step) {
                target(&seed[..at]);
                let mut damaged = seed.clone();
                damaged[at] ^= 0xff;
                target(&damaged);
            }
            seeds += 1;
        }
        assert!(seeds > 0, "{} has no seeds", folder.display());
    }

    #[test]
    fn no_damaged_gguf_ends_the_server() {
        over_seeds("gguf", |bytes| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), bytes).unwrap();
            gguf(file.path());
        });
    }

    #[test]
    fn no_damaged_whisper_file_ends_the_server() {
        over_seeds("ggml", ggml);
    }

    #[test]
    fn no_damaged_vocabulary_ends_the_server() {
        over_seeds("moonshine_tokens", moonshine_tokens);
    }

    #[test]
    fn no_damaged_safetensors_file_ends_the_server() {
        over_seeds("safetensors", safetensors);
    }

    #[test]
    fn no_chat_template_ends_the_server() {
        over_seeds("chat_template", chat_template);
    }

    /// Seeds that are refused at once would test nothing.
    #[test]
    fn the_seeds_are_sound_before_they_are_damaged() {
        let seed =
            |path: &str| std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(path)).unwrap();
        let whisper = seed("ggml/whole");
        let (length, bytes) = whisper.split_first_chunk::<8>().unwrap();
        ggml::check(Sparse { bytes, at: 0, length: u64::from_le_bytes(*length) }).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), seed("gguf/llama")).unwrap();
        GgufModel::load(file.path(), &GgufOptions::default(), &|_| {}).unwrap();
        assert!(Vocabulary::parse(&seed("moonshine_tokens/small")).is_some());
        assert!(candle_core::safetensors::SliceSafetensors::new(&seed("safetensors/two")).is_ok());
        let chatml = String::from_utf8(seed("chat_template/chatml")).unwrap();
        let source = chatml.split('\0').next().unwrap();
        let message = Message { speaker: Speaker::User, text: "Hello?".into() };
        assert!(crate::llm::gguf::render(source, &[message]).unwrap().contains("Hello?"));
    }
}

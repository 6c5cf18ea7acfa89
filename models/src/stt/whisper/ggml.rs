//! What a ggml Whisper file must look like, checked before whisper.cpp sees it.
//!
//! whisper.cpp trusts its file: a length that is wrong, or a token that is not there, makes it write where it must not, or
//! throw, which ends the process.
//! So the whole structure is walked first: header, mel filters, vocabulary, and every tensor's name, shape, type and place.
//! The weights themselves are skipped. Nothing is allocated but a token and a name at a time, both of bounded length, and the
//! table of the tensors that the bounded header asks for. (Format: whisper.cpp, `whisper_model_load`, version 1.8.)

mod tensors;

use std::io::{Read, Seek, SeekFrom};

const MAGIC: u32 = 0x6767_6d6c;
const N_FFT: i32 = 201;
/// Half of the 3,000 frames in thirty seconds.
pub const AUDIO_CONTEXT: i32 = 1_500;
/// English-only models have one token less than the first multilingual ones. Later ones added a language or two.
const VOCABULARIES: std::ops::RangeInclusive<i32> = 51_864..=51_866;
/// The vocabulary of the first multilingual models, and their languages.
const FIRST_MULTILINGUAL: i32 = 51_865;
const FIRST_LANGUAGES: i32 = 99;
const LONGEST_TOKEN: u32 = 1_024;
/// Tokens that the decoder looks up without asking whether they are there.
const NEEDED_TOKENS: [&[u8]; 3] = [b" ", b" -", b" '"];
const LONGEST_NAME: i32 = 128;

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub vocabulary: i32,
    pub audio_context: i32,
    pub audio_state: i32,
    pub audio_heads: i32,
    pub audio_layers: i32,
    pub text_context: i32,
    pub text_state: i32,
    pub text_heads: i32,
    pub text_layers: i32,
    pub mels: i32,
    pub file_type: i32,
}

/// Walks the file; the reason if it is not a whole Whisper model in ggml format.
pub fn check(file: impl Read + Seek) -> Result<Header, String> {
    let mut file = Walker::new(file)?;
    if file.u32("the magic number")? != MAGIC {
        return Err("it is not a Whisper model in ggml format".to_owned());
    }
    let header = Header::read(&mut file)?;
    header.check()?;

    let (mels, fft) = (file.i32("the mel filters")?, file.i32("the mel filters")?);
    if mels != header.mels || fft != N_FFT {
        return Err(format!("its mel filters are {mels} × {fft}, not {} × {N_FFT}", header.mels));
    }
    file.skip(4 * u64::from(mels.unsigned_abs()) * u64::from(fft.unsigned_abs()), "the mel filters")?;

    let tokens = file.i32("the vocabulary")?;
    if !(0..=header.vocabulary).contains(&tokens) {
        return Err(format!("its vocabulary has {tokens} tokens of {}", header.vocabulary));
    }
    let mut lacking = NEEDED_TOKENS.to_vec();
    let mut token = Vec::new();
    for _ in 0..tokens {
        let length = file.u32("the vocabulary")?;
        if length > LONGEST_TOKEN {
            return Err(format!("a token of its vocabulary is {length} bytes long"));
        }
        token.resize(length as usize, 0);
        file.read(&mut token, "the vocabulary")?;
        lacking.retain(|needed| *needed != token);
    }
    if let Some(needed) = lacking.first() {
        return Err(format!("its vocabulary has no token {:?}", String::from_utf8_lossy(needed)));
    }

    let mut lacking = tensors::expected(&header);
    while !file.is_at_end() {
        let found = tensor(&mut file)?;
        let expected = lacking
            .remove(&found.name)
            .ok_or_else(|| format!("tensor {} is there twice, or no Whisper model of this size has it", found.name))?;
        if expected != (found.shape, found.kind) {
            let Tensor { name, shape, kind } = found;
            return Err(format!("tensor {name} has shape {shape:?} and type {kind}, not {expected:?}"));
        }
    }
    match lacking.into_keys().next() {
        Some(name) => Err(format!("tensor {name} is missing")),
        None => Ok(header),
    }
}

impl Header {
    fn read(file: &mut Walker<impl Read + Seek>) -> Result<Self, String> {
        let mut next = || file.i32("the header");
        Ok(Self {
            vocabulary: next()?,
            audio_context: next()?,
            audio_state: next()?,
            audio_heads: next()?,
            audio_layers: next()?,
            text_context: next()?,
            text_state: next()?,
            text_heads: next()?,
            text_layers: next()?,
            mels: next()?,
            file_type: next()?,
        })
    }

    fn check(&self) -> Result<(), String> {
        let is_possible = VOCABULARIES.contains(&self.vocabulary)
            && self.audio_context == AUDIO_CONTEXT
            && (32..=2_048).contains(&self.audio_state)
            && self.text_state == self.audio_state
            // Every model has heads of 64; kernels want multiples of 16, and 32 × 16 bounds the memory of attention.
            && [self.audio_heads, self.text_heads].iter().all(|heads| {
                (1..=32).contains(heads) && self.audio_state % heads == 0 && self.audio_state / heads % 16 == 0
            })
            // The largest has 32; ggml ends the process when a graph has more nodes than whisper.cpp made room for.
            && [self.audio_layers, self.text_layers].iter().all(|layers| (1..=32).contains(layers))
            && (64..=448).contains(&self.text_context)
            && matches!(self.mels, 80 | 128)
            // Quantised files carry a format version in the thousands.
            && (0..10_000).contains(&self.file_type)
            // Whole blocks in every row, or ggml ends the process.
            && self.weight_kind().and_then(block_of).is_some_and(|(block, _)| self.audio_state % block == 0);
        is_possible.then_some(()).ok_or_else(|| format!("its header is not that of a Whisper model: {self:?}"))
    }

    pub fn is_multilingual(&self) -> bool {
        self.vocabulary > *VOCABULARIES.start()
    }

    /// ggml's type of the large matrices.
    fn weight_kind(&self) -> Option<i32> {
        Some(match self.file_type % 1_000 {
            kind @ (0..=3 | 10..=14) => kind,
            7 => 8,
            8 => 6,
            9 => 7,
            _ => return None,
        })
    }

    /// How many languages it has tokens for; none if it knows only English.
    pub fn languages(&self) -> i32 {
        if self.is_multilingual() { self.vocabulary - FIRST_MULTILINGUAL + FIRST_LANGUAGES } else { 0 }
    }
}

/// What stands before a tensor's data.
struct Tensor {
    name: String,
    shape: [i32; 3],
    /// ggml's number of its type.
    kind: i32,
}

/// The next tensor; its data is skipped.
fn tensor(file: &mut Walker<impl Read + Seek>) -> Result<Tensor, String> {
    const AT: &str = "a tensor";
    let (dimensions, length, kind) = (file.i32(AT)?, file.i32(AT)?, file.i32(AT)?);
    if !(1..=3).contains(&dimensions) || !(1..=LONGEST_NAME).contains(&length) {
        return Err(format!("a tensor has {dimensions} dimensions and a name of {length} bytes"));
    }
    let mut shape = [1; 3];
    for extent in shape.iter_mut().take(dimensions as usize) {
        *extent = file.i32(AT)?;
    }
    let mut name = vec![0; length as usize];
    file.read(&mut name, AT)?;
    let name = String::from_utf8(name).map_err(|_| "a tensor has a broken name".to_owned())?;
    let (block, block_bytes) = block_of(kind).ok_or_else(|| format!("tensor {name} has an unknown type, {kind}"))?;
    let elements = shape
        .iter()
        .try_fold(1_i32, |product, extent| (*extent >= 1).then_some(()).and_then(|()| product.checked_mul(*extent)));
    match (elements, shape) {
        (Some(elements), [row, ..]) if row % block == 0 => {
            file.skip((elements / block) as u64 * block_bytes, AT)?;
            Ok(Tensor { name, shape, kind })
        }
        _ => Err(format!("tensor {name} has an impossible shape, {shape:?}")),
    }
}

/// Elements and bytes in a block of a ggml type.
fn block_of(kind: i32) -> Option<(i32, u64)> {
    Some(match kind {
        0 => (1, 4),
        1 => (1, 2),
        2 => (32, 18),
        3 => (32, 20),
        6 => (32, 22),
        7 => (32, 24),
        8 => (32, 34),
        10 => (256, 84),
        11 => (256, 110),
        12 => (256, 144),
        13 => (256, 176),
        14 => (256, 210),
        _ => return None,
    })
}

/// Reads forwards and knows how much is left.
struct Walker<F> {
    file: F,
    at: u64,
    length: u64,
}

impl<F: Read + Seek> Walker<F> {
    fn new(mut file: F) -> Result<Self, String> {
        let length = file.seek(SeekFrom::End(0)).and_then(|length| file.rewind().map(|()| length));
        Ok(Self { file, at: 0, length: length.map_err(|error| error.to_string())? })
    }

    fn is_at_end(&self) -> bool {
        self.at == self.length
    }

    fn advance(&mut self, bytes: u64, what: &str) -> Result<(), String> {
        self.at = self.at.saturating_add(bytes);
        if self.at > self.length {
            return Err(format!("it is cut short, in {what}: it has only {} bytes", self.length));
        }
        Ok(())
    }

    fn read(&mut self, bytes: &mut [u8], what: &str) -> Result<(), String> {
        self.advance(bytes.len() as u64, what)?;
        self.file.read_exact(bytes).map_err(|error| error.to_string())
    }

    fn skip(&mut self, bytes: u64, what: &str) -> Result<(), String> {
        let start = self.at;
        self.advance(bytes, what)?;
        // Relative, so that a buffered reader keeps its buffer; no file is longer than i64 says.
        self.file.seek_relative((self.at - start) as i64).map_err(|error| error.to_string())
    }

    fn u32(&mut self, what: &str) -> Result<u32, String> {
        let mut bytes = [0; 4];
        self.read(&mut bytes, what)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn i32(&mut self, what: &str) -> Result<i32, String> {
        self.u32(what).map(u32::cast_signed)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::super::random_model;
    use super::*;

    fn refused(bytes: &[u8]) -> String {
        check(Cursor::new(bytes)).unwrap_err()
    }

    fn with(at: usize, value: i32) -> Vec<u8> {
        let mut bytes = random_model::bytes().to_vec();
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        bytes
    }

    #[test]
    fn a_whole_model_is_accepted() {
        let header = check(Cursor::new(random_model::bytes())).unwrap();
        assert!(header.is_multilingual());
        assert_eq!(header.audio_context, AUDIO_CONTEXT);
    }

    #[test]
    fn a_model_cut_short_anywhere_is_refused() {
        let whole = random_model::bytes();
        let ends = [0, 3, 4, 40, 47, 100, 60_000, 70_000, whole.len() / 2, whole.len() - 1];
        for end in ends {
            assert!(check(Cursor::new(&whole[..end])).is_err(), "{end} bytes");
        }
        assert!(refused(&whole[..whole.len() - 1]).contains("cut short"));
    }

    #[test]
    fn a_model_with_something_after_its_end_is_refused() {
        assert!(check(Cursor::new([random_model::bytes(), &[0; 5][..]].concat())).is_err());
    }

    #[test]
    fn a_tensor_of_another_type_or_twice_is_refused() {
        let whole = random_model::bytes();
        // The first tensor is single precision, as is every vector; half would be half as long.
        let at = random_model::tensors_at();
        assert!(refused(&with(at + 8, 1)).contains("type 1"));
        let first = 12 + 8 + "encoder.positional_embedding".len() + 4 * 64 * 1_500;
        let twice = [&whole[..at + first], &whole[at..at + first], &whole[at + first..]].concat();
        assert!(refused(&twice).contains("there twice"));
        assert!(refused(&[&whole[..at], &whole[at + first..]].concat()).contains("is missing"));
    }

    #[test]
    fn a_vocabulary_without_the_tokens_the_decoder_needs_is_refused() {
        let mut bytes = random_model::bytes().to_vec();
        bytes[random_model::VOCABULARY_AT + 8] = b'x';
        assert!(refused(&bytes).contains("no token \" \""));
    }

    #[test]
    fn sizes_that_would_make_the_loader_allocate_without_end_are_refused() {
        for (at, value) in [
            (0, 0x4655_4747), // GGUF
            (4, i32::MAX),    // vocabulary
            (8, 100_000),     // audio context
            (12, 1 << 30),    // audio state
            (16, 0),          // heads: a division
            (16, 64),         // heads of one
            (12, 65),         // a state that is no multiple of its heads
            (20, 100_000),    // layers
            (24, -1),         // text context
            (36, 63),         // text layers that are not there
            (40, 81),         // mels
            (44, 99),         // file type
            (44, 4),          // a type that ggml ends the process for
            (44, 2_007),      // quantised, says the header alone
            (44, 2_012),      // blocks of 256 in rows of 64
            (52, 4_000),      // filters
            (random_model::VOCABULARY_AT, -5),
            (random_model::VOCABULARY_AT, 60_000),
            (random_model::VOCABULARY_AT + 4, i32::MAX), // the first token's length
            (random_model::tensors_at(), 9),             // dimensions
            (random_model::tensors_at() + 4, -1),        // name
            (random_model::tensors_at() + 8, 31),        // type
            (random_model::tensors_at() + 12, i32::MAX), // shape
        ] {
            assert!(check(Cursor::new(with(at, value))).is_err(), "{value} at {at}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_bytes_make_the_check_panic(at in 0_usize..random_model::tensors_at() + 200, value: i32) {
            let _ = check(Cursor::new(with(at, value)));
        }

        #[test]
        fn no_file_makes_the_check_panic(bytes: Vec<u8>) {
            let magic = MAGIC.to_le_bytes();
            prop_assert!(check(Cursor::new([&magic[..], &bytes].concat())).is_err());
        }
    }
}

//! Weights out of a safetensors file, one tensor at a time, each with the shape that was expected of it.
//!
//! Owns the reading of that format, for models and for voices. The header is bounded and checked by the `safetensors` crate's own
//! rules, and against the file's true length; nothing is allocated before a tensor's shape is what the caller asked for. Numbers
//! that are not finite are refused.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use candle_core::{Device, Tensor};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use crate::error::EngineError;

/// What is wrong with a file, to be followed by its path and a hint.
pub(super) type Flaw = String;

/// The header of the largest released model is 40 kB.
const HEADER_MAX: u64 = 1 << 20;

/// Where a model's tensors come from: a file, or a generator for tests and benchmarks.
pub(super) trait Source {
    /// The values of the tensor `name`, which must have exactly `shape`, row-major.
    fn values(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Flaw>;

    fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Tensor, Flaw> {
        let values = self.values(name, shape)?;
        Tensor::from_vec(values, shape, &Device::Cpu).map_err(|error| format!("tensor `{name}`: {error}"))
    }
}

/// An open safetensors file.
pub(super) struct SafeFile<R> {
    reader: R,
    metadata: Metadata,
    /// Where the tensors' bytes begin.
    start: u64,
}

impl SafeFile<File> {
    pub fn open(path: &Path, what: &str) -> Result<Self, EngineError> {
        let file = File::open(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => EngineError::Missing {
                what: what.into(),
                path: path.into(),
                hint: "fetch it with `avatar models pull`, or name another file".into(),
            },
            _ => corrupt(path, &error.to_string()),
        })?;
        Self::read(file).map_err(|flaw| corrupt(path, &flaw))
    }
}

impl<R: Read + Seek> SafeFile<R> {
    pub fn read(mut reader: R) -> Result<Self, Flaw> {
        let length = reader.seek(SeekFrom::End(0)).map_err(|error| error.to_string())?;
        reader.rewind().map_err(|error| error.to_string())?;
        let mut count = [0; 8];
        reader.read_exact(&mut count).map_err(|_| "it is too short for a safetensors file".to_owned())?;
        let header = u64::from_le_bytes(count);
        if header > HEADER_MAX || header > length.saturating_sub(8) {
            return Err(format!("its header claims {header} bytes; it is truncated or no safetensors file"));
        }
        let mut json = vec![0; header as usize];
        reader.read_exact(&mut json).map_err(|error| error.to_string())?;
        let metadata: Metadata =
            serde_json::from_slice(&json).map_err(|error| format!("its header cannot be read: {error}"))?;
        let start = 8 + header;
        let stated = start.saturating_add(metadata.data_len() as u64);
        if stated != length {
            return Err(format!("it should have {stated} bytes and has {length}"));
        }
        Ok(Self { reader, metadata, start })
    }

    pub fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.metadata.info(name)
    }

    /// The free-form texts in the header.
    pub fn notes(&self) -> BTreeMap<String, String> {
        self.metadata.metadata().iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// One whole number, as `[1]` of 64-bit integers.
    pub fn integer(&mut self, name: &str) -> Result<i64, Flaw> {
        let info = self.metadata.info(name).ok_or_else(|| format!("it has no tensor `{name}`"))?;
        if info.dtype != Dtype::I64 || info.shape.iter().product::<usize>() != 1 {
            return Err(format!("tensor `{name}` is not one whole number"));
        }
        let offset = info.data_offsets.0;
        let mut bytes = [0; 8];
        self.fill(offset, &mut bytes, name)?;
        Ok(i64::from_le_bytes(bytes))
    }

    fn fill(&mut self, offset: usize, bytes: &mut [u8], name: &str) -> Result<(), Flaw> {
        self.reader
            .seek(SeekFrom::Start(self.start + offset as u64))
            .and_then(|_| self.reader.read_exact(bytes))
            .map_err(|error| format!("tensor `{name}` cannot be read: {error}"))
    }

    /// As [`Source::values`], but without looking whether they are finite: the unused end of a key cache is not.
    pub fn raw_values(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Flaw> {
        let info = self.metadata.info(name).ok_or_else(|| format!("it has no tensor `{name}`"))?;
        if info.shape != shape {
            return Err(format!("tensor `{name}` has the shape {:?} instead of {shape:?}", info.shape));
        }
        let (dtype, (from, to)) = (info.dtype, info.data_offsets);
        let mut bytes = vec![0; to - from];
        self.fill(from, &mut bytes, name)?;
        match dtype {
            Dtype::F32 => Ok(bytes.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four)).collect()),
            Dtype::BF16 => Ok(bytes.as_chunks().0.iter().map(|two| half::bf16::from_le_bytes(*two).to_f32()).collect()),
            Dtype::F16 => Ok(bytes.as_chunks().0.iter().map(|two| half::f16::from_le_bytes(*two).to_f32()).collect()),
            other => Err(format!("tensor `{name}` is of {other:?}, not of floating-point numbers")),
        }
    }
}

impl<R: Read + Seek> Source for SafeFile<R> {
    fn values(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Flaw> {
        let values = self.raw_values(name, shape)?;
        if values.iter().any(|value| !value.is_finite()) {
            return Err(format!("tensor `{name}` has numbers that are not finite"));
        }
        Ok(values)
    }
}

pub(super) fn corrupt(path: &Path, flaw: &str) -> EngineError {
    EngineError::Corrupt {
        path: path.into(),
        reason: flaw.into(),
        hint: "fetch it again with `avatar models pull`, or name another file".into(),
    }
}

/// Reads `bytes` as a safetensors file, as a voice, and as a tokenizer's pieces, for fuzzing: whatever they are, nothing panics and nothing
/// is allocated beyond their length. Gives how many numbers could be read.
pub fn probe(bytes: &[u8]) -> usize {
    let pieces = super::sentencepiece::Pieces::read(bytes).map_or(0, |pieces| pieces.vocabulary.len());
    let Ok(mut file) = SafeFile::read(Cursor::new(bytes)) else { return pieces };
    let shapes: Vec<(String, Vec<usize>)> =
        file.metadata.tensors().into_iter().map(|(name, info)| (name, info.shape.clone())).collect();
    let mut read = 0;
    for (name, shape) in shapes {
        read += file.values(&name, &shape).map_or(0, |values| values.len());
        read += usize::from(file.integer(&name).is_ok());
    }
    let shape = super::config::Config::english();
    read + usize::from(super::voice::VoiceState::read(&mut file, &shape, None).is_ok())
}

//! Reading the head of a GGUF file: metadata and the list of tensors.
//!
//! The file is untrusted. Every length is checked against what is left of the file before anything is allocated for it, counts
//! and nesting are capped, and whatever is wrong comes back as a reason in words. The layout follows the GGUF specification,
//! versions 2 and 3, little endian (`ggml-org/ggml`, `docs/gguf.md`).

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use candle_core::quantized::GgmlDType;

use crate::error::EngineError;

/// Metadata and tensor list together; the largest vocabularies need about 20 MiB.
const HEAD_LIMIT: u64 = 128 << 20;
const STRING_LIMIT: u64 = 4 << 20;
const METADATA_LIMIT: u64 = 4096;
const TENSOR_LIMIT: u64 = 65_536;
const DIMENSIONS_LIMIT: u32 = 4;

/// What is wrong with the file, for a person.
pub(super) type Flaw = String;

/// A metadata value, reduced to the kinds that are read.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Metadata {
    Integer(i128),
    Float(f64),
    Bool(bool),
    Text(String),
    Texts(Vec<String>),
    Integers(Vec<i64>),
    Floats(Vec<f32>),
    /// An array of a kind that no supported model uses.
    Ignored,
}

/// Where a tensor lies. `shape` is rows first, as candle counts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TensorInfo {
    pub shape: Vec<usize>,
    pub dtype: GgmlDType,
    /// From the start of the file; the whole tensor is known to lie inside.
    pub start: u64,
    pub bytes: usize,
}

type MetadataMap = HashMap<String, Metadata>;
type TensorMap = HashMap<String, TensorInfo>;

/// The head of a GGUF file.
#[derive(Debug)]
pub(super) struct GgufFile {
    pub path: PathBuf,
    pub metadata: MetadataMap,
    pub tensors: TensorMap,
}

impl GgufFile {
    pub fn open(path: &Path) -> Result<Self, EngineError> {
        let file = File::open(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => EngineError::Missing {
                what: "the language model".into(),
                path: path.into(),
                hint: "fetch it with `avatar models pull`, or name another file in the configuration".into(),
            },
            _ => corrupt(path, &error.to_string()),
        })?;
        let length = file.metadata().map_err(|error| corrupt(path, &error.to_string()))?.len();
        let head = Head { reader: BufReader::with_capacity(1 << 20, file), position: 0, end: length.min(HEAD_LIMIT) };
        head.read(length)
            .map(|(metadata, tensors)| Self { path: path.into(), metadata, tensors })
            .map_err(|flaw| corrupt(path, &flaw))
    }

    pub fn corrupt(&self, flaw: &str) -> EngineError {
        corrupt(&self.path, flaw)
    }

    pub fn text(&self, key: &str) -> Result<&str, Flaw> {
        match self.metadata.get(key) {
            Some(Metadata::Text(text)) => Ok(text),
            Some(_) => Err(format!("`{key}` is not a text")),
            None => Err(format!("it has no `{key}`")),
        }
    }

    pub fn texts(&self, key: &str) -> Result<&[String], Flaw> {
        match self.metadata.get(key) {
            Some(Metadata::Texts(texts)) => Ok(texts),
            Some(_) => Err(format!("`{key}` is not a list of texts")),
            None => Err(format!("it has no `{key}`")),
        }
    }

    pub fn integers(&self, key: &str) -> Option<&[i64]> {
        match self.metadata.get(key) {
            Some(Metadata::Integers(integers)) => Some(integers),
            _ => None,
        }
    }

    /// A count or id within `range`; `None` if the key is absent.
    pub fn count(&self, key: &str, range: std::ops::RangeInclusive<usize>) -> Result<Option<usize>, Flaw> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(Metadata::Integer(value)) => match usize::try_from(*value) {
                Ok(count) if range.contains(&count) => Ok(Some(count)),
                _ => Err(format!("`{key}` is {value}, not within {} to {}", range.start(), range.end())),
            },
            Some(_) => Err(format!("`{key}` is not a whole number")),
        }
    }

    pub fn flag(&self, key: &str) -> Option<bool> {
        match self.metadata.get(key) {
            Some(Metadata::Bool(flag)) => Some(*flag),
            _ => None,
        }
    }

    pub fn float(&self, key: &str) -> Result<Option<f64>, Flaw> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(Metadata::Float(value)) if value.is_finite() => Ok(Some(*value)),
            Some(_) => Err(format!("`{key}` is not a finite number")),
        }
    }
}

fn corrupt(path: &Path, flaw: &str) -> EngineError {
    EngineError::Corrupt {
        path: path.into(),
        reason: flaw.into(),
        hint: "fetch it again with `avatar models pull`, or choose a GGUF of a chat model of a supported family".into(),
    }
}

/// A reader that knows how much may still be read.
struct Head<R> {
    reader: R,
    position: u64,
    end: u64,
}

impl<R: Read> Head<R> {
    fn read(mut self, file_length: u64) -> Result<(MetadataMap, TensorMap), Flaw> {
        if &self.array::<4>()? != b"GGUF" {
            return Err("it is not a GGUF file".into());
        }
        let version = self.u32()?;
        if !(2..=3).contains(&version) {
            return Err(format!("its GGUF version is {version}; 2 and 3 are understood"));
        }
        let tensor_count = self.u64()?;
        let metadata_count = self.u64()?;
        if tensor_count > TENSOR_LIMIT || metadata_count > METADATA_LIMIT {
            return Err(format!("it claims {tensor_count} tensors and {metadata_count} metadata entries"));
        }
        let mut metadata = HashMap::new();
        for _ in 0..metadata_count {
            let key = self.string()?;
            let kind = self.u32()?;
            let value = self.value(kind)?;
            if let Some(twice) = metadata.insert(key.clone(), value).map(|_| key) {
                return Err(format!("it has `{twice}` twice"));
            }
        }
        let mut claims = Vec::new();
        for _ in 0..tensor_count {
            claims.push(self.tensor_claim()?);
        }
        let alignment = match metadata.get("general.alignment") {
            None => 32,
            Some(Metadata::Integer(value @ 1..=65_536)) => *value as u64,
            Some(_) => return Err("`general.alignment` is not a sensible number".into()),
        };
        let data_start = self.position.next_multiple_of(alignment);
        let mut tensors = HashMap::new();
        for (name, mut info) in claims {
            let start = data_start.checked_add(info.start).filter(|start| {
                start.checked_add(info.bytes as u64).is_some_and(|tensor_end| tensor_end <= file_length)
            });
            info.start =
                start.ok_or_else(|| format!("it ends before its tensor `{name}` does; the file is cut short"))?;
            if let Some(twice) = tensors.insert(name.clone(), info).map(|_| name) {
                return Err(format!("it has the tensor `{twice}` twice"));
            }
        }
        let mut places: Vec<(u64, u64, &str)> =
            tensors.iter().map(|(name, info)| (info.start, info.start + info.bytes as u64, name.as_str())).collect();
        places.sort_unstable();
        if let Some(pair) = places.windows(2).find(|pair| pair[1].0 < pair[0].1) {
            return Err(format!("its tensors `{}` and `{}` overlap", pair[0].2, pair[1].2));
        }
        Ok((metadata, tensors))
    }

    fn tensor_claim(&mut self) -> Result<(String, TensorInfo), Flaw> {
        let name = self.string()?;
        let dimensions = self.u32()?;
        if !(1..=DIMENSIONS_LIMIT).contains(&dimensions) {
            return Err(format!("tensor `{name}` has {dimensions} dimensions"));
        }
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            shape.push(usize::try_from(self.u64()?).map_err(|_| format!("tensor `{name}` is too large"))?);
        }
        let kind = self.u32()?;
        let dtype = dtype(kind).ok_or_else(|| format!("tensor `{name}` is of type {kind}, which is not supported"))?;
        let start = self.u64()?;
        let (columns, block) = (shape[0], dtype.block_size());
        if !columns.is_multiple_of(block) {
            return Err(format!("tensor `{name}` has rows of {columns}, not a multiple of {block}"));
        }
        let bytes = shape
            .iter()
            .try_fold(1usize, |product, &dimension| product.checked_mul(dimension))
            .and_then(|elements| (elements / block).checked_mul(dtype.type_size()))
            .ok_or_else(|| format!("tensor `{name}` is too large"))?;
        shape.reverse();
        Ok((name, TensorInfo { shape, dtype, start, bytes }))
    }

    fn value(&mut self, kind: u32) -> Result<Metadata, Flaw> {
        Ok(match kind {
            0 => Metadata::Integer(self.array::<1>()?[0].into()),
            1 => Metadata::Integer(i8::from_le_bytes(self.array()?).into()),
            2 => Metadata::Integer(u16::from_le_bytes(self.array()?).into()),
            3 => Metadata::Integer(i16::from_le_bytes(self.array()?).into()),
            4 => Metadata::Integer(self.u32()?.into()),
            5 => Metadata::Integer(i32::from_le_bytes(self.array()?).into()),
            6 => Metadata::Float(f32::from_le_bytes(self.array()?).into()),
            7 => Metadata::Bool(self.array::<1>()?[0] != 0),
            8 => Metadata::Text(self.string()?),
            9 => self.list()?,
            10 => Metadata::Integer(self.u64()?.into()),
            11 => Metadata::Integer(i64::from_le_bytes(self.array()?).into()),
            12 => Metadata::Float(f64::from_le_bytes(self.array()?)),
            _ => return Err(format!("it has metadata of the unknown type {kind}")),
        })
    }

    fn list(&mut self) -> Result<Metadata, Flaw> {
        let kind = self.u32()?;
        let length = self.u64()?;
        let smallest = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            8 | 10..=12 => 8,
            _ => return Err(format!("it has a list of the unsupported type {kind}")),
        };
        if length.checked_mul(smallest).is_none_or(|bytes| bytes > self.left()) {
            return Err(format!("it claims a list of {length} entries, more than the file holds"));
        }
        match kind {
            8 => (0..length).map(|_| self.string()).collect::<Result<_, _>>().map(Metadata::Texts),
            4 => (0..length).map(|_| self.u32().map(i64::from)).collect::<Result<_, _>>().map(Metadata::Integers),
            5 => (0..length)
                .map(|_| self.array().map(|bytes| i32::from_le_bytes(bytes).into()))
                .collect::<Result<_, _>>()
                .map(Metadata::Integers),
            6 => (0..length)
                .map(|_| self.array().map(f32::from_le_bytes))
                .collect::<Result<_, _>>()
                .map(Metadata::Floats),
            _ => {
                let bytes = length * smallest;
                let skipped = std::io::copy(&mut self.reader.by_ref().take(bytes), &mut std::io::sink());
                self.position += bytes;
                match skipped {
                    Ok(count) if count == bytes => Ok(Metadata::Ignored),
                    Ok(_) => Err("it is cut short".into()),
                    Err(error) => Err(error.to_string()),
                }
            }
        }
    }

    fn left(&self) -> u64 {
        self.end.saturating_sub(self.position)
    }

    fn string(&mut self) -> Result<String, Flaw> {
        let length = self.u64()?;
        if length > self.left() || length > STRING_LIMIT {
            return Err(format!("it claims a text of {length} bytes"));
        }
        let mut bytes = vec![0; length as usize];
        self.fill(&mut bytes)?;
        String::from_utf8(bytes).map_err(|_| "it has a text that is not UTF-8".into())
    }

    fn u32(&mut self) -> Result<u32, Flaw> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Flaw> {
        self.array().map(u64::from_le_bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Flaw> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Flaw> {
        if bytes.len() as u64 > self.left() {
            return Err("it is cut short".into());
        }
        self.reader.read_exact(bytes).map_err(|error| error.to_string())?;
        self.position += bytes.len() as u64;
        Ok(())
    }
}

/// The types that candle can compute with.
fn dtype(kind: u32) -> Option<GgmlDType> {
    Some(match kind {
        0 => GgmlDType::F32,
        1 => GgmlDType::F16,
        2 => GgmlDType::Q4_0,
        3 => GgmlDType::Q4_1,
        6 => GgmlDType::Q5_0,
        7 => GgmlDType::Q5_1,
        8 => GgmlDType::Q8_0,
        10 => GgmlDType::Q2K,
        11 => GgmlDType::Q3K,
        12 => GgmlDType::Q4K,
        13 => GgmlDType::Q5K,
        14 => GgmlDType::Q6K,
        30 => GgmlDType::BF16,
        _ => return None,
    })
}

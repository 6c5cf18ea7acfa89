//! Weights from the file into memory, in the form that is fastest to compute with.
//!
//! Q4_0, Q4_1, Q5_0 and Q5_1 have only slow kernels in candle, so they are requantised to Q8_0 while loading: Q8_0's step is
//! finer than theirs, so it loses next to nothing. The integer kernels for Q8_0 on x86 want rows of a multiple of 256, so rows are padded
//! with zero blocks where that costs at most a third; inputs are padded to match. All matrices load on several threads.

use std::borrow::Cow;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::quantized::{GgmlDType, QMatMul, QStorage, QTensor};
use candle_core::{CpuStorage, D, Device, Module, Result, Tensor};

use super::file::{Flaw, GgufFile, TensorInfo};

/// Elements in a block of Q8_0, and its bytes: a half-precision scale and 32 signed bytes.
const BLOCK: usize = 32;
const BLOCK_BYTES: usize = 34;
/// What the x86 integer kernels want rows to be a multiple of.
const KERNEL_ROW: usize = 256;

/// A weight matrix, `outputs` × `inputs`.
#[derive(Clone)]
pub(super) struct Matrix {
    weight: QMatMul,
    inputs: usize,
    /// `inputs`, rounded up where the rows were padded.
    width: usize,
}

impl Matrix {
    fn new(tensor: QTensor, inputs: usize) -> Result<Self> {
        let (_, width) = tensor.shape().dims2()?;
        Ok(Self { weight: QMatMul::from_arc(Arc::new(tensor))?, inputs, width })
    }

    /// The rows of an embedding table, `[ids, inputs]`.
    pub fn rows(&self, ids: &Tensor) -> Result<Tensor> {
        let rows = self.weight.embedding(ids)?;
        if self.width == self.inputs { Ok(rows) } else { rows.narrow(D::Minus1, 0, self.inputs)?.contiguous() }
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.weight.forward(&self.widen(x)?)
    }

    fn widen(&self, x: &Tensor) -> Result<Tensor> {
        if self.width == self.inputs {
            return Ok(x.clone());
        }
        x.pad_with_zeros(D::Minus1, 0, self.width - self.inputs)
    }
}

/// Several matrices applied to one input: the input is widened and quantised once where the processor has a kernel for that.
pub(super) fn project<const N: usize>(x: &Tensor, matrices: [&Matrix; N]) -> Result<[Tensor; N]> {
    let widths_match = matrices.windows(2).all(|pair| pair[0].width == pair[1].width);
    let fused = if widths_match && let Some(first) = matrices.first() {
        let x = first.widen(x)?;
        let tensors: Vec<&QTensor> = matrices
            .iter()
            .filter_map(|matrix| match &matrix.weight {
                QMatMul::QTensor(tensor) => Some(tensor.as_ref()),
                _ => None,
            })
            .collect();
        let fused = if tensors.len() == N { QTensor::gemv_fused_shared_lhs(&tensors, &x)? } else { None };
        match fused {
            Some(outputs) => outputs,
            None => matrices.iter().map(|matrix| matrix.weight.forward(&x)).collect::<Result<_>>()?,
        }
    } else {
        matrices.iter().map(|matrix| matrix.forward(x)).collect::<Result<_>>()?
    };
    fused.try_into().map_err(|_| candle_core::Error::Msg("a fused product lost an output".into()))
}

/// What the network wants of the file.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub name: String,
    pub rows: usize,
    /// `None` for a vector: it becomes an f32 tensor.
    pub columns: Option<usize>,
    /// Heads whose rows are interleaved pairs and are to be put back into halves.
    pub interleaved_heads: Option<usize>,
}

pub(super) enum Weight {
    Vector(Tensor),
    Matrix(Matrix),
}

/// Loads everything in `wanted`, in order, telling `progress` the share that is done.
pub(super) fn load_all(
    file: &GgufFile,
    wanted: &[Wanted],
    device: &Device,
    progress: &(dyn Fn(f32) + Sync),
) -> std::result::Result<Vec<Weight>, Flaw> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || -> std::result::Result<Vec<(usize, Weight)>, Flaw> {
        let mut source = File::open(&file.path).map_err(|error| error.to_string())?;
        let mut loaded = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(want) = wanted.get(index) else { return Ok(loaded) };
            loaded.push((index, load(file, &mut source, want, device)?));
            progress((done.fetch_add(1, Ordering::Relaxed) + 1) as f32 / wanted.len() as f32);
        }
    };
    let mut loaded = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        handles.into_iter().try_fold(Vec::new(), |mut all, handle| {
            all.extend(handle.join().map_err(|_| "a tensor could not be converted".to_owned())??);
            Ok::<_, Flaw>(all)
        })
    })?;
    loaded.sort_by_key(|(index, _)| *index);
    Ok(loaded.into_iter().map(|(_, weight)| weight).collect())
}

fn load(file: &GgufFile, source: &mut File, want: &Wanted, device: &Device) -> std::result::Result<Weight, Flaw> {
    let name = &want.name;
    let info = file.tensors.get(name).ok_or_else(|| format!("it has no tensor `{name}`"))?;
    let expected: Vec<usize> = std::iter::once(want.rows).chain(want.columns).collect();
    if info.shape != expected {
        return Err(format!("tensor `{name}` has the shape {:?} instead of {expected:?}", info.shape));
    }
    let mut bytes = vec![0; info.bytes];
    source
        .seek(SeekFrom::Start(info.start))
        .and_then(|_| source.read_exact(&mut bytes))
        .map_err(|error| format!("tensor `{name}` cannot be read: {error}"))?;
    convert(info, want, bytes, device).map_err(|error| format!("tensor `{name}`: {error}"))
}

fn convert(info: &TensorInfo, want: &Wanted, mut bytes: Vec<u8>, device: &Device) -> Result<Weight> {
    let (rows, dtype) = (want.rows, info.dtype);
    let Some(columns) = want.columns else {
        let storage = QStorage::from_data(Cow::Owned(bytes), device, dtype)?;
        return Ok(Weight::Vector(QTensor::new(storage, rows)?.dequantize(device)?));
    };
    if let Some(heads) = want.interleaved_heads {
        bytes = halves(&bytes, rows, heads);
    }
    // What is done for the processor's kernels, others do without.
    let requantise =
        device.is_cpu() && matches!(dtype, GgmlDType::Q4_0 | GgmlDType::Q4_1 | GgmlDType::Q5_0 | GgmlDType::Q5_1);
    let is_padded = requantise || (device.is_cpu() && dtype == GgmlDType::Q8_0);
    let width = if is_padded { row_width(columns) } else { columns };
    let storage = if requantise {
        let CpuStorage::F32(values) = dtype.from_data(Cow::Owned(bytes)).dequantize(rows * columns)? else {
            candle_core::bail!("it does not dequantise to f32");
        };
        let mut quantised = GgmlDType::Q8_0.cpu_zeros(rows * width);
        quantised.from_float(&pad_rows(values, columns, width));
        QStorage::Cpu(quantised)
    } else if width != columns {
        let padded = pad_rows(bytes, columns / BLOCK * BLOCK_BYTES, width / BLOCK * BLOCK_BYTES);
        QStorage::from_data(Cow::Owned(padded), device, dtype)?
    } else {
        QStorage::from_data(Cow::Owned(bytes), device, dtype)?
    };
    Ok(Weight::Matrix(Matrix::new(QTensor::new(storage, (rows, width))?, columns)?))
}

/// GGUF stores the query and key rows of the Llama family so that rotary pairs are neighbours; the kernels here rotate halves.
/// Which row of a head is which does not matter to attention, as long as queries and keys agree.
fn halves(bytes: &[u8], rows: usize, heads: usize) -> Vec<u8> {
    let row_bytes = bytes.len() / rows;
    let head_rows = rows / heads;
    let mut out = Vec::with_capacity(bytes.len());
    for row in 0..rows {
        let (head, within) = (row / head_rows, row % head_rows);
        let (second_half, pair) = (within / (head_rows / 2), within % (head_rows / 2));
        let source = head * head_rows + 2 * pair + second_half;
        out.extend_from_slice(&bytes[source * row_bytes..(source + 1) * row_bytes]);
    }
    out
}

fn pad_rows<T: Copy + Default>(values: Vec<T>, columns: usize, width: usize) -> Vec<T> {
    if columns == width {
        return values;
    }
    let mut out = Vec::with_capacity(values.len() / columns * width);
    for row in values.chunks_exact(columns) {
        out.extend_from_slice(row);
        out.resize(out.len() + width - columns, T::default());
    }
    out
}

fn row_width(columns: usize) -> usize {
    let padded = columns.next_multiple_of(KERNEL_ROW);
    if has_integer_kernels() && 3 * padded <= 4 * columns { padded } else { columns }
}

#[cfg(target_arch = "x86_64")]
fn has_integer_kernels() -> bool {
    use std::arch::is_x86_feature_detected as detected;
    (detected!("avx512f") && detected!("avx512vnni")) || (detected!("avxvnni") && detected!("avx2"))
}

#[cfg(not(target_arch = "x86_64"))]
fn has_integer_kernels() -> bool {
    false
}

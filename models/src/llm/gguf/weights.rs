//! Weights from the file into memory, in the form that is fastest to compute with.
//!
//! On a processor with kernels of our own (see [`super::kernels`]), quantised matrices are packed for them: the file's own numbers in
//! another order. Everything else is candle's: other devices, types without a kernel, and processors without one. There, Q4_0, Q4_1,
//! Q5_0 and Q5_1 have only slow kernels, so they are requantised to Q8_0, whose step is finer than theirs. All matrices load on
//! several threads.

use std::borrow::Cow;
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::quantized::{GgmlDType, QMatMul, QStorage, QTensor};
use candle_core::{CpuStorage, Device, Module, Result, Tensor};

use super::file::{Flaw, GgufFile, TensorInfo};
use super::kernels::{Activation, Activations, Isa, Job, Operation, Packed, multiply};
use super::steps::{on_host, with_floats};
use crate::memory::exhausted;

/// A weight matrix, `outputs` × `inputs`.
#[derive(Clone)]
pub(super) enum Matrix {
    Packed(Packed),
    Candle(QMatMul),
}

impl Matrix {
    /// Whether its numbers are coarser than half precision.
    pub fn is_quantised(&self) -> bool {
        match self {
            Self::Packed(_) => true,
            Self::Candle(weight) => matches!(weight, QMatMul::QTensor(_)),
        }
    }

    /// The rows of an embedding table, `[ids, inputs]`.
    pub fn rows(&self, ids: &Tensor) -> Result<Tensor> {
        let packed = match self {
            Self::Packed(packed) => packed,
            Self::Candle(weight) => return weight.embedding(ids),
        };
        let ids = ids.to_vec1::<u32>()?;
        let mut rows = vec![0.0; ids.len() * packed.columns()];
        for (id, row) in ids.iter().zip(rows.chunks_exact_mut(packed.columns())) {
            if *id as usize >= packed.rows() {
                candle_core::bail!("token {id} is outside the vocabulary");
            }
            packed.row(*id as usize, row);
        }
        Tensor::from_vec(rows, (ids.len(), packed.columns()), &Device::Cpu)
    }

    /// The product with each row of `x`, `[rows, inputs]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Packed(packed) => product(packed, x, None),
            Self::Candle(weight) => weight.forward(x),
        }
    }

    /// The product, added to `residual`.
    pub fn forward_onto(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        match self {
            Self::Packed(packed) => product(packed, x, Some(residual)),
            Self::Candle(weight) => weight.forward(x)? + residual,
        }
    }
}

fn product(packed: &Packed, x: &Tensor, added: Option<&Tensor>) -> Result<Tensor> {
    let x = with_floats(x, |x| Activations::new(Isa::best(), x, packed.columns()))?;
    let mut out = vec![0.0; x.rows() * packed.rows()];
    let mut compute =
        |added: Option<&[f32]>| multiply(&mut [Job { operation: Operation::Plain(packed, added), out: &mut out }], &x);
    match added {
        Some(added) => with_floats(added, |added| compute(Some(added)))?,
        None => compute(None),
    }
    .map_err(candle_core::Error::msg)?;
    Tensor::from_vec(out, (x.rows(), packed.rows()), &Device::Cpu)
}

/// Several matrices applied to one input, `[rows, inputs]`, which is converted for the kernels once.
pub(super) fn project<const N: usize>(x: &Tensor, matrices: [&Matrix; N]) -> Result<[Tensor; N]> {
    let packed: Vec<&Packed> = matrices
        .iter()
        .filter_map(|matrix| match matrix {
            Matrix::Packed(packed) => Some(packed),
            Matrix::Candle(_) => None,
        })
        .collect();
    let mut products = Vec::new();
    if let Some(first) = packed.first() {
        let x = with_floats(x, |x| Activations::new(Isa::best(), x, first.columns()))?;
        let mut outs: Vec<Vec<f32>> = packed.iter().map(|packed| vec![0.0; x.rows() * packed.rows()]).collect();
        let mut jobs: Vec<Job<'_>> = packed
            .iter()
            .zip(&mut outs)
            .map(|(packed, out)| Job { operation: Operation::Plain(packed, None), out })
            .collect();
        multiply(&mut jobs, &x).map_err(candle_core::Error::msg)?;
        for (packed, out) in packed.iter().zip(outs) {
            products.push(Tensor::from_vec(out, (x.rows(), packed.rows()), &Device::Cpu)?);
        }
    }
    let mut products = products.into_iter();
    let all: Vec<Tensor> = matrices
        .iter()
        .map(|matrix| match matrix {
            Matrix::Packed(_) => products.next().ok_or_else(|| candle_core::Error::msg("a product was lost")),
            Matrix::Candle(weight) => weight.forward(x),
        })
        .collect::<Result<_>>()?;
    all.try_into().map_err(|_| candle_core::Error::msg("a product was lost"))
}

/// `activation(gate · x) × (up · x)`
pub(super) fn gated(x: &Tensor, gate: &Matrix, up: &Matrix, activation: Activation) -> Result<Tensor> {
    if let (Matrix::Packed(gate), Matrix::Packed(up)) = (gate, up) {
        let x = with_floats(x, |x| Activations::new(Isa::best(), x, gate.columns()))?;
        let mut out = vec![0.0; x.rows() * gate.rows()];
        let operation = Operation::Gated { gate, up, activation };
        multiply(&mut [Job { operation, out: &mut out }], &x).map_err(candle_core::Error::msg)?;
        return Tensor::from_vec(out, (x.rows(), gate.rows()), &Device::Cpu);
    }
    let [gate, up] = project(x, [gate, up])?;
    let gate = match activation {
        Activation::Silu => candle_nn::ops::silu(&gate)?,
        Activation::GeluTanh => gate.gelu()?,
    };
    gate * up
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
    let found = source.seek(SeekFrom::Start(info.start)).map_err(|error| error.to_string());
    let bytes = found
        .and_then(|_| exhausted::read(source, info.bytes))
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
    if on_host(device)
        && Isa::best().has_products()
        && let Some(packed) = Packed::new(dtype, &bytes, rows, columns)
    {
        return Ok(Weight::Matrix(Matrix::Packed(packed)));
    }
    let is_slow = matches!(dtype, GgmlDType::Q4_0 | GgmlDType::Q4_1 | GgmlDType::Q5_0 | GgmlDType::Q5_1);
    let storage = if is_slow && on_host(device) {
        let CpuStorage::F32(values) = dtype.from_data(Cow::Owned(bytes)).dequantize(rows * columns)? else {
            candle_core::bail!("it does not dequantise to f32");
        };
        let mut quantised = GgmlDType::Q8_0.cpu_zeros(rows * columns);
        quantised.from_float(&values);
        QStorage::Cpu(quantised)
    } else {
        QStorage::from_data(Cow::Owned(bytes), device, dtype)?
    };
    let weight = QMatMul::from_arc(Arc::new(QTensor::new(storage, (rows, columns))?))?;
    Ok(Weight::Matrix(Matrix::Candle(weight)))
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

//! Weights as the kernels read them: sixteen rows side by side.
//!
//! The numbers are the file's own; only their order changes, so nothing is lost and memory is that of the file to within 3 %
//! (Q6_K: 2 %). A group is sixteen rows, a block 32 columns of it. A line is 64 bytes, four for each row of the group: the lower
//! four bits of each byte of line `i` are the codes of columns `8i` to `8i + 3` of the block, the upper four those of the next four
//! columns. A fifth bit lies in one more line (bit `w` of a byte belongs to columns `4w` to `4w + 3`), a fifth and sixth in two more.
//! Eight-bit codes take a line each. The last group is filled up with rows of zeros.

use std::sync::Arc;

use candle_core::quantized::GgmlDType;

use super::memory::Lines;
use super::source::{self, SourceBlock};

/// Columns that share a scale.
pub(super) const BLOCK: usize = 32;
/// Rows that lie side by side.
pub(super) const GROUP: usize = 16;
/// Bytes of a line.
pub(super) const LINE: usize = 64;
/// Blocks under one half-precision unit in formats that have one.
pub(super) const SUPER_BLOCKS: usize = 8;

/// What the numbers of a matrix mean. A weight is `scale × (code - zero)`, or `scale × code + min`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::llm::gguf) enum Kind {
    /// Q4_0 and Q4_1, Q5_0 and Q5_1: a scale, and a min, for each block.
    Q4Zero,
    Q4Min,
    Q5Zero,
    Q5Min,
    /// Q8_0
    Q8,
    /// Q4_K and Q5_K: scales and minima are bytes, in units for each 256 columns.
    Q4Super,
    Q5Super,
    /// Q6_K: a scale for each 16 columns, signed bytes in units for each 256.
    Q6Super,
}

impl Kind {
    /// The kind of a file's type, if there is a kernel for it.
    pub fn of(dtype: GgmlDType) -> Option<Self> {
        Some(match dtype {
            GgmlDType::Q4_0 => Self::Q4Zero,
            GgmlDType::Q4_1 => Self::Q4Min,
            GgmlDType::Q5_0 => Self::Q5Zero,
            GgmlDType::Q5_1 => Self::Q5Min,
            GgmlDType::Q8_0 => Self::Q8,
            GgmlDType::Q4K => Self::Q4Super,
            GgmlDType::Q5K => Self::Q5Super,
            GgmlDType::Q6K => Self::Q6Super,
            _ => return None,
        })
    }

    /// Bits of a code, and lines of a block.
    pub(super) const fn bits(self) -> usize {
        match self {
            Self::Q4Zero | Self::Q4Min | Self::Q4Super => 4,
            Self::Q5Zero | Self::Q5Min | Self::Q5Super => 5,
            Self::Q6Super => 6,
            Self::Q8 => 8,
        }
    }

    pub(super) const fn has_min(self) -> bool {
        matches!(self, Self::Q4Min | Self::Q5Min | Self::Q4Super | Self::Q5Super)
    }

    pub(super) const fn is_super(self) -> bool {
        matches!(self, Self::Q4Super | Self::Q5Super | Self::Q6Super)
    }

    /// Each half of a block has its own scale.
    pub(super) const fn has_half_blocks(self) -> bool {
        matches!(self, Self::Q6Super)
    }

    /// The code that means zero is two to this power; 0 where a min says it.
    pub(super) const fn zero_bits(self) -> u32 {
        match self {
            Self::Q4Zero => 3,
            Self::Q5Zero => 4,
            Self::Q6Super => 5,
            Self::Q8 => 7,
            _ => 0,
        }
    }

    /// Bytes of scales that a group has for `blocks` blocks.
    fn scale_bytes(self, blocks: usize) -> usize {
        let halves = 2 * GROUP * if self.has_min() { 2 } else { 1 };
        if self.is_super() { blocks / SUPER_BLOCKS * (halves + SUPER_BLOCKS * 2 * GROUP) } else { blocks * halves }
    }
}

/// Memory that begins where a vector register likes to.
#[repr(align(64))]
#[derive(Clone, Copy)]
pub(super) struct Line([u8; LINE]);

#[cfg(test)]
impl Line {
    pub fn of(byte: u8) -> Self {
        Self([byte; LINE])
    }

    pub fn bytes(&self) -> [u8; LINE] {
        self.0
    }
}

/// A matrix, `rows` outputs × `columns` inputs. Cloning shares it.
#[derive(Clone)]
pub(in crate::llm::gguf) struct Packed {
    kind: Kind,
    rows: usize,
    columns: usize,
    codes: Arc<Lines>,
    scales: Arc<Vec<u8>>,
}

impl Packed {
    /// Packs the rows of a GGUF tensor. `None` if `bytes` are not `rows` × `columns` of `dtype`, or there is no kernel for it.
    pub fn new(dtype: GgmlDType, bytes: &[u8], rows: usize, columns: usize) -> Option<Self> {
        let kind = Kind::of(dtype)?;
        let row_bytes = columns / dtype.block_size() * dtype.type_size();
        if rows == 0 || columns == 0 || !columns.is_multiple_of(dtype.block_size()) || bytes.len() != rows * row_bytes {
            return None;
        }
        let (blocks, groups) = (columns / BLOCK, rows.div_ceil(GROUP));
        let mut lines = Lines::zeroed(groups * blocks * kind.bits())?;
        let mut scales = vec![0; groups * kind.scale_bytes(blocks)];
        let per_group =
            lines.fill().chunks_exact_mut(blocks * kind.bits()).zip(scales.chunks_exact_mut(kind.scale_bytes(blocks)));
        for (group, (codes, scales)) in per_group.enumerate() {
            for lane in 0..GROUP.min(rows - group * GROUP) {
                let row = group * GROUP + lane;
                let row = &bytes[row * row_bytes..(row + 1) * row_bytes];
                for (block, lines) in codes.chunks_exact_mut(kind.bits()).enumerate() {
                    let source = source::block(dtype, row, block);
                    put_codes(lines, kind, lane, &source.codes);
                    put_scales(scales, kind, lane, block, &source);
                }
            }
        }
        Some(Self { kind, rows, columns, codes: lines.into(), scales: scales.into() })
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn columns(&self) -> usize {
        self.columns
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn groups(&self) -> usize {
        self.rows.div_ceil(GROUP)
    }

    /// What a group takes in memory.
    pub(super) fn group_bytes(&self) -> usize {
        let blocks = self.columns / BLOCK;
        blocks * self.kind.bits() * LINE + self.kind.scale_bytes(blocks)
    }

    /// Codes and scales of a group.
    pub(super) fn group(&self, group: usize) -> (&[Line], &[u8]) {
        let blocks = self.columns / BLOCK;
        let (lines, bytes) = (blocks * self.kind.bits(), self.kind.scale_bytes(blocks));
        (&self.codes[group * lines..(group + 1) * lines], &self.scales[group * bytes..(group + 1) * bytes])
    }

    /// Writes the numbers of one row, as the format means them, into `out`, which has `columns` places.
    pub fn row(&self, row: usize, out: &mut [f32]) {
        let (codes, scales) = self.group(row / GROUP);
        let lane = row % GROUP;
        let lines = codes.chunks_exact(self.kind.bits());
        for ((block, lines), out) in lines.enumerate().zip(out.chunks_exact_mut(BLOCK)) {
            let (factors, min) = get_scales(scales, self.kind, lane, block);
            let zero = match self.kind.zero_bits() {
                0 => 0,
                bits => 1 << bits,
            };
            for (column, out) in out.iter_mut().enumerate() {
                let code = i32::from(get_code(lines, self.kind, lane, column)) - zero;
                *out = factors[column / (BLOCK / 2)] * code as f32 + min;
            }
        }
    }
}

fn put_codes(lines: &mut [Line], kind: Kind, lane: usize, codes: &[u8; BLOCK]) {
    for (column, &code) in codes.iter().enumerate() {
        let (word, byte) = (column / 4, 4 * lane + column % 4);
        if kind.bits() == 8 {
            lines[word].0[byte] = code;
            continue;
        }
        lines[word / 2].0[byte] |= (code & 0x0f) << (4 * (word % 2));
        match kind.bits() {
            5 => lines[4].0[byte] |= (code >> 4) << word,
            6 => lines[4 + word / 4].0[byte] |= (code >> 4) << (2 * (word % 4)),
            _ => {}
        }
    }
}

fn get_code(lines: &[Line], kind: Kind, lane: usize, column: usize) -> u8 {
    let (word, byte) = (column / 4, 4 * lane + column % 4);
    if kind.bits() == 8 {
        return lines[word].0[byte];
    }
    let low = (lines[word / 2].0[byte] >> (4 * (word % 2))) & 0x0f;
    match kind.bits() {
        5 => low | ((lines[4].0[byte] >> word) & 1) << 4,
        6 => low | ((lines[4 + word / 4].0[byte] >> (2 * (word % 4))) & 3) << 4,
        _ => low,
    }
}

/// Where a block's scales lie: the halves of its unit (or of itself), and its bytes.
fn scale_places(kind: Kind, block: usize) -> (usize, usize) {
    if !kind.is_super() {
        return (kind.scale_bytes(1) * block, 0);
    }
    let unit = block / SUPER_BLOCKS * kind.scale_bytes(SUPER_BLOCKS);
    let units = 2 * GROUP * if kind.has_min() { 2 } else { 1 };
    (unit, unit + units + block % SUPER_BLOCKS * 2 * GROUP)
}

fn put_scales(scales: &mut [u8], kind: Kind, lane: usize, block: usize, source: &SourceBlock) {
    let (halves, bytes) = scale_places(kind, block);
    let mut put_half = |place: usize, half: u16| scales[place..place + 2].copy_from_slice(&half.to_le_bytes());
    put_half(halves + 2 * lane, source.unit);
    if kind.has_min() {
        put_half(halves + 2 * GROUP + 2 * lane, source.min_unit);
    }
    if kind.is_super() {
        let [first, second] = source.steps;
        (scales[bytes + lane], scales[bytes + GROUP + lane]) = (first, second);
    }
}

/// The scales of a block's two halves, and its min.
fn get_scales(scales: &[u8], kind: Kind, lane: usize, block: usize) -> ([f32; 2], f32) {
    let (halves, bytes) = scale_places(kind, block);
    let half = |place: usize| half::f16::from_le_bytes([scales[place], scales[place + 1]]).to_f32();
    let unit = half(halves + 2 * lane);
    let min_unit = if kind.has_min() { half(halves + 2 * GROUP + 2 * lane) } else { 0.0 };
    if !kind.is_super() {
        return ([unit; 2], min_unit);
    }
    let (first, second) = (scales[bytes + lane], scales[bytes + GROUP + lane]);
    if kind.has_min() {
        ([unit * f32::from(first); 2], min_unit * f32::from(second))
    } else {
        ([first, second].map(|step| unit * f32::from(step.cast_signed())), 0.0)
    }
}

//! The blocks of GGUF's quantised types, one block of 32 columns at a time.
//!
//! The layouts are those of `ggml-org/ggml`, `ggml-common.h`, as its file format fixes them.

use candle_core::quantized::GgmlDType;

use super::packed::{BLOCK, SUPER_BLOCKS};

/// 32 columns of one row, in the terms of [`super::packed::Kind`].
#[derive(Debug, Default)]
pub(super) struct SourceBlock {
    pub codes: [u8; BLOCK],
    /// Half precision: the scale, or the unit of the scales, and the min, or its unit.
    pub unit: u16,
    pub min_unit: u16,
    /// Scale and min, or the scales of both halves, in these units.
    pub steps: [u8; 2],
}

/// The sign of a half.
const SIGN: u16 = 0x8000;

/// Block number `block` of a row. The row is of a type that has a kind, and long enough.
pub(super) fn block(dtype: GgmlDType, row: &[u8], block: usize) -> SourceBlock {
    let size = dtype.type_size();
    let (unit, within) =
        if dtype.block_size() == BLOCK { (block, 0) } else { (block / SUPER_BLOCKS, block % SUPER_BLOCKS) };
    let bytes = &row[unit * size..(unit + 1) * size];
    match dtype {
        GgmlDType::Q4_0 => SourceBlock { unit: half(bytes, 0), codes: nibbles(&bytes[2..]), ..Default::default() },
        GgmlDType::Q4_1 => SourceBlock {
            unit: half(bytes, 0),
            min_unit: half(bytes, 2),
            codes: nibbles(&bytes[4..]),
            ..Default::default()
        },
        GgmlDType::Q5_0 => SourceBlock {
            unit: half(bytes, 0),
            codes: with_fifth_bits(nibbles(&bytes[6..]), &bytes[2..6]),
            ..Default::default()
        },
        GgmlDType::Q5_1 => SourceBlock {
            unit: half(bytes, 0),
            min_unit: half(bytes, 2),
            codes: with_fifth_bits(nibbles(&bytes[8..]), &bytes[4..8]),
            ..Default::default()
        },
        GgmlDType::Q8_0 => {
            let mut codes = [0; BLOCK];
            for (code, byte) in codes.iter_mut().zip(&bytes[2..]) {
                *code = byte ^ 0x80;
            }
            SourceBlock { unit: half(bytes, 0), codes, ..Default::default() }
        }
        GgmlDType::Q4K => {
            let codes = plane_of_nibbles(&bytes[16..], within);
            SourceBlock { codes, ..super_scales(bytes, within) }
        }
        GgmlDType::Q5K => {
            let mut codes = plane_of_nibbles(&bytes[48..], within);
            for (code, high) in codes.iter_mut().zip(&bytes[16..48]) {
                *code |= (high >> within & 1) << 4;
            }
            SourceBlock { codes, ..super_scales(bytes, within) }
        }
        GgmlDType::Q6K => six_bits(bytes, within),
        _ => SourceBlock::default(),
    }
}

fn half(bytes: &[u8], place: usize) -> u16 {
    u16::from_le_bytes([bytes[place], bytes[place + 1]])
}

/// Sixteen bytes whose lower halves are the first sixteen codes.
fn nibbles(bytes: &[u8]) -> [u8; BLOCK] {
    let mut codes = [0; BLOCK];
    for (index, byte) in bytes.iter().take(BLOCK / 2).enumerate() {
        (codes[index], codes[index + BLOCK / 2]) = (byte & 0x0f, byte >> 4);
    }
    codes
}

fn with_fifth_bits(mut codes: [u8; BLOCK], bits: &[u8]) -> [u8; BLOCK] {
    for (index, code) in codes.iter_mut().enumerate() {
        *code |= (bits[index / 8] >> (index % 8) & 1) << 4;
    }
    codes
}

/// Of each 32 bytes the lower halves are one block, the upper halves the next.
fn plane_of_nibbles(bytes: &[u8], within: usize) -> [u8; BLOCK] {
    let mut codes = [0; BLOCK];
    for (code, byte) in codes.iter_mut().zip(&bytes[within / 2 * BLOCK..]) {
        *code = byte >> (4 * (within % 2)) & 0x0f;
    }
    codes
}

/// Units, and the six-bit scale and min of a block, packed in twelve bytes: Q4_K and Q5_K.
fn super_scales(bytes: &[u8], within: usize) -> SourceBlock {
    let packed = &bytes[4..16];
    let steps = if within < 4 {
        [packed[within] & 63, packed[within + 4] & 63]
    } else {
        let low = packed[within + 4];
        [low & 0x0f | packed[within - 4] >> 6 << 4, low >> 4 | packed[within] >> 6 << 4]
    };
    // In the file the min is subtracted.
    SourceBlock { codes: [0; BLOCK], unit: half(bytes, 0), min_unit: half(bytes, 2) ^ SIGN, steps }
}

/// Q6_K: 128 bytes of lower four bits, 64 of upper two, 16 scales, the unit.
fn six_bits(bytes: &[u8], within: usize) -> SourceBlock {
    let (part, quarter) = (within / 4, within % 4);
    let low = &bytes[64 * part + BLOCK * (quarter % 2)..];
    let high = &bytes[128 + BLOCK * part..];
    let mut codes = [0; BLOCK];
    for (code, (low, high)) in codes.iter_mut().zip(low.iter().zip(high)) {
        *code = (low >> (4 * (quarter / 2)) & 0x0f) | (high >> (2 * quarter) & 3) << 4;
    }
    let scales = &bytes[192 + 8 * part + 2 * quarter..];
    SourceBlock { codes, unit: half(bytes, 208), min_unit: 0, steps: [scales[0], scales[1]] }
}

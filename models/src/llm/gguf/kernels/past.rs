//! What one layer remembers of a conversation: keys and values in the order in which attention reads them.
//!
//! Positions lie in blocks of sixteen, in a block head after head. A head's keys lie column by column, sixteen positions side by
//! side, so that a query meets sixteen of them at once; its values lie position by position. Rows are filled up to a multiple of
//! sixteen with zeros. Single precision, or half where the weights are quantised anyway.

use half::f16;

use super::packed::GROUP;

/// How keys and values are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::llm::gguf) enum Precision {
    Single,
    Half,
}

impl Precision {
    pub fn bytes(self) -> usize {
        match self {
            Self::Single => 4,
            Self::Half => 2,
        }
    }
}

/// Positions of a block.
pub(super) const POSITIONS: usize = GROUP;

#[derive(Debug)]
pub(in crate::llm::gguf) struct Past {
    pub(super) heads: usize,
    pub(super) head_width: usize,
    pub(super) numbers: Numbers,
}

#[derive(Debug)]
pub(super) enum Numbers {
    Single(Pair<f32>),
    Half(Pair<f16>),
}

/// Keys and values.
#[derive(Debug)]
pub(super) struct Pair<E> {
    pub keys: Vec<E>,
    pub values: Vec<E>,
}

pub(super) fn padded(head_width: usize) -> usize {
    head_width.next_multiple_of(GROUP)
}

impl Past {
    pub fn new(precision: Precision, heads: usize, head_width: usize) -> Self {
        let numbers = match precision {
            Precision::Single => Numbers::Single(Pair { keys: Vec::new(), values: Vec::new() }),
            Precision::Half => Numbers::Half(Pair { keys: Vec::new(), values: Vec::new() }),
        };
        Self { heads, head_width, numbers }
    }

    /// Bytes that a position takes.
    pub fn bytes_per_position(precision: Precision, heads: usize, head_width: usize) -> usize {
        2 * heads * padded(head_width) * precision.bytes()
    }

    /// Makes room for `positions` in all, which are kept.
    pub fn reserve(&mut self, positions: usize) {
        let length = positions.div_ceil(POSITIONS) * self.block_length();
        match &mut self.numbers {
            Numbers::Single(pair) => pair.reserve(length, 0.0),
            Numbers::Half(pair) => pair.reserve(length, f16::ZERO),
        }
    }

    /// Numbers of a block, of keys or of values.
    fn block_length(&self) -> usize {
        self.heads * padded(self.head_width) * POSITIONS
    }

    /// Takes over the first `positions` of another past of the same sizes.
    pub fn copy(&mut self, other: &Self, positions: usize) {
        self.reserve(positions);
        let length = positions.div_ceil(POSITIONS) * self.block_length();
        match (&mut self.numbers, &other.numbers) {
            (Numbers::Single(pair), Numbers::Single(other)) => pair.copy(other, length),
            (Numbers::Half(pair), Numbers::Half(other)) => pair.copy(other, length),
            _ => {}
        }
    }

    /// Positions for which there is room.
    pub fn capacity(&self) -> usize {
        let length = match &self.numbers {
            Numbers::Single(pair) => pair.keys.len(),
            Numbers::Half(pair) => pair.keys.len(),
        };
        length / self.block_length().max(1) * POSITIONS
    }

    /// Writes the keys and values of rows, `[rows, heads × head_width]`, from `position` on. `false` if there is no room for them.
    pub fn write(&mut self, position: usize, keys: &[f32], values: &[f32]) -> bool {
        let row = self.heads * self.head_width;
        if row == 0 || keys.len() != values.len() || position + keys.len() / row > self.capacity() {
            return false;
        }
        let (heads, head_width) = (self.heads, self.head_width);
        match &mut self.numbers {
            Numbers::Single(pair) => pair.write(position, keys, values, heads, head_width, |value| value),
            Numbers::Half(pair) => pair.write(position, keys, values, heads, head_width, f16::from_f32),
        }
        true
    }
}

impl<E: Copy> Pair<E> {
    fn reserve(&mut self, length: usize, zero: E) {
        if self.keys.len() < length {
            for numbers in [&mut self.keys, &mut self.values] {
                numbers.reserve_exact(length - numbers.len());
                numbers.resize(length, zero);
            }
        }
    }

    fn copy(&mut self, other: &Self, length: usize) {
        let length = length.min(other.keys.len());
        self.keys[..length].copy_from_slice(&other.keys[..length]);
        self.values[..length].copy_from_slice(&other.values[..length]);
    }

    fn write(
        &mut self,
        position: usize,
        keys: &[f32],
        values: &[f32],
        heads: usize,
        head_width: usize,
        convert: impl Fn(f32) -> E,
    ) {
        let head_length = padded(head_width) * POSITIONS;
        let rows = keys.chunks_exact(heads * head_width).zip(values.chunks_exact(heads * head_width));
        for (row, (keys, values)) in rows.enumerate() {
            let (block, lane) = ((position + row) / POSITIONS, (position + row) % POSITIONS);
            for (head, (keys, values)) in keys.chunks_exact(head_width).zip(values.chunks_exact(head_width)).enumerate()
            {
                let start = (block * heads + head) * head_length;
                let columns = self.keys[start + lane..start + head_length].iter_mut().step_by(POSITIONS);
                for (place, key) in columns.zip(keys) {
                    *place = convert(*key);
                }
                let start = start + lane * padded(head_width);
                for (place, value) in self.values[start..start + head_width].iter_mut().zip(values) {
                    *place = convert(*value);
                }
            }
        }
    }
}

//! Activations in eight bits: what the products read.
//!
//! Rows are cut into blocks of 32; each has a step (its largest magnitude / 127) and whole numbers from -127 to 127. Up to eight
//! rows lie interleaved block by block in a tile, in the order in which a kernel reads them. A block of a tile is
//! [`BLOCK_WORDS`] words for each of its rows: the bytes of each row (8 words), then for all rows the step, step × sum, and with the
//! sign turned the sum of all 32, of the first and of the second 16.

#![allow(unsafe_code, reason = "a task is compiled for an instruction set")]

use super::packed::BLOCK;
use super::{Isa, pool};

/// Words of 32 bits that a block takes in a row.
pub(super) const BLOCK_WORDS: usize = 13;
/// Numbers that a thread should have at least to convert.
const WORTH_SHARING: usize = 1 << 14;

/// Rows that are read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::llm::gguf) struct Tile {
    pub first: usize,
    /// 1, 2, 4 or 8.
    pub rows: usize,
}

/// A matrix of activations, `[rows, columns]`.
pub(in crate::llm::gguf) struct Activations {
    isa: Isa,
    rows: usize,
    columns: usize,
    tiles: Vec<Tile>,
    words: Vec<i32>,
}

impl Activations {
    /// `columns` is a multiple of 32.
    pub fn new(isa: Isa, values: &[f32], columns: usize) -> Self {
        let rows = values.len() / columns.max(1);
        let mut tiles = Vec::with_capacity(rows / isa.most_rows() + 3);
        let mut first = 0;
        while first < rows {
            let most = isa.most_rows().min(rows - first);
            // The largest power of two that is not more.
            let tile = Tile { first, rows: 1 << most.ilog2() };
            tiles.push(tile);
            first += tile.rows;
        }
        let row_words = columns / BLOCK * BLOCK_WORDS;
        let mut words = vec![0; rows * row_words];
        if values.len() < 2 * WORTH_SHARING {
            isa.run(Quantise { tiles: &tiles, words: &mut words, values, columns });
        } else {
            let mut pieces = Vec::with_capacity(tiles.len());
            let mut rest = words.as_mut_slice();
            for tile in &tiles {
                let (piece, others) = rest.split_at_mut(tile.rows * row_words);
                pieces.push((tile, std::sync::Mutex::new(piece)));
                rest = others;
            }
            pool::run(pieces.len(), &|index| {
                let (tile, piece) = &pieces[index];
                let values = &values[tile.first * columns..(tile.first + tile.rows) * columns];
                let mut piece = piece.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                let tiles = &[Tile { first: 0, rows: tile.rows }];
                isa.run(Quantise { tiles, words: &mut piece, values, columns });
            });
        }
        Self { isa, rows, columns, tiles, words }
    }

    pub fn isa(&self) -> Isa {
        self.isa
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn columns(&self) -> usize {
        self.columns
    }

    pub fn tiles(&self) -> &[Tile] {
        &self.tiles
    }

    pub fn words(&self, tile: &Tile) -> &[i32] {
        let row_words = self.columns / BLOCK * BLOCK_WORDS;
        &self.words[tile.first * row_words..(tile.first + tile.rows) * row_words]
    }
}

struct Quantise<'a> {
    tiles: &'a [Tile],
    words: &'a mut [i32],
    values: &'a [f32],
    columns: usize,
}

impl super::Task for Quantise<'_> {
    type Out = ();

    #[inline(always)]
    unsafe fn run<L: super::lanes::Lanes>(self) {
        let Self { tiles, words, values, columns } = self;
        let blocks = columns / BLOCK;
        let mut rest = words;
        for tile in tiles {
            let (words, others) = rest.split_at_mut(tile.rows * blocks * BLOCK_WORDS);
            rest = others;
            for row in 0..tile.rows {
                let start = (tile.first + row) * columns;
                let values = &values[start..start + columns];
                for (block, values) in values.chunks_exact(BLOCK).enumerate() {
                    let place = block * BLOCK_WORDS * tile.rows;
                    let words = &mut words[place..place + BLOCK_WORDS * tile.rows];
                    quantise(values, words, row, tile.rows);
                }
            }
        }
    }
}

/// One block of one row. Plain loops: the compiler makes vector instructions of them.
#[inline(always)]
fn quantise(values: &[f32], words: &mut [i32], row: usize, rows: usize) {
    let Some(values) = values.first_chunk::<BLOCK>() else { return };
    // As bits, magnitudes are in order, and a number that is none is above all.
    let magnitude = values.iter().fold(0, |most, value| most.max(value.to_bits() & 0x7fff_ffff));
    let largest = f32::from_bits(magnitude);
    let step = largest / 127.0;
    // What is too small to divide by is nothing.
    let per_step = if largest > 1e-30 { 127.0 / largest } else { 0.0 };
    /// Added to a small number it leaves its nearest whole number in the lowest bits.
    const ROUNDER: f32 = 12_582_912.0;
    let mut codes = [0i32; BLOCK];
    for (code, value) in codes.iter_mut().zip(values) {
        *code = (value * per_step + ROUNDER).to_bits().wrapping_sub(ROUNDER.to_bits()).cast_signed();
    }
    let first = codes[..BLOCK / 2].iter().fold(0i32, |sum, &code| sum.wrapping_add(code));
    let second = codes[BLOCK / 2..].iter().fold(0i32, |sum, &code| sum.wrapping_add(code));
    for (word, codes) in words[8 * row..8 * row + 8].iter_mut().zip(codes.as_chunks::<4>().0) {
        *word = i32::from_le_bytes(codes.map(|code| code as u8));
    }
    let sum = first.wrapping_add(second);
    words[8 * rows + row] = step.to_bits().cast_signed();
    words[9 * rows + row] = (step * sum as f32).to_bits().cast_signed();
    words[10 * rows + row] = sum.wrapping_neg();
    words[11 * rows + row] = first.wrapping_neg();
    words[12 * rows + row] = second.wrapping_neg();
}

//! Attention: each query meets the keys of its own conversation's past, and takes of the values what it met.
//!
//! Four queries that share a key head are served together, so that keys and values are read once for them; all heads of all
//! conversations of a step are one job for the pool. Scores are kept for a whole past (it is short enough to stay in the
//! core's cache) and turned into weights in one go.

#![allow(unsafe_code, reason = "keys, values and results are reached through raw memory, shared between threads")]

use std::cell::Cell;

use half::f16;

use super::lanes::Lanes;
use super::past::{Numbers, POSITIONS, Pair, Past, padded};
use super::{Isa, Task, pool};

/// Queries that are served together.
const TOGETHER: usize = 4;
/// Multiplications that a thread should have at least to do.
const WORTH_SHARING: usize = 1 << 16;
/// Floats of the widest piece of a result: four vectors of sixteen.
const WIDEST: usize = 64;

/// The rows of one conversation, whose own keys and values its past already holds.
pub(in crate::llm::gguf) struct Queries<'a> {
    pub past: &'a Past,
    /// Positions before the first row.
    pub before: usize,
    /// `[rows, heads × head_width]`
    pub queries: &'a [f32],
    /// As large.
    pub out: &'a mut [f32],
}

/// Lets all queries see what is behind them: everything, or the last `window` positions, themselves among them.
pub(in crate::llm::gguf) fn attend(
    isa: Isa,
    conversations: &mut [Queries<'_>],
    heads: usize,
    scale: f32,
    window: Option<usize>,
) -> Result<(), &'static str> {
    let mut tiles = Vec::new();
    let mut work = 0;
    for conversation in conversations.iter_mut() {
        let past = conversation.past;
        let row = heads * past.head_width;
        let length = conversation.queries.len();
        let fits = past.heads > 0 && row > 0 && heads.is_multiple_of(past.heads) && length.is_multiple_of(row);
        if !fits || conversation.out.len() != length || conversation.before + length / row > past.capacity() {
            return Err("queries and the past they look at do not fit together");
        }
        let (sharing, rows) = (heads / past.heads, length / row);
        let out = conversation.out.as_mut_ptr();
        for head in 0..past.heads {
            for first in (0..rows * sharing).step_by(TOGETHER) {
                let count = TOGETHER.min(rows * sharing - first);
                let tile = Tile {
                    past,
                    head,
                    sharing,
                    before: conversation.before,
                    queries: conversation.queries,
                    out,
                    first,
                    count,
                    scale,
                    window,
                };
                work += count * 2 * past.head_width * tile.sight(count - 1).1;
                tiles.push(tile);
            }
        }
    }
    let parts = pool::parts(work / WORTH_SHARING).min(tiles.len());
    let tiles = Shared(tiles);
    let shared = &tiles;
    pool::run(parts, &|part| {
        let mut scratch = SCRATCH.take();
        for tile in &shared.0[part * shared.0.len() / parts.max(1)..(part + 1) * shared.0.len() / parts.max(1)] {
            isa.run(Meeting { tile, scratch: &mut scratch });
        }
        SCRATCH.set(scratch);
    });
    Ok(())
}

thread_local! {
    /// Scores, kept from call to call.
    static SCRATCH: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Up to four queries of one key head. Query `i` of a conversation's head is that of row `i / sharing`.
struct Tile<'a> {
    past: &'a Past,
    head: usize,
    sharing: usize,
    before: usize,
    queries: &'a [f32],
    out: *mut f32,
    first: usize,
    count: usize,
    scale: f32,
    window: Option<usize>,
}

struct Shared<'a>(Vec<Tile<'a>>);

// SAFETY: each tile writes the results of its own queries only; everything else is read.
unsafe impl Sync for Shared<'_> {}

impl Tile<'_> {
    /// Where query number `index` of the tile, and its result, lie.
    fn place(&self, index: usize) -> usize {
        let (row, within) = ((self.first + index) / self.sharing, (self.first + index) % self.sharing);
        ((row * self.past.heads + self.head) * self.sharing + within) * self.past.head_width
    }

    /// The positions that query number `index` of the tile sees: from, up to but not including.
    fn sight(&self, index: usize) -> (usize, usize) {
        let end = self.before + (self.first + index) / self.sharing + 1;
        (self.window.map_or(0, |window| end.saturating_sub(window)), end)
    }
}

/// A number as it is kept in a past.
trait Element: Copy {
    /// # Safety
    /// As [`Lanes::load`].
    unsafe fn load<L: Lanes>(from: *const Self) -> L::Float;
}

impl Element for f32 {
    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const Self) -> L::Float {
        // SAFETY: as the caller promises.
        unsafe { L::load(from) }
    }
}

impl Element for f16 {
    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const Self) -> L::Float {
        // SAFETY: as the caller promises; an `f16` is its 16 bits.
        unsafe { L::load_halves(from.cast()) }
    }
}

struct Meeting<'a> {
    tile: &'a Tile<'a>,
    scratch: &'a mut Vec<f32>,
}

impl Task for Meeting<'_> {
    type Out = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        // SAFETY: as the caller promises.
        unsafe {
            match &self.tile.past.numbers {
                Numbers::Single(pair) => meet::<L, f32>(self.tile, pair, self.scratch),
                Numbers::Half(pair) => meet::<L, f16>(self.tile, pair, self.scratch),
            }
        }
    }
}

/// # Safety
/// The processor has `L`.
#[inline(always)]
unsafe fn meet<L: Lanes, E: Element>(tile: &Tile<'_>, pair: &Pair<E>, scratch: &mut Vec<f32>) {
    // SAFETY: as the caller promises.
    unsafe {
        match tile.count {
            1 => meet_as::<L, E, 1>(tile, pair, scratch),
            2 => meet_as::<L, E, 2>(tile, pair, scratch),
            3 => meet_as::<L, E, 3>(tile, pair, scratch),
            _ => meet_as::<L, E, TOGETHER>(tile, pair, scratch),
        }
    }
}

/// # Safety
/// The processor has `L`; the tile has `COUNT` queries.
#[inline(always)]
unsafe fn meet_as<L: Lanes, E: Element, const COUNT: usize>(tile: &Tile<'_>, pair: &Pair<E>, scratch: &mut Vec<f32>) {
    let head_width = tile.past.head_width;
    let (start, end) = (tile.sight(0).0 / POSITIONS * POSITIONS, tile.sight(COUNT - 1).1);
    let span = (end - start).next_multiple_of(POSITIONS);
    let needed = COUNT * (span + head_width);
    if scratch.len() < needed {
        scratch.resize(needed, 0.0);
    }
    let (scores, queries) = scratch[..needed].split_at_mut(COUNT * span);
    for (index, scaled) in queries.chunks_exact_mut(head_width).enumerate() {
        let place = tile.place(index);
        for (scaled, query) in scaled.iter_mut().zip(&tile.queries[place..place + head_width]) {
            *scaled = query * tile.scale;
        }
    }
    let head_length = padded(head_width) * POSITIONS;
    let block_length = tile.past.heads * head_length;
    // SAFETY: the past has room for `end` positions (checked in `attend`), so its blocks up to there exist; scores and
    // queries have the sizes given above.
    let totals = unsafe {
        let keys = pair.keys.as_ptr().add(tile.head * head_length);
        for place in (0..span).step_by(L::WIDTH) {
            let position = start + place;
            let keys = keys.add(position / POSITIONS * block_length + position % POSITIONS);
            let mut sums = [[L::splat(0.0); COUNT]; 2];
            for column in 0..head_width {
                let key = E::load::<L>(keys.add(column * POSITIONS));
                for (index, sum) in sums[column % 2].iter_mut().enumerate() {
                    let query = L::splat(queries.as_ptr().add(index * head_width + column).read());
                    *sum = L::fma(query, key, *sum);
                }
            }
            let [even, odd] = sums;
            for (index, (even, odd)) in even.into_iter().zip(odd).enumerate() {
                L::store(L::add(even, odd), scores.as_mut_ptr().add(index * span + place));
            }
        }
        let mut totals = [0.0; COUNT];
        for (index, total) in totals.iter_mut().enumerate() {
            let (from, to) = tile.sight(index);
            *total = soften::<L>(&mut scores[index * span..(index + 1) * span], from - start, to - start);
        }
        totals
    };
    let values = pair.values.as_ptr().wrapping_add(tile.head * head_length);
    let seen =
        Seen { scores, span, first: tile.sight(0).0, start, end, values, block_length, row_length: padded(head_width) };
    let mut column = 0;
    while column < head_width {
        let left = padded(head_width) - column;
        let mut results = [[0.0f32; WIDEST]; COUNT];
        // SAFETY: the columns from here to the padded width are there, in as many positions as `Seen` says.
        let width = unsafe {
            if L::SLICE >= 4 && left >= 4 * L::WIDTH {
                gather::<L, E, COUNT, 4>(&seen, column, &mut results)
            } else if left >= 2 * L::WIDTH {
                gather::<L, E, COUNT, 2>(&seen, column, &mut results)
            } else {
                gather::<L, E, COUNT, 1>(&seen, column, &mut results)
            }
        };
        let width = width.min(head_width - column);
        for (index, (result, total)) in results.iter().zip(totals).enumerate() {
            // SAFETY: `attend` has compared the sizes, and no other tile has this query.
            let out = unsafe { std::slice::from_raw_parts_mut(tile.out.add(tile.place(index) + column), width) };
            for (out, result) in out.iter_mut().zip(result) {
                *out = result / total;
            }
        }
        column += width;
    }
}

/// Turns the scores from `from` up to `to` into weights, the others into nothing, and gives the weights' sum.
///
/// # Safety
/// The processor has `L`; there are a multiple of sixteen scores.
#[inline(always)]
unsafe fn soften<L: Lanes>(scores: &mut [f32], from: usize, to: usize) -> f32 {
    scores[..from].fill(f32::NEG_INFINITY);
    scores[to..].fill(f32::NEG_INFINITY);
    let (length, pointer) = (scores.len(), scores.as_mut_ptr());
    // SAFETY: vectors up to `length` lie inside.
    let total = unsafe {
        let mut most = L::splat(f32::NEG_INFINITY);
        for place in (0..length).step_by(L::WIDTH) {
            most = L::max(most, L::load(pointer.add(place)));
        }
        let most = L::splat(L::max_of(most));
        let mut total = L::splat(0.0);
        for place in (0..length).step_by(L::WIDTH) {
            let weight = L::exp(L::sub(L::load(pointer.add(place)), most));
            total = L::add(total, weight);
            L::store(weight, pointer.add(place));
        }
        L::sum_of(total)
    };
    scores[..from].fill(0.0);
    scores[to..].fill(0.0);
    total
}

/// What [`gather`] reads.
struct Seen<'a, E> {
    /// Weights, `[COUNT, span]`, of the positions from `start`.
    scores: &'a [f32],
    span: usize,
    /// Positions that any query sees: from `first` up to `end`.
    first: usize,
    start: usize,
    end: usize,
    /// The head's values.
    values: *const E,
    /// Numbers from one block to the next, and from one position of a block to the next.
    block_length: usize,
    row_length: usize,
}

/// Weighted sums of `SLICE` vectors of the values' columns from `column` on; gives how many columns that are.
///
/// # Safety
/// The processor has `L`; values and scores are as [`Seen`] says.
#[inline(always)]
unsafe fn gather<L: Lanes, E: Element, const COUNT: usize, const SLICE: usize>(
    seen: &Seen<'_, E>,
    column: usize,
    results: &mut [[f32; WIDEST]; COUNT],
) -> usize {
    // SAFETY: as the caller promises.
    unsafe {
        let mut sums = [[L::splat(0.0); SLICE]; COUNT];
        let scores = seen.scores.as_ptr();
        let mut position = seen.first;
        while position < seen.end {
            let block_end = ((position / POSITIONS + 1) * POSITIONS).min(seen.end);
            let block = seen.values.add(position / POSITIONS * seen.block_length + column);
            while position < block_end {
                let values = block.add(position % POSITIONS * seen.row_length);
                let mut slice = [L::splat(0.0); SLICE];
                for (index, value) in slice.iter_mut().enumerate() {
                    *value = E::load::<L>(values.add(index * L::WIDTH));
                }
                for (row, sums) in sums.iter_mut().enumerate() {
                    let weight = L::splat(scores.add(row * seen.span + position - seen.start).read());
                    for (sum, value) in sums.iter_mut().zip(slice) {
                        *sum = L::fma(weight, value, *sum);
                    }
                }
                position += 1;
            }
        }
        for (sums, results) in sums.iter().zip(results.iter_mut()) {
            for (index, sum) in sums.iter().enumerate() {
                L::store(*sum, results.as_mut_ptr().add(index * L::WIDTH));
            }
        }
        SLICE * L::WIDTH
    }
}

//! The product of packed weights and eight-bit activations, for one row of activations or many.
//!
//! A tile is sixteen outputs of up to eight rows: each weight is unpacked once and used for all rows, and all sums stay in
//! registers. Within a block of 32 inputs everything is whole numbers, exact; blocks are added up in single precision. One kernel
//! serves all formats: what a format is made of is constants.

#![allow(unsafe_code, reason = "tiles are read and written through raw memory, shared between threads")]

use super::activations::{Activations, BLOCK_WORDS};
use super::lanes::{Lanes, Portable};
use super::packed::{BLOCK, GROUP, Kind, LINE, Packed};
use super::pointwise::{Activation, Gate};
use super::{Isa, pool};

/// What a kernel has to know of a format; see [`Kind`] for what it means.
pub(super) trait Format {
    const KIND: Kind;
}

macro_rules! formats {
    ($($name:ident),*) => {
        $(
            struct $name;
            impl Format for $name {
                const KIND: Kind = Kind::$name;
            }
        )*

        type Kernel = unsafe fn(&TileOfRows);

        fn kernel_of<L: Lanes>(kind: Kind, rows: usize) -> Option<Kernel> {
            match (kind, rows) {
                $(
                    (Kind::$name, 1) => Some(L::tile::<$name, 1>),
                    (Kind::$name, 2) => Some(L::tile::<$name, 2>),
                    (Kind::$name, 4) => Some(L::tile::<$name, 4>),
                    (Kind::$name, 8) if L::MOST_ROWS >= 8 => Some(L::tile::<$name, 8>),
                )*
                _ => None,
            }
        }
    };
}

formats!(Q4Zero, Q4Min, Q5Zero, Q5Min, Q8, Q4Super, Q5Super, Q6Super);

fn kernel(isa: Isa, kind: Kind, rows: usize) -> Option<Kernel> {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => kernel_of::<super::x86::Avx512>(kind, rows),
        #[cfg(target_arch = "x86_64")]
        Isa::AvxVnni => kernel_of::<super::x86::AvxVnni>(kind, rows),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => kernel_of::<super::x86::Avx2>(kind, rows),
        Isa::Portable => kernel_of::<Portable>(kind, rows),
    }
}

/// How far ahead of its use memory is asked for, in bytes of codes and of scales: a processor by itself looks ahead to the end of a
/// page only. Few rows keep the memory waiting, not the arithmetic; for more it makes no difference.
const CODES_AHEAD: usize = 4096;
const SCALES_AHEAD: usize = 512;
const ROWS_THAT_WAIT: usize = 4;

/// One call of a kernel.
pub(super) struct TileOfRows {
    /// A group's codes and scales.
    pub codes: *const u8,
    pub scales: *const u8,
    pub blocks: usize,
    /// A tile of activations.
    pub x: *const i32,
    /// Where `[ROWS, 16]` sums go.
    pub out: *mut f32,
}

/// Sixteen outputs of `ROWS` rows.
///
/// # Safety
/// The processor has the instruction set, and `work`'s pointers lead to as much as `blocks` and `ROWS` say.
#[inline(always)]
pub(super) unsafe fn tile_of_rows<L: Lanes, F: Format, const ROWS: usize>(work: &TileOfRows) {
    for first_lane in (0..GROUP).step_by(L::WIDTH) {
        // SAFETY: as the caller promises; a line holds four bytes for each of sixteen lanes, a row of scales one entry for each.
        unsafe {
            let sums = tile_of_lanes::<L, F, ROWS>(work, first_lane);
            for (row, sum) in sums.into_iter().enumerate() {
                L::store(sum, work.out.add(row * GROUP + first_lane));
            }
        }
    }
}

/// # Safety
/// See [`tile_of_rows`].
#[inline(always)]
unsafe fn tile_of_lanes<L: Lanes, F: Format, const ROWS: usize>(
    work: &TileOfRows,
    first_lane: usize,
) -> [L::Float; ROWS] {
    let kind = const { F::KIND };
    // SAFETY: the pointers walk over codes, scales and activations block by block, `blocks` times, and stay inside.
    unsafe {
        let mut codes = work.codes.add(4 * first_lane);
        let mut scales = work.scales;
        let mut x = work.x;
        let nothing = L::splat(0.0);
        let mut sums = [nothing; ROWS];
        let (mut unit, mut min_unit) = (nothing, nothing);
        for block in 0..work.blocks {
            if ROWS <= ROWS_THAT_WAIT && first_lane == 0 {
                for line in 0..kind.bits() {
                    L::prefetch(codes.wrapping_add(CODES_AHEAD + LINE * line));
                }
                L::prefetch(scales.wrapping_add(SCALES_AHEAD));
            }
            // The block's scales; a second one and a minimum where the format has them.
            let (scale, second_scale, min);
            if kind.is_super() {
                if block % 8 == 0 {
                    unit = L::load_halves(scales.cast::<u16>().add(first_lane));
                    scales = scales.add(2 * GROUP);
                    if kind.has_min() {
                        min_unit = L::load_halves(scales.cast::<u16>().add(first_lane));
                        scales = scales.add(2 * GROUP);
                    }
                }
                let (first, second) = (scales.add(first_lane), scales.add(GROUP + first_lane));
                if kind.has_min() {
                    scale = L::mul(unit, L::load_unsigned(first));
                    (second_scale, min) = (scale, L::mul(min_unit, L::load_unsigned(second)));
                } else {
                    scale = L::mul(unit, L::load_signed(first));
                    (second_scale, min) = (L::mul(unit, L::load_signed(second)), nothing);
                }
                scales = scales.add(2 * GROUP);
            } else {
                scale = L::load_halves(scales.cast::<u16>().add(first_lane));
                second_scale = scale;
                scales = scales.add(2 * GROUP);
                if kind.has_min() {
                    min = L::load_halves(scales.cast::<u16>().add(first_lane));
                    scales = scales.add(2 * GROUP);
                } else {
                    min = nothing;
                }
            }
            let steps = x.add(8 * ROWS).cast::<f32>();
            let weighted_sums = steps.add(ROWS);
            let negated_sums = x.add(10 * ROWS);
            let halves = if kind.has_half_blocks() { 2 } else { 1 };
            for half in 0..halves {
                let mut dots = [L::zero(); ROWS];
                if kind.zero_bits() != 0 && !(L::BYTES_ARE_SIGNED && kind.bits() == 8) {
                    for (row, dot) in dots.iter_mut().enumerate() {
                        let place = if halves == 2 { ROWS * (half + 1) } else { 0 };
                        *dot = L::splat_word(negated_sums.add(place + row), kind.zero_bits());
                    }
                }
                let words = 8 / halves;
                for word in half * words..(half + 1) * words {
                    let code = unpack::<L, F>(codes, word);
                    for (row, dot) in dots.iter_mut().enumerate() {
                        let x = x.add(8 * row + word);
                        *dot = if kind.bits() == 8 { L::dot_bytes(*dot, code, x) } else { L::dot(*dot, code, x) };
                    }
                }
                let scale = if half == 0 { scale } else { second_scale };
                for row in 0..ROWS {
                    let step = L::mul(scale, L::splat(steps.add(row).read()));
                    sums[row] = L::fma(L::to_float(dots[row]), step, sums[row]);
                }
            }
            if kind.has_min() {
                for (row, sum) in sums.iter_mut().enumerate() {
                    *sum = L::fma(min, L::splat(weighted_sums.add(row).read()), *sum);
                }
            }
            codes = codes.add(LINE * kind.bits());
            x = x.add(BLOCK_WORDS * ROWS);
        }
        sums
    }
}

/// Four codes a lane: the block's inputs `4 × word` to `4 × word + 3`. The lines are laid out by [`super::packed`].
///
/// # Safety
/// See [`tile_of_rows`].
#[inline(always)]
unsafe fn unpack<L: Lanes, F: Format>(codes: *const u8, word: usize) -> L::Int {
    let bits = const { F::KIND.bits() };
    // SAFETY: a block has `bits` lines.
    unsafe {
        let line = |index: usize| codes.add(LINE * index);
        if bits == 8 {
            return L::load_bytes(line(word));
        }
        let pair = L::load_bytes(line(word / 2));
        let low = L::and(if word.is_multiple_of(2) { pair } else { L::shift(pair, 4) }, L::splat_byte(0x0f));
        match bits {
            5 => L::or(low, L::and(L::shift(L::load_bytes(line(4)), word as i32 - 4), L::splat_byte(0x10))),
            6 => {
                let high = L::load_bytes(line(4 + word / 4));
                L::or(low, L::and(L::shift(high, 2 * (word as i32 % 4) - 4), L::splat_byte(0x30)))
            }
            _ => low,
        }
    }
}

/// What is to be computed of the activations.
pub(in crate::llm::gguf) enum Operation<'a> {
    /// The product, and what is added to it.
    Plain(&'a Packed, Option<&'a [f32]>),
    /// `activation(gate) × up`
    Gated { gate: &'a Packed, up: &'a Packed, activation: Activation },
}

/// An operation and where its result goes, `[rows, outputs]`.
pub(in crate::llm::gguf) struct Job<'a> {
    pub operation: Operation<'a>,
    pub out: &'a mut [f32],
}

impl Operation<'_> {
    fn weights(&self) -> &Packed {
        match self {
            Self::Plain(weights, _) => weights,
            Self::Gated { gate, .. } => gate,
        }
    }

    fn matches(&self, x: &Activations, out: usize) -> bool {
        let fits = |weights: &Packed| weights.columns() == x.columns() && x.rows() * weights.rows() == out;
        match self {
            Self::Plain(weights, added) => fits(weights) && added.is_none_or(|added| added.len() == out),
            Self::Gated { gate, up, .. } => fits(gate) && fits(up),
        }
    }
}

/// Sums of one tile, before they are put in their places.
#[repr(align(64))]
struct Sums([f32; 8 * GROUP]);

/// A result that several threads write, each to columns of its own.
struct Shared(*mut f32);

// SAFETY: see `Job::finish`; the threads end before the slice's borrow does.
unsafe impl Sync for Shared {}

/// Weights that a thread should have at least to work on, in bytes, times rows: less is not worth the handing over.
const WORTH_SHARING: usize = 16 << 10;

/// Computes all `jobs` of the same activations, on all threads.
pub(in crate::llm::gguf) fn multiply(jobs: &mut [Job<'_>], x: &Activations) -> Result<(), &'static str> {
    if !jobs.iter().all(|job| job.operation.matches(x, job.out.len())) {
        return Err("a matrix and its input do not fit together");
    }
    let mut bounds = vec![0];
    let mut work = 0;
    for job in jobs.iter() {
        let weights = job.operation.weights();
        bounds.push(bounds[bounds.len() - 1] + weights.groups());
        work += weights.groups() * weights.group_bytes();
    }
    let groups = bounds[bounds.len() - 1];
    let outs: Vec<Shared> = jobs.iter_mut().map(|job| Shared(job.out.as_mut_ptr())).collect();
    let (jobs, outs, bounds) = (&*jobs, &outs, &bounds);
    let parts = pool::parts(work * x.rows().div_ceil(2) / WORTH_SHARING).min(groups);
    pool::run(parts, &|part| {
        for index in part * groups / parts..(part + 1) * groups / parts {
            let job = bounds.partition_point(|&bound| bound <= index) - 1;
            // SAFETY: each group is computed once, by one thread, and has columns of its own in its job's result, whose size
            // was compared above.
            unsafe { compute(&jobs[job].operation, &outs[job], index - bounds[job], x) };
        }
    });
    Ok(())
}

/// One group of sixteen outputs, for all rows.
///
/// # Safety
/// `out` has room for the whole result, and nobody else writes this group's columns.
unsafe fn compute(operation: &Operation<'_>, out: &Shared, group: usize, x: &Activations) {
    let outputs = operation.weights().rows();
    let first = group * GROUP;
    let count = GROUP.min(outputs - first);
    let (mut sums, mut others) = (Sums([0.0; 8 * GROUP]), Sums([0.0; 8 * GROUP]));
    for tile in x.tiles() {
        match operation {
            Operation::Plain(weights, _) => product(weights, group, x, tile, &mut sums),
            Operation::Gated { gate, up, activation } => {
                product(gate, group, x, tile, &mut sums);
                product(up, group, x, tile, &mut others);
                let size = tile.rows * GROUP;
                x.isa().run(Gate { gate: &mut sums.0[..size], up: &others.0[..size], activation: *activation });
            }
        }
        for row in 0..tile.rows {
            let start = (tile.first + row) * outputs + first;
            // SAFETY: as the caller promises.
            let place = unsafe { std::slice::from_raw_parts_mut(out.0.add(start), count) };
            place.copy_from_slice(&sums.0[row * GROUP..row * GROUP + count]);
            if let Operation::Plain(_, Some(added)) = operation {
                for (value, added) in place.iter_mut().zip(&added[start..start + count]) {
                    *value += added;
                }
            }
        }
    }
}

fn product(weights: &Packed, group: usize, x: &Activations, tile: &super::activations::Tile, sums: &mut Sums) {
    let Some(kernel) = kernel(x.isa(), weights.kind(), tile.rows) else {
        unreachable!("tiles have as many rows as there are kernels for");
    };
    let (codes, scales) = weights.group(group);
    let words = x.words(tile);
    debug_assert_eq!(words.len(), x.columns() / BLOCK * BLOCK_WORDS * tile.rows);
    let work = TileOfRows {
        codes: codes.as_ptr().cast(),
        scales: scales.as_ptr(),
        blocks: weights.columns() / BLOCK,
        x: words.as_ptr(),
        out: sums.0.as_mut_ptr(),
    };
    // SAFETY: `Isa` is only made where the processor has the instruction set; the slices have the sizes that the number of
    // columns, which is the same in both, asks for; there is room for eight rows of sums.
    unsafe { kernel(&work) };
}

//! The small steps between products: norms, rotations, gates. Each reads and writes once.

#![allow(unsafe_code, reason = "vector registers are loaded from and stored to raw memory")]

use super::lanes::Lanes;
use super::{Isa, Task, pool};

/// Numbers that a thread should have at least to work on.
const WORTH_SHARING: usize = 1 << 14;

/// What a gate does to its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::llm::gguf) enum Activation {
    /// x · σ(x)
    Silu,
    /// The approximation of GELU by a hyperbolic tangent, which is x · σ(2·√(2/π)·(x + 0.044715·x³)).
    #[allow(dead_code, reason = "of the Gemma family")]
    GeluTanh,
}

/// `gate = activation(gate) × up`, for lengths that are a multiple of 16.
pub(super) struct Gate<'a> {
    pub gate: &'a mut [f32],
    pub up: &'a [f32],
    pub activation: Activation,
}

impl Task for Gate<'_> {
    type Out = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let length = self.gate.len().min(self.up.len());
        let (gate, up) = (self.gate.as_mut_ptr(), self.up.as_ptr());
        let mut place = 0;
        while place + L::WIDTH <= length {
            // SAFETY: a vector from `place` on lies inside both.
            unsafe {
                let x = L::load(gate.add(place));
                let slope = match self.activation {
                    Activation::Silu => x,
                    Activation::GeluTanh => {
                        let cubed = L::mul(L::mul(x, x), x);
                        L::mul(L::fma(cubed, L::splat(0.044_715), x), L::splat(1.595_769))
                    }
                };
                let one = L::splat(1.0);
                let below = L::add(one, L::exp(L::sub(L::splat(0.0), slope)));
                L::store(L::mul(L::div(x, below), L::load(up.add(place))), gate.add(place));
            }
            place += L::WIDTH;
        }
    }
}

/// Root mean square norm of each row of `values` (Zhang and Sennrich, arXiv 1910.07467) times `weight`, into `out`. A row is as
/// long as `weight`.
pub(in crate::llm::gguf) fn rms_norm(isa: Isa, values: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    let width = weight.len().max(1);
    pool::for_each_piece(out, width, values.len() / WORTH_SHARING, &|index, out| {
        if let Some(row) = values.get(index * width..index * width + out.len()) {
            isa.run(Norm { row, weight, epsilon, out });
        }
    });
}

struct Norm<'a> {
    row: &'a [f32],
    weight: &'a [f32],
    epsilon: f32,
    out: &'a mut [f32],
}

impl Task for Norm<'_> {
    type Out = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Self { row, weight, epsilon, out } = self;
        let whole = row.len() / L::WIDTH * L::WIDTH;
        // SAFETY: vectors up to `whole` lie inside the row.
        let mut squares = unsafe {
            let mut squares = [L::splat(0.0); 2];
            for place in (0..whole).step_by(L::WIDTH) {
                let x = L::load(row.as_ptr().add(place));
                let lane = place / L::WIDTH % 2;
                squares[lane] = L::fma(x, x, squares[lane]);
            }
            L::sum_of(L::add(squares[0], squares[1]))
        };
        squares += row[whole..].iter().map(|x| x * x).sum::<f32>();
        let factor = 1.0 / (squares / row.len() as f32 + epsilon).sqrt();
        for ((out, x), weight) in out.iter_mut().zip(row).zip(weight) {
            *out = x * factor * weight;
        }
    }
}

/// Turns the pairs of each head, which lie half a rotated width apart; what lies behind them passes through. `values` is
/// `[rows, heads, head_width]` with `row` numbers a row, `cos` and `sin` `[rows, pairs]`.
pub(in crate::llm::gguf) fn rotate(
    values: &mut [f32],
    row: usize,
    head_width: usize,
    turns: [&[f32]; 2],
    pairs: usize,
) {
    if head_width == 0 || pairs == 0 || 2 * pairs > head_width {
        return;
    }
    let worth = values.len() / WORTH_SHARING;
    pool::for_each_piece(values, row, worth, &|index, row| {
        let [Some(cos), Some(sin)] = turns.map(|turns| turns.get(index * pairs..(index + 1) * pairs)) else { return };
        for head in row.chunks_exact_mut(head_width) {
            let (first, rest) = head.split_at_mut(pairs);
            for (((first, second), cos), sin) in first.iter_mut().zip(rest).zip(cos).zip(sin) {
                (*first, *second) = (*first * cos - *second * sin, *first * sin + *second * cos);
            }
        }
    });
}

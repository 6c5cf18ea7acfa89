//! The vector operations that the kernels are written in, and their plain form.
//!
//! A kernel is written once, over [`Lanes`]; each instruction set is one small implementation. [`Portable`] is the one that
//! needs nothing of the processor: it is what the others are tested against, and what runs where none of them does.

#![allow(unsafe_code, reason = "vector registers are loaded from and stored to raw memory")]

use half::f16;

use super::product::{Format, TileOfRows};

/// One instruction set.
///
/// # Safety
/// Every function needs a processor that has the instruction set, and pointers to as many elements as it says.
pub(super) trait Lanes: Copy {
    /// 32-bit lanes of a vector: 8 or 16.
    const WIDTH: usize;
    /// Rows of activations that a product keeps in registers at once: 4 or 8.
    const MOST_ROWS: usize;
    /// Vectors of results that attention keeps in registers for each of four queries.
    const SLICE: usize;
    /// [`Self::dot_bytes`] takes a weight's byte less 128, not the byte itself.
    const BYTES_ARE_SIGNED: bool;
    type Int: Copy;
    type Float: Copy;

    /// Asks for the memory at `from`, which need not be there, to be brought nearer.
    #[inline(always)]
    unsafe fn prefetch(_from: *const u8) {}

    /// `4 × WIDTH` bytes.
    unsafe fn load_bytes(from: *const u8) -> Self::Int;
    unsafe fn splat_byte(value: u8) -> Self::Int;
    unsafe fn and(a: Self::Int, b: Self::Int) -> Self::Int;
    unsafe fn or(a: Self::Int, b: Self::Int) -> Self::Int;
    /// Every 16 bits shifted right (`by > 0`) or left: bits that come from a neighbouring byte are to be masked.
    unsafe fn shift(a: Self::Int, by: i32) -> Self::Int;
    /// One 32-bit number, in every lane, shifted left.
    unsafe fn splat_word(from: *const i32, shift: u32) -> Self::Int;
    unsafe fn zero() -> Self::Int;
    /// To each lane, the products of its four unsigned bytes below 64 with the four signed bytes at `x`.
    unsafe fn dot(sum: Self::Int, codes: Self::Int, x: *const i32) -> Self::Int;
    /// The same for bytes up to 255.
    unsafe fn dot_bytes(sum: Self::Int, codes: Self::Int, x: *const i32) -> Self::Int;
    unsafe fn to_float(a: Self::Int) -> Self::Float;

    unsafe fn splat(value: f32) -> Self::Float;
    /// `WIDTH` floats.
    unsafe fn load(from: *const f32) -> Self::Float;
    unsafe fn store(a: Self::Float, to: *mut f32);
    /// `WIDTH` floats in half precision.
    unsafe fn load_halves(from: *const u16) -> Self::Float;
    /// `WIDTH` unsigned, or signed, bytes as floats.
    unsafe fn load_unsigned(from: *const u8) -> Self::Float;
    unsafe fn load_signed(from: *const u8) -> Self::Float;
    unsafe fn add(a: Self::Float, b: Self::Float) -> Self::Float;
    unsafe fn sub(a: Self::Float, b: Self::Float) -> Self::Float;
    unsafe fn mul(a: Self::Float, b: Self::Float) -> Self::Float;
    unsafe fn div(a: Self::Float, b: Self::Float) -> Self::Float;
    /// `a × b + c`
    unsafe fn fma(a: Self::Float, b: Self::Float, c: Self::Float) -> Self::Float;
    unsafe fn max(a: Self::Float, b: Self::Float) -> Self::Float;
    unsafe fn min(a: Self::Float, b: Self::Float) -> Self::Float;
    /// To the nearest whole number.
    unsafe fn round(a: Self::Float) -> Self::Float;
    /// Two to the power of whole numbers between -126 and 127.
    unsafe fn power_of_two(a: Self::Float) -> Self::Float;
    unsafe fn sum_of(a: Self::Float) -> f32;
    unsafe fn max_of(a: Self::Float) -> f32;

    /// The product kernel of this instruction set as a function of its own. See [`super::product::tile_of_rows`].
    unsafe fn tile<F: Format, const ROWS: usize>(work: &TileOfRows);

    /// e to the power of `a`, to within 2 units in the last place: range reduction to ±ln 2 / 2 and Cephes' polynomial.
    #[inline(always)]
    unsafe fn exp(a: Self::Float) -> Self::Float {
        // SAFETY: arithmetic only; the caller has the instruction set.
        unsafe {
            let a = Self::max(Self::min(a, Self::splat(88.0)), Self::splat(-87.0));
            let whole = Self::round(Self::mul(a, Self::splat(std::f32::consts::LOG2_E)));
            let rest = Self::fma(whole, Self::splat(-0.693_359_4), a);
            let rest = Self::fma(whole, Self::splat(2.121_944_4e-4), rest);
            let mut series = Self::splat(1.987_569_1e-4);
            for factor in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
                series = Self::fma(series, rest, Self::splat(factor));
            }
            let series = Self::fma(Self::mul(series, rest), rest, Self::add(rest, Self::splat(1.0)));
            Self::mul(series, Self::power_of_two(whole))
        }
    }
}

/// Plain Rust, sixteen lanes wide.
#[derive(Clone, Copy)]
pub(super) struct Portable;

const WIDTH: usize = 16;

#[inline(always)]
fn each<T: Copy, U: Copy + Default>(a: [T; WIDTH], b: [T; WIDTH], f: impl Fn(T, T) -> U) -> [U; WIDTH] {
    let mut out = [U::default(); WIDTH];
    for lane in 0..WIDTH {
        out[lane] = f(a[lane], b[lane]);
    }
    out
}

impl Lanes for Portable {
    const WIDTH: usize = WIDTH;
    const MOST_ROWS: usize = 4;
    const SLICE: usize = 2;
    const BYTES_ARE_SIGNED: bool = false;
    /// Four bytes a lane, little endian.
    type Int = [u32; WIDTH];
    type Float = [f32; WIDTH];

    #[inline(always)]
    unsafe fn load_bytes(from: *const u8) -> Self::Int {
        // SAFETY: the caller has 64 bytes at `from`.
        let bytes = unsafe { from.cast::<[[u8; 4]; WIDTH]>().read_unaligned() };
        bytes.map(u32::from_le_bytes)
    }
    #[inline(always)]
    unsafe fn splat_byte(value: u8) -> Self::Int {
        [u32::from_le_bytes([value; 4]); WIDTH]
    }
    #[inline(always)]
    unsafe fn and(a: Self::Int, b: Self::Int) -> Self::Int {
        each(a, b, |a, b| a & b)
    }
    #[inline(always)]
    unsafe fn or(a: Self::Int, b: Self::Int) -> Self::Int {
        each(a, b, |a, b| a | b)
    }
    #[inline(always)]
    unsafe fn shift(a: Self::Int, by: i32) -> Self::Int {
        a.map(|word| {
            let shifted = |half: u32| (if by >= 0 { half >> by } else { half << -by }) & 0xffff;
            shifted(word & 0xffff) | shifted(word >> 16) << 16
        })
    }
    #[inline(always)]
    unsafe fn splat_word(from: *const i32, shift: u32) -> Self::Int {
        // SAFETY: the caller has one number at `from`.
        [(unsafe { from.read() } << shift).cast_unsigned(); WIDTH]
    }
    #[inline(always)]
    unsafe fn zero() -> Self::Int {
        [0; WIDTH]
    }
    #[inline(always)]
    unsafe fn dot(sum: Self::Int, codes: Self::Int, x: *const i32) -> Self::Int {
        // SAFETY: the caller has four bytes at `x`.
        let x = unsafe { x.read() }.to_le_bytes().map(u8::cast_signed);
        each(sum, codes, |sum, codes| {
            let products = codes.to_le_bytes().into_iter().zip(x).map(|(code, x)| i32::from(code) * i32::from(x));
            sum.wrapping_add(products.sum::<i32>().cast_unsigned())
        })
    }
    #[inline(always)]
    unsafe fn dot_bytes(sum: Self::Int, codes: Self::Int, x: *const i32) -> Self::Int {
        // SAFETY: as the caller promises.
        unsafe { Self::dot(sum, codes, x) }
    }
    #[inline(always)]
    unsafe fn to_float(a: Self::Int) -> Self::Float {
        a.map(|word| word.cast_signed() as f32)
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self::Float {
        [value; WIDTH]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::Float {
        // SAFETY: the caller has sixteen floats at `from`.
        unsafe { from.cast::<Self::Float>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(a: Self::Float, to: *mut f32) {
        // SAFETY: the caller has room for sixteen floats at `to`.
        unsafe { to.cast::<Self::Float>().write_unaligned(a) }
    }
    #[inline(always)]
    unsafe fn load_halves(from: *const u16) -> Self::Float {
        // SAFETY: the caller has sixteen halves at `from`.
        unsafe { from.cast::<[u16; WIDTH]>().read_unaligned() }.map(|bits| f16::from_bits(bits).to_f32())
    }
    #[inline(always)]
    unsafe fn load_unsigned(from: *const u8) -> Self::Float {
        // SAFETY: the caller has sixteen bytes at `from`.
        unsafe { from.cast::<[u8; WIDTH]>().read_unaligned() }.map(f32::from)
    }
    #[inline(always)]
    unsafe fn load_signed(from: *const u8) -> Self::Float {
        // SAFETY: the caller has sixteen bytes at `from`.
        unsafe { from.cast::<[i8; WIDTH]>().read_unaligned() }.map(f32::from)
    }
    #[inline(always)]
    unsafe fn add(a: Self::Float, b: Self::Float) -> Self::Float {
        each(a, b, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(a: Self::Float, b: Self::Float) -> Self::Float {
        each(a, b, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(a: Self::Float, b: Self::Float) -> Self::Float {
        each(a, b, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn div(a: Self::Float, b: Self::Float) -> Self::Float {
        each(a, b, |a, b| a / b)
    }
    #[inline(always)]
    unsafe fn fma(a: Self::Float, b: Self::Float, c: Self::Float) -> Self::Float {
        // Not `mul_add`: without such an instruction that is a call.
        each(each(a, b, |a, b| a * b), c, |product, c| product + c)
    }
    #[inline(always)]
    unsafe fn max(a: Self::Float, b: Self::Float) -> Self::Float {
        each(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn min(a: Self::Float, b: Self::Float) -> Self::Float {
        each(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    unsafe fn round(a: Self::Float) -> Self::Float {
        a.map(f32::round_ties_even)
    }
    #[inline(always)]
    unsafe fn power_of_two(a: Self::Float) -> Self::Float {
        a.map(|power| f32::from_bits(((power as i32 + 127) << 23).cast_unsigned()))
    }
    #[inline(always)]
    unsafe fn sum_of(a: Self::Float) -> f32 {
        a.iter().sum()
    }
    #[inline(always)]
    unsafe fn max_of(a: Self::Float) -> f32 {
        a.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }

    unsafe fn tile<F: Format, const ROWS: usize>(work: &TileOfRows) {
        // SAFETY: as the caller promises.
        unsafe { super::product::tile_of_rows::<Self, F, ROWS>(work) }
    }
}

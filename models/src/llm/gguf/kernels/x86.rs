//! The vector operations on x86: AVX-512 with VNNI, AVX2 with VNNI, and AVX2.
//!
//! All functions are inlined into kernels that are compiled for the instruction set, so each becomes its one instruction.

#![allow(unsafe_code, reason = "vector registers are loaded from and stored to raw memory")]
#![allow(clippy::missing_safety_doc, reason = "the trait says it")]

use std::arch::x86_64::*;

use super::lanes::Lanes;
use super::product::{Format, TileOfRows};

/// AVX-512 (F, BW, VL) with VNNI: Intel since Ice Lake, AMD since Zen 4.
#[derive(Clone, Copy)]
pub(super) struct Avx512;

/// AVX2, FMA and F16C with the VNNI of 256 bits: Intel since Alder Lake.
#[derive(Clone, Copy)]
pub(super) struct AvxVnni;

/// AVX2, FMA and F16C: nearly every x86 since 2015.
#[derive(Clone, Copy)]
pub(super) struct Avx2;

// SAFETY of every block below: the caller has the instruction set and the memory, as `Lanes` demands.

impl Lanes for Avx512 {
    const WIDTH: usize = 16;
    const MOST_ROWS: usize = 8;
    const SLICE: usize = 4;
    const BYTES_ARE_SIGNED: bool = false;
    type Int = __m512i;
    type Float = __m512;

    #[inline(always)]
    unsafe fn prefetch(from: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
    }
    #[inline(always)]
    unsafe fn load_bytes(from: *const u8) -> __m512i {
        unsafe { _mm512_loadu_si512(from.cast()) }
    }
    #[inline(always)]
    unsafe fn splat_byte(value: u8) -> __m512i {
        unsafe { _mm512_set1_epi8(value.cast_signed()) }
    }
    #[inline(always)]
    unsafe fn and(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_and_si512(a, b) }
    }
    #[inline(always)]
    unsafe fn or(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_or_si512(a, b) }
    }
    #[inline(always)]
    unsafe fn shift(a: __m512i, by: i32) -> __m512i {
        unsafe {
            match by {
                1 => _mm512_srli_epi16::<1>(a),
                2 => _mm512_srli_epi16::<2>(a),
                3 => _mm512_srli_epi16::<3>(a),
                4 => _mm512_srli_epi16::<4>(a),
                -1 => _mm512_slli_epi16::<1>(a),
                -2 => _mm512_slli_epi16::<2>(a),
                -3 => _mm512_slli_epi16::<3>(a),
                -4 => _mm512_slli_epi16::<4>(a),
                _ => a,
            }
        }
    }
    #[inline(always)]
    unsafe fn splat_word(from: *const i32, shift: u32) -> __m512i {
        unsafe {
            let word = _mm512_set1_epi32(from.read());
            match shift {
                3 => _mm512_slli_epi32::<3>(word),
                4 => _mm512_slli_epi32::<4>(word),
                5 => _mm512_slli_epi32::<5>(word),
                7 => _mm512_slli_epi32::<7>(word),
                _ => word,
            }
        }
    }
    #[inline(always)]
    unsafe fn zero() -> __m512i {
        unsafe { _mm512_setzero_si512() }
    }
    #[inline(always)]
    unsafe fn dot(sum: __m512i, codes: __m512i, x: *const i32) -> __m512i {
        unsafe { _mm512_dpbusd_epi32(sum, codes, _mm512_set1_epi32(x.read())) }
    }
    #[inline(always)]
    unsafe fn dot_bytes(sum: __m512i, codes: __m512i, x: *const i32) -> __m512i {
        unsafe { Self::dot(sum, codes, x) }
    }
    #[inline(always)]
    unsafe fn to_float(a: __m512i) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(a) }
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> __m512 {
        unsafe { _mm512_set1_ps(value) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(a: __m512, to: *mut f32) {
        unsafe { _mm512_storeu_ps(to, a) }
    }
    #[inline(always)]
    unsafe fn load_halves(from: *const u16) -> __m512 {
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) }
    }
    #[inline(always)]
    unsafe fn load_unsigned(from: *const u8) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast()))) }
    }
    #[inline(always)]
    unsafe fn load_signed(from: *const u8) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast()))) }
    }
    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn div(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn max(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn min(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn round(a: __m512) -> __m512 {
        unsafe { _mm512_roundscale_ps::<0>(a) }
    }
    #[inline(always)]
    unsafe fn power_of_two(a: __m512) -> __m512 {
        unsafe { _mm512_scalef_ps(_mm512_set1_ps(1.0), a) }
    }
    #[inline(always)]
    unsafe fn sum_of(a: __m512) -> f32 {
        unsafe { _mm512_reduce_add_ps(a) }
    }
    #[inline(always)]
    unsafe fn max_of(a: __m512) -> f32 {
        unsafe { _mm512_reduce_max_ps(a) }
    }

    unsafe fn tile<F: Format, const ROWS: usize>(work: &TileOfRows) {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
        unsafe fn compiled<F: Format, const ROWS: usize>(work: &TileOfRows) {
            unsafe { super::product::tile_of_rows::<Avx512, F, ROWS>(work) }
        }
        unsafe { compiled::<F, ROWS>(work) }
    }
}

/// What the two 256-bit sets have in common.
macro_rules! lanes_of_256_bits {
    ($set:ident, $features:literal, signed bytes: $signed:literal, dot: $dot:path, dot_bytes: $dot_bytes:path) => {
        impl Lanes for $set {
            const WIDTH: usize = 8;
            const MOST_ROWS: usize = 4;
            const SLICE: usize = 2;
            const BYTES_ARE_SIGNED: bool = $signed;
            type Int = __m256i;
            type Float = __m256;

            #[inline(always)]
            unsafe fn prefetch(from: *const u8) {
                unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
            }
            #[inline(always)]
            unsafe fn load_bytes(from: *const u8) -> __m256i {
                unsafe { _mm256_loadu_si256(from.cast()) }
            }
            #[inline(always)]
            unsafe fn splat_byte(value: u8) -> __m256i {
                unsafe { _mm256_set1_epi8(value.cast_signed()) }
            }
            #[inline(always)]
            unsafe fn and(a: __m256i, b: __m256i) -> __m256i {
                unsafe { _mm256_and_si256(a, b) }
            }
            #[inline(always)]
            unsafe fn or(a: __m256i, b: __m256i) -> __m256i {
                unsafe { _mm256_or_si256(a, b) }
            }
            #[inline(always)]
            unsafe fn shift(a: __m256i, by: i32) -> __m256i {
                unsafe {
                    match by {
                        1 => _mm256_srli_epi16::<1>(a),
                        2 => _mm256_srli_epi16::<2>(a),
                        3 => _mm256_srli_epi16::<3>(a),
                        4 => _mm256_srli_epi16::<4>(a),
                        -1 => _mm256_slli_epi16::<1>(a),
                        -2 => _mm256_slli_epi16::<2>(a),
                        -3 => _mm256_slli_epi16::<3>(a),
                        -4 => _mm256_slli_epi16::<4>(a),
                        _ => a,
                    }
                }
            }
            #[inline(always)]
            unsafe fn splat_word(from: *const i32, shift: u32) -> __m256i {
                unsafe {
                    let word = _mm256_set1_epi32(from.read());
                    match shift {
                        3 => _mm256_slli_epi32::<3>(word),
                        4 => _mm256_slli_epi32::<4>(word),
                        5 => _mm256_slli_epi32::<5>(word),
                        7 => _mm256_slli_epi32::<7>(word),
                        _ => word,
                    }
                }
            }
            #[inline(always)]
            unsafe fn zero() -> __m256i {
                unsafe { _mm256_setzero_si256() }
            }
            #[inline(always)]
            unsafe fn dot(sum: __m256i, codes: __m256i, x: *const i32) -> __m256i {
                unsafe { $dot(sum, codes, _mm256_set1_epi32(x.read())) }
            }
            #[inline(always)]
            unsafe fn dot_bytes(sum: __m256i, codes: __m256i, x: *const i32) -> __m256i {
                unsafe { $dot_bytes(sum, codes, _mm256_set1_epi32(x.read())) }
            }
            #[inline(always)]
            unsafe fn to_float(a: __m256i) -> __m256 {
                unsafe { _mm256_cvtepi32_ps(a) }
            }
            #[inline(always)]
            unsafe fn splat(value: f32) -> __m256 {
                unsafe { _mm256_set1_ps(value) }
            }
            #[inline(always)]
            unsafe fn load(from: *const f32) -> __m256 {
                unsafe { _mm256_loadu_ps(from) }
            }
            #[inline(always)]
            unsafe fn store(a: __m256, to: *mut f32) {
                unsafe { _mm256_storeu_ps(to, a) }
            }
            #[inline(always)]
            unsafe fn load_halves(from: *const u16) -> __m256 {
                unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.cast())) }
            }
            #[inline(always)]
            unsafe fn load_unsigned(from: *const u8) -> __m256 {
                unsafe { _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast()))) }
            }
            #[inline(always)]
            unsafe fn load_signed(from: *const u8) -> __m256 {
                unsafe { _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(from.cast()))) }
            }
            #[inline(always)]
            unsafe fn add(a: __m256, b: __m256) -> __m256 {
                unsafe { _mm256_add_ps(a, b) }
            }
            #[inline(always)]
            unsafe fn sub(a: __m256, b: __m256) -> __m256 {
                unsafe { _mm256_sub_ps(a, b) }
            }
            #[inline(always)]
            unsafe fn mul(a: __m256, b: __m256) -> __m256 {
                unsafe { _mm256_mul_ps(a, b) }
            }
            #[inline(always)]
            unsafe fn div(a: __m256, b: __m256) -> __m256 {
                unsafe { _mm256_div_ps(a, b) }
            }
            #[inline(always)]
            unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
                unsafe { _mm256_fmadd_ps(a, b, c) }
            }
            #[inline(always)]
            unsafe fn max(a: __m256, b: __m256) -> __m256 {
                unsafe { _mm256_max_ps(a, b) }
            }
            #[inline(always)]
            unsafe fn min(a: __m256, b: __m256) -> __m256 {
                unsafe { _mm256_min_ps(a, b) }
            }
            #[inline(always)]
            unsafe fn round(a: __m256) -> __m256 {
                unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
            }
            #[inline(always)]
            unsafe fn power_of_two(a: __m256) -> __m256 {
                unsafe {
                    let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(a), _mm256_set1_epi32(127));
                    _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent))
                }
            }
            #[inline(always)]
            unsafe fn sum_of(a: __m256) -> f32 {
                unsafe {
                    let four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
                    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
                    _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
                }
            }
            #[inline(always)]
            unsafe fn max_of(a: __m256) -> f32 {
                unsafe {
                    let four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
                    let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
                    _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps::<1>(two, two)))
                }
            }

            unsafe fn tile<F: Format, const ROWS: usize>(work: &TileOfRows) {
                #[target_feature(enable = $features)]
                unsafe fn compiled<F: Format, const ROWS: usize>(work: &TileOfRows) {
                    unsafe { super::product::tile_of_rows::<$set, F, ROWS>(work) }
                }
                unsafe { compiled::<F, ROWS>(work) }
            }
        }
    };
}

/// Codes up to 63 times activations up to 127, in pairs, stay within 16 bits.
#[inline(always)]
unsafe fn dot_avx2(sum: __m256i, codes: __m256i, x: __m256i) -> __m256i {
    unsafe {
        let pairs = _mm256_maddubs_epi16(codes, x);
        _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
    }
}

/// Bytes up to 255 would not: they are taken as signed, and their sign goes over to the activations.
#[inline(always)]
unsafe fn dot_bytes_avx2(sum: __m256i, codes: __m256i, x: __m256i) -> __m256i {
    unsafe {
        let signed = _mm256_xor_si256(codes, _mm256_set1_epi8(i8::MIN));
        dot_avx2(sum, _mm256_abs_epi8(signed), _mm256_sign_epi8(x, signed))
    }
}

#[inline(always)]
unsafe fn dot_vnni(sum: __m256i, codes: __m256i, x: __m256i) -> __m256i {
    unsafe { _mm256_dpbusd_avx_epi32(sum, codes, x) }
}

lanes_of_256_bits!(Avx2, "avx2,fma,f16c", signed bytes: true, dot: dot_avx2, dot_bytes: dot_bytes_avx2);
lanes_of_256_bits!(AvxVnni, "avx2,avxvnni,fma,f16c", signed bytes: false, dot: dot_vnni, dot_bytes: dot_vnni);

//! The kernel of x86-64 in SSE2, which each of them has.
#![allow(unsafe_code)]

use super::ROWS;
use core::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_cvtsi128_si32, _mm_madd_epi16, _mm_set_epi32, _mm_setzero_si128,
    _mm_shuffle_epi32, _mm_srai_epi16, _mm_unpackhi_epi32, _mm_unpacklo_epi32,
};

pub(super) fn name() -> &'static str {
    "x86-64 SSE2"
}

/// Writes the accumulators of blocks of as many words as there are activations, a multiple of 4 and not 0.
pub(super) fn products(
    weights: &[u32],
    pairs: &[u32],
    correction: i32,
    accumulators: &mut [[i32; ROWS]],
) {
    // SAFETY: SSE2 is a part of x86-64.
    unsafe { kernel(weights, pairs, correction, accumulators) }
}

#[target_feature(enable = "sse2")]
fn kernel(weights: &[u32], pairs: &[u32], correction: i32, accumulators: &mut [[i32; ROWS]]) {
    for (block, accumulators) in weights.chunks_exact(2 * pairs.len()).zip(accumulators) {
        // Lanes: S of rows 0 and 1, S of rows 2 and 3, both twice; B likewise.
        let mut sums = [_mm_setzero_si128(); 2];
        let (fours, rest) = pairs.as_chunks::<4>();
        let (eights, rest_weights) = block.as_chunks::<8>();
        for (&[a, b, c, d, e, f, g, h], &[p, q, r, s]) in eights.iter().zip(fours) {
            let x = vector([p, q, r, s]);
            add(&mut sums, vector([a, b, c, d]), _mm_unpacklo_epi32(x, x));
            add(&mut sums, vector([e, f, g, h]), _mm_unpackhi_epi32(x, x));
        }
        if let (&[a, b, c, d], &[p, q]) = (rest_weights, rest) {
            add(&mut sums, vector([a, b, c, d]), vector([p, p, q, q]));
        }
        let [s, b] = sums.map(|v| fold(v));
        let even = |s: i32, b: i32| s.wrapping_sub(b.wrapping_shl(8)).wrapping_sub(correction);
        *accumulators = [even(s[0], b[0]), b[0], even(s[1], b[1]), b[1]];
    }
}

#[inline]
#[target_feature(enable = "sse2")]
fn add([s, b]: &mut [__m128i; 2], weights: __m128i, x: __m128i) {
    *s = _mm_add_epi32(*s, _mm_madd_epi16(weights, x));
    *b = _mm_add_epi32(*b, _mm_madd_epi16(_mm_srai_epi16::<8>(weights), x));
}

#[inline]
#[target_feature(enable = "sse2")]
fn vector([a, b, c, d]: [u32; 4]) -> __m128i {
    _mm_set_epi32(d as i32, c as i32, b as i32, a as i32)
}

/// The sums of lanes 0 and 2, and of lanes 1 and 3.
#[inline]
#[target_feature(enable = "sse2")]
fn fold(v: __m128i) -> [i32; 2] {
    let sums = _mm_add_epi32(v, _mm_shuffle_epi32::<0b01_00_11_10>(v));
    [
        _mm_cvtsi128_si32(sums),
        _mm_cvtsi128_si32(_mm_shuffle_epi32::<1>(sums)),
    ]
}

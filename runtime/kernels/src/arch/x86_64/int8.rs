//! int8 weights.

use super::simd::{add_halves, has_avx2, load};
use crate::arch::panels::{for_each_three_panels, num_panels};
use crate::packed::PackedActivations;
use core::arch::x86_64::*;

/// [`crate::generic::gemv_int8`]
pub fn gemv_int8(weights: &[u32], x: &PackedActivations, accumulators: &mut [[i32; 4]]) {
    let count = num_panels(weights, x.num_columns(), accumulators);
    let accumulators = &mut accumulators[..count];
    if x.pairs.is_empty() {
        return;
    }
    if has_avx2() {
        // SAFETY: the processor has AVX2.
        unsafe { gemv_int8_avx2(weights, x, accumulators) }
    } else {
        // SAFETY: SSE2 is a part of x86-64.
        unsafe { gemv_int8_sse2(weights, x, accumulators) }
    }
}

#[target_feature(enable = "avx2")]
fn gemv_int8_avx2(weights: &[u32], x: &PackedActivations, accumulators: &mut [[i32; 4]]) {
    for_each_three_panels(
        weights,
        x.num_columns(),
        accumulators,
        |weights, out| panels(weights, x, out),
        |weights, out| panels(weights, x, out),
    );
}

/// `N` panels.
#[inline]
#[target_feature(enable = "avx2")]
fn panels<const N: usize>(
    weights: &[u32],
    x: &PackedActivations,
    accumulators: &mut [[i32; 4]; N],
) {
    let panel_len = x.num_columns();
    assert!(weights.len() == N * panel_len);
    // Lanes: rows 0 and 1, rows 2 and 3, four times.
    let mut sums = [[_mm256_setzero_si256(); 2]; N];
    let each_twice = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
    let (fours, rest) = x.pairs.as_chunks::<2>();
    for (index, pairs) in fours.iter().enumerate() {
        // SAFETY: four pairs are 16 bytes.
        let pairs = unsafe { _mm_loadu_si128(pairs.as_ptr().cast()) };
        let pairs = _mm256_permutevar8x32_epi32(_mm256_castsi128_si256(pairs), each_twice);
        for (panel, sums) in sums.iter_mut().enumerate() {
            // SAFETY: four pairs have 8 of a panel's words, and there are `N` panels.
            let weights = unsafe {
                _mm256_loadu_si256(weights.as_ptr().add(panel * panel_len + 8 * index).cast())
            };
            add_products_avx2(sums, weights, pairs);
        }
    }
    if let &[[p, q]] = rest {
        let pairs = _mm256_zextsi128_si256(load([p, p, q, q]));
        for (panel, sums) in sums.iter_mut().enumerate() {
            if let Some(&weights) = weights[..(panel + 1) * panel_len].last_chunk() {
                add_products_avx2(sums, _mm256_zextsi128_si256(load(weights)), pairs);
            }
        }
    }
    for (out, [s, b]) in accumulators.iter_mut().zip(sums) {
        *out = rows([s, b].map(|sum| add_halves(sum)), x.zero_point_correction);
    }
}

/// Adds the products with the halfwords to S and those with the high bytes to B.
#[inline]
#[target_feature(enable = "avx2")]
fn add_products_avx2([s, b]: &mut [__m256i; 2], weights: __m256i, x: __m256i) {
    *s = _mm256_add_epi32(*s, _mm256_madd_epi16(weights, x));
    *b = _mm256_add_epi32(*b, _mm256_madd_epi16(_mm256_srai_epi16::<8>(weights), x));
}

#[target_feature(enable = "sse2")]
fn gemv_int8_sse2(weights: &[u32], x: &PackedActivations, accumulators: &mut [[i32; 4]]) {
    for (panel, accumulators) in weights.chunks_exact(x.num_columns()).zip(accumulators) {
        let mut sums = [_mm_setzero_si128(); 2];
        for (&weights, &[p, q]) in panel.as_chunks().0.iter().zip(x.pairs) {
            add_products_sse2(&mut sums, load(weights), load([p, p, q, q]));
        }
        *accumulators = rows(sums, x.zero_point_correction);
    }
}

/// Adds the products with the halfwords to S and those with the high bytes to B.
#[inline]
#[target_feature(enable = "sse2")]
fn add_products_sse2([s, b]: &mut [__m128i; 2], weights: __m128i, x: __m128i) {
    *s = _mm_add_epi32(*s, _mm_madd_epi16(weights, x));
    *b = _mm_add_epi32(*b, _mm_madd_epi16(_mm_srai_epi16::<8>(weights), x));
}

/// The rows' products from S and B, whose lanes are rows 0 and 1, rows 2 and 3, both twice.
#[inline]
#[target_feature(enable = "sse2")]
fn rows([s, b]: [__m128i; 2], correction: i32) -> [i32; 4] {
    // S of rows 0 and 1, B of them, S of rows 2 and 3, B of them.
    let sums = _mm_add_epi32(_mm_unpacklo_epi32(s, b), _mm_unpackhi_epi32(s, b));
    let odd = _mm_slli_epi32::<8>(_mm_srli_epi64::<32>(sums));
    let correction = _mm_set_epi32(0, correction, 0, correction);
    let rows = _mm_sub_epi32(_mm_sub_epi32(sums, odd), correction);
    let mut out = [0; 4];
    // SAFETY: `out` is 16 bytes.
    unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), rows) };
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generic;
    use crate::testing::{Gemv, compare_gemv};

    #[test]
    fn avx2_and_sse2_give_the_generic_bits() {
        // SAFETY: SSE2 is a part of x86-64.
        let sse2: Gemv = |w, x, out| unsafe { gemv_int8_sse2(w, x, out) };
        compare_gemv(|columns| columns, sse2, generic::gemv_int8);
        if has_avx2() {
            // SAFETY: the processor has AVX2.
            let avx2: Gemv = |w, x, out| unsafe { gemv_int8_avx2(w, x, out) };
            compare_gemv(|columns| columns, avx2, generic::gemv_int8);
        }
    }
}

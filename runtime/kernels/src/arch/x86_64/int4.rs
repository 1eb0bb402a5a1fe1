//! int4 weights.

use super::simd::{add_halves, has_avx2, load};
use crate::arch::panels::{for_each_three_panels, num_panels};
use crate::packed::{GROUP_SIZE, PackedActivations, WeightFormat, int4_groups};
use core::arch::x86_64::*;

/// [`crate::generic::gemv_int4`]
pub fn gemv_int4(weights: &[u32], x: &PackedActivations, accumulators: &mut [[i32; 4]]) {
    let count = num_panels(weights, panel_len(x), accumulators);
    let accumulators = &mut accumulators[..count];
    if x.pairs.is_empty() {
        return;
    }
    if has_avx2() {
        // SAFETY: the processor has AVX2.
        unsafe { gemv_int4_avx2(weights, x, accumulators) }
    } else {
        // SAFETY: SSE2 is a part of x86-64.
        unsafe { gemv_int4_sse2(weights, x, accumulators) }
    }
}

fn panel_len(x: &PackedActivations) -> usize {
    WeightFormat::Int4.panel_len(x.num_columns())
}

#[target_feature(enable = "avx2")]
fn gemv_int4_avx2(weights: &[u32], x: &PackedActivations, accumulators: &mut [[i32; 4]]) {
    let (panel_len, pairs) = (panel_len(x), x.pairs.as_flattened());
    for_each_three_panels(
        weights,
        panel_len,
        accumulators,
        |weights, out| panels(weights, panel_len, pairs, out),
        |weights, out| panels(weights, panel_len, pairs, out),
    );
}

/// `N` panels.
#[inline]
#[target_feature(enable = "avx2")]
fn panels<const N: usize>(
    weights: &[u32],
    panel_len: usize,
    pairs: &[u32],
    accumulators: &mut [[i32; 4]; N],
) {
    assert!(weights.len() == N * panel_len);
    // Lanes: the four rows, twice.
    let mut totals = [_mm256_setzero_si256(); N];
    for (index, x) in pairs.chunks(GROUP_SIZE / 2).enumerate() {
        let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        let mask = |half: i32| _mm256_cmpgt_epi32(_mm256_set1_epi32(x.len() as i32 - half), lanes);
        let masks = [mask(0), mask(8)];
        let load_words = |from: *const u32| {
            let halves = [from.cast(), from.wrapping_add(8).cast()];
            if x.len() == GROUP_SIZE / 2 {
                // SAFETY: a whole group is 16 pairs, and 16 words of weights.
                halves.map(|half| unsafe { _mm256_loadu_si256(half) })
            } else {
                // SAFETY: reads as many words as the group has.
                [0, 1].map(|n| unsafe { _mm256_maskload_epi32(halves[n].cast(), masks[n]) })
            }
        };
        let x = load_words(x.as_ptr());
        let sum = |words: [__m256i; 2]| {
            let [first, second] = [0, 1].map(|half| _mm256_madd_epi16(words[half], x[half]));
            _mm256_add_epi32(first, second)
        };
        let all = sum([_mm256_set1_epi16(8); 2]);
        let offset = sum_lanes_avx2([all, all, all, _mm256_setzero_si256()]);
        for (panel, total) in totals.iter_mut().enumerate() {
            let group = &weights[panel * panel_len + index * (1 + GROUP_SIZE / 2)..];
            let words = load_words(group[1..].as_ptr());
            let sums = sum_lanes_avx2([
                sum(words),
                sum(words.map(|w| _mm256_srai_epi16::<4>(w))),
                sum(words.map(|w| _mm256_srai_epi16::<8>(w))),
                sum(words.map(|w| _mm256_srai_epi16::<12>(w))),
            ]);
            let above = _mm256_slli_epi32::<4>(_mm256_bsrli_epi128::<4>(sums));
            let rows = _mm256_sub_epi32(_mm256_sub_epi32(sums, offset), above);
            let scales = _mm256_cvtepu8_epi32(_mm_set1_epi32(group[0] as i32));
            *total = _mm256_add_epi32(*total, _mm256_mullo_epi32(rows, scales));
        }
    }
    for (out, total) in accumulators.iter_mut().zip(totals) {
        add_to(out, add_halves(total));
    }
}

/// The sums of the lanes of each vector: each sum in a lane, twice, in two parts.
#[inline]
#[target_feature(enable = "avx2")]
fn sum_lanes_avx2([a, b, c, d]: [__m256i; 4]) -> __m256i {
    let two = |a, b| _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
    let (ab, cd) = (two(a, b), two(c, d));
    _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd))
}

#[target_feature(enable = "sse2")]
fn gemv_int4_sse2(weights: &[u32], x: &PackedActivations, accumulators: &mut [[i32; 4]]) {
    for (panel, out) in weights.chunks_exact(panel_len(x)).zip(accumulators) {
        let mut total = _mm_setzero_si128();
        let pairs = x.pairs.as_flattened().chunks(GROUP_SIZE / 2);
        for ((scales, words), x) in int4_groups(panel).zip(pairs) {
            let (fours, rest) = words.as_chunks::<4>();
            let (x_fours, x_rest) = x.as_chunks::<4>();
            // P_0 to P_3, and 8 times the activations.
            let mut sums = [_mm_setzero_si128(); 5];
            for (&words, &x) in fours.iter().zip(x_fours) {
                add_group(&mut sums, load(words), load(x));
            }
            if let (&[v, w], &[p, q]) = (rest, x_rest) {
                add_group(&mut sums, load([v, w, 0, 0]), load([p, q, 0, 0]));
            }
            let [a, b, c, d, all] = sums;
            let sums = sum_lanes_sse2([a, b, c, d]);
            let offset = sum_lanes_sse2([all, all, all, _mm_setzero_si128()]);
            let above = _mm_slli_epi32::<4>(_mm_bsrli_si128::<4>(sums));
            let rows = _mm_sub_epi32(_mm_sub_epi32(sums, offset), above);
            let [a, b, c, d] = scales.to_le_bytes().map(u32::from);
            total = _mm_add_epi32(total, multiply_low(rows, load([a, b, c, d])));
        }
        add_to(out, total);
    }
}

#[inline]
#[target_feature(enable = "sse2")]
fn add_group(sums: &mut [__m128i; 5], words: __m128i, x: __m128i) {
    let factors = [
        words,
        _mm_srai_epi16::<4>(words),
        _mm_srai_epi16::<8>(words),
        _mm_srai_epi16::<12>(words),
        _mm_set1_epi16(8),
    ];
    for (sum, factor) in sums.iter_mut().zip(factors) {
        *sum = _mm_add_epi32(*sum, _mm_madd_epi16(factor, x));
    }
}

/// The sums of the lanes of each vector, each in a lane.
#[inline]
#[target_feature(enable = "sse2")]
fn sum_lanes_sse2([a, b, c, d]: [__m128i; 4]) -> __m128i {
    let two = |a, b| _mm_add_epi32(_mm_unpacklo_epi32(a, b), _mm_unpackhi_epi32(a, b));
    let (ab, cd) = (two(a, b), two(c, d));
    _mm_add_epi32(_mm_unpacklo_epi64(ab, cd), _mm_unpackhi_epi64(ab, cd))
}

/// The low 32 bits of the products, lane by lane (SSE4.1 has an instruction).
#[inline]
#[target_feature(enable = "sse2")]
fn multiply_low(a: __m128i, b: __m128i) -> __m128i {
    let odd = |v| _mm_srli_epi64::<32>(v);
    let products = [_mm_mul_epu32(a, b), _mm_mul_epu32(odd(a), odd(b))];
    let [even, odd] = products.map(|v| _mm_shuffle_epi32::<0b1000>(v));
    _mm_unpacklo_epi32(even, odd)
}

/// Adds four lanes to four rows.
#[inline]
#[target_feature(enable = "sse2")]
fn add_to(out: &mut [i32; 4], lanes: __m128i) {
    let sum = _mm_add_epi32(load(out.map(|x| x as u32)), lanes);
    // SAFETY: `out` is 16 bytes.
    unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), sum) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generic;
    use crate::testing::{Gemv, compare_gemv};

    #[test]
    fn avx2_and_sse2_give_the_generic_bits() {
        let panel_len = |columns| WeightFormat::Int4.panel_len(columns);
        // SAFETY: SSE2 is a part of x86-64.
        let sse2: Gemv = |w, x, out| unsafe { gemv_int4_sse2(w, x, out) };
        compare_gemv(panel_len, sse2, generic::gemv_int4);
        if has_avx2() {
            // SAFETY: the processor has AVX2.
            let avx2: Gemv = |w, x, out| unsafe { gemv_int4_avx2(w, x, out) };
            compare_gemv(panel_len, avx2, generic::gemv_int4);
        }
    }
}

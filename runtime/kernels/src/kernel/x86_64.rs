//! The kernels of x86-64: AVX2 where the processor has it, else SSE2, which each of them has.
#![allow(unsafe_code)]

use super::ROWS;
use core::arch::x86_64::*;

cpufeatures::new!(avx2_here, "avx2");

pub(super) fn name() -> &'static str {
    if avx2_here::get() {
        "x86-64 AVX2"
    } else {
        "x86-64 SSE2"
    }
}

/// Writes the accumulators of blocks of as many words as there are activations, a multiple of 4 and not 0.
pub(super) fn products(
    weights: &[u32],
    pairs: &[u32],
    correction: i32,
    accumulators: &mut [[i32; ROWS]],
) {
    if avx2_here::get() {
        // SAFETY: the processor has AVX2.
        unsafe { avx2(weights, pairs, correction, accumulators) }
    } else {
        // SAFETY: SSE2 is a part of x86-64.
        unsafe { sse2(weights, pairs, correction, accumulators) }
    }
}

#[target_feature(enable = "avx2")]
fn avx2(weights: &[u32], pairs: &[u32], correction: i32, accumulators: &mut [[i32; ROWS]]) {
    // A step asks for three blocks at a time; the activations are spread once for all of them.
    let (threes, ones) = accumulators.as_chunks_mut::<3>();
    let words = 2 * pairs.len();
    let mut rest = weights;
    for out in threes {
        let weights;
        (weights, rest) = rest.split_at(3 * words);
        blocks(weights, pairs, correction, out);
    }
    for out in ones.as_chunks_mut::<1>().0 {
        let weights;
        (weights, rest) = rest.split_at(words);
        blocks(weights, pairs, correction, out);
    }
}

/// `N` blocks.
#[inline]
#[target_feature(enable = "avx2")]
fn blocks<const N: usize>(
    weights: &[u32],
    pairs: &[u32],
    correction: i32,
    accumulators: &mut [[i32; ROWS]; N],
) {
    let words = 2 * pairs.len();
    assert!(weights.len() == N * words);
    // Lanes: rows 0 and 1, rows 2 and 3, four times.
    let mut sums = [[_mm256_setzero_si256(); 2]; N];
    let twice = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
    let (fours, rest) = pairs.as_chunks::<4>();
    for (index, x) in fours.iter().enumerate() {
        // SAFETY: x is 16 bytes.
        let x = unsafe { _mm_loadu_si128(x.as_ptr().cast()) };
        let x = _mm256_permutevar8x32_epi32(_mm256_castsi128_si256(x), twice);
        for (block, sums) in sums.iter_mut().enumerate() {
            // SAFETY: four pairs have 8 of a block's `words`, and there are `N` blocks.
            let weights = unsafe {
                _mm256_loadu_si256(weights.as_ptr().add(block * words + 8 * index).cast())
            };
            add_wide(sums, weights, x);
        }
    }
    if let &[p, q] = rest {
        let x = _mm256_zextsi128_si256(vector([p, p, q, q]));
        for (block, sums) in sums.iter_mut().enumerate() {
            if let Some(&weights) = weights[..(block + 1) * words].last_chunk() {
                add_wide(sums, _mm256_zextsi128_si256(vector(weights)), x);
            }
        }
    }
    for (out, [s, b]) in accumulators.iter_mut().zip(sums) {
        let half = |v| _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v));
        *out = rows([half(s), half(b)], correction);
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn add_wide([s, b]: &mut [__m256i; 2], weights: __m256i, x: __m256i) {
    *s = _mm256_add_epi32(*s, _mm256_madd_epi16(weights, x));
    *b = _mm256_add_epi32(*b, _mm256_madd_epi16(_mm256_srai_epi16::<8>(weights), x));
}

#[target_feature(enable = "sse2")]
fn sse2(weights: &[u32], pairs: &[u32], correction: i32, accumulators: &mut [[i32; ROWS]]) {
    for (block, accumulators) in weights.chunks_exact(2 * pairs.len()).zip(accumulators) {
        let mut sums = [_mm_setzero_si128(); 2];
        for (&weights, &[p, q]) in block.as_chunks().0.iter().zip(pairs.as_chunks().0) {
            add(&mut sums, vector(weights), vector([p, p, q, q]));
        }
        *accumulators = rows(sums, correction);
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

/// The rows' products from S and B, whose lanes are rows 0 and 1, rows 2 and 3, both twice.
#[inline]
#[target_feature(enable = "sse2")]
fn rows([s, b]: [__m128i; 2], correction: i32) -> [i32; ROWS] {
    // S of rows 0 and 1, B of them, S of rows 2 and 3, B of them.
    let sums = _mm_add_epi32(_mm_unpacklo_epi32(s, b), _mm_unpackhi_epi32(s, b));
    let odd = _mm_slli_epi32::<8>(_mm_srli_epi64::<32>(sums));
    let correction = _mm_set_epi32(0, correction, 0, correction);
    let rows = _mm_sub_epi32(_mm_sub_epi32(sums, odd), correction);
    let mut out = [0; ROWS];
    // SAFETY: `out` is 16 bytes.
    unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), rows) };
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::tests::compare;

    #[test]
    fn every_kernel_of_this_processor_gives_the_portable_bits() {
        // SAFETY: SSE2 is a part of x86-64.
        compare(|w, x, c, out| unsafe { sse2(w, x, c, out) });
        if avx2_here::get() {
            // SAFETY: the processor has AVX2.
            compare(|w, x, c, out| unsafe { avx2(w, x, c, out) });
        }
    }
}

//! The kernels of x86-64: AVX2 where the processor has it, else SSE2, which each of them has.
#![allow(unsafe_code)]

pub(super) use super::groups::add_grouped;
pub use super::portable::{largest, walk};
use super::{ROWS, in_threes};
use crate::activation::TANH;
use crate::cell::{GATES, RECORDS, gates_portable};
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
    in_threes(
        weights,
        2 * pairs.len(),
        accumulators,
        |weights, out| blocks(weights, pairs, correction, out),
        |weights, out| blocks(weights, pairs, correction, out),
    );
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

/// The new state of four units: [`gates_portable`].
pub fn gates(
    records: &[u32; RECORDS],
    token: &[i8; GATES],
    products: &[[i32; ROWS]; 3],
    old: &[i16; ROWS],
    new: &mut [i16; ROWS],
) {
    if avx2_here::get() {
        // SAFETY: the processor has AVX2.
        unsafe { gates_avx2(records, token, products, old, new) }
    } else {
        gates_portable(records, token, products, old, new);
    }
}

/// Each lane is a unit.
#[target_feature(enable = "avx2")]
fn gates_avx2(
    records: &[u32; RECORDS],
    token: &[i8; GATES],
    products: &[[i32; ROWS]; 3],
    old: &[i16; ROWS],
    new: &mut [i16; ROWS],
) {
    let quads = records.as_chunks::<ROWS>().0;
    let quad = |index: usize| vector(quads[index]);
    let token = |gate: usize| {
        let [a, b, c, d] = token.as_chunks::<ROWS>().0[gate].map(i32::from);
        _mm_set_epi32(d, c, b, a)
    };
    let added = |gate: usize, factor: usize| _mm_mullo_epi32(token(gate), quad(factor));
    let output = |gate: usize, bias: usize, added: __m128i| {
        let sum = _mm_add_epi32(vector(products[gate].map(|x| x as u32)), quad(bias));
        requantize(_mm_add_epi32(sum, added), quad(bias + 1))
    };
    let r = sigmoid(output(1, 3, added(1, 5)));
    let h = output(2, 6, _mm_setzero_si128());
    let input = _mm_add_epi32(quad(8), added(2, 9));
    let sum = _mm_add_epi32(input, _mm_mullo_epi32(r, h));
    let n = tanh(saturate(round(sum)));
    let z = sigmoid(output(0, 0, added(0, 2)));
    let [a, b, c, d] = old.map(i32::from);
    let difference = _mm_sub_epi32(_mm_set_epi32(d, c, b, a), n);
    let state = _mm_add_epi32(n, round(_mm_mullo_epi32(z, difference)));
    // SAFETY: `new` is 8 bytes.
    unsafe { _mm_storel_epi64(new.as_mut_ptr().cast(), _mm_packs_epi32(state, state)) };
}

/// [`crate::fixed::requantize`]
#[inline]
#[target_feature(enable = "avx2")]
fn requantize(accumulator: __m128i, scale: __m128i) -> __m128i {
    let shifted = _mm_srav_epi32(accumulator, _mm_srli_epi32::<27>(scale));
    let (low, high) = (_mm_set1_epi32(-1 << 17), _mm_set1_epi32((1 << 17) - 1));
    let shifted = _mm_min_epi32(_mm_max_epi32(shifted, low), high);
    let multiplier = _mm_and_si128(scale, _mm_set1_epi32(0xffff));
    saturate(round(_mm_mullo_epi32(shifted, multiplier)))
}

/// Shifted right by 15, to nearest.
#[inline]
#[target_feature(enable = "avx2")]
fn round(x: __m128i) -> __m128i {
    _mm_srai_epi32::<15>(_mm_add_epi32(x, _mm_set1_epi32(1 << 14)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn saturate(x: __m128i) -> __m128i {
    let (low, high) = (
        _mm_set1_epi32(i16::MIN.into()),
        _mm_set1_epi32(i16::MAX.into()),
    );
    _mm_min_epi32(_mm_max_epi32(x, low), high)
}

/// [`crate::activation::sigmoid`]
#[inline]
#[target_feature(enable = "avx2")]
fn sigmoid(x: __m128i) -> __m128i {
    let twice = _mm_add_epi32(
        _mm_sign_epi32(tanh_magnitude(x), x),
        _mm_set1_epi32(65536 + 2),
    );
    _mm_min_epi32(_mm_srai_epi32::<2>(twice), _mm_set1_epi32(i16::MAX.into()))
}

/// [`crate::activation::tanh`]
#[inline]
#[target_feature(enable = "avx2")]
fn tanh(x: __m128i) -> __m128i {
    let y = saturate(_mm_add_epi32(x, x));
    let magnitude = _mm_add_epi32(tanh_magnitude(y), _mm_set1_epi32(1));
    let magnitude = _mm_min_epi32(
        _mm_srli_epi32::<1>(magnitude),
        _mm_set1_epi32(i16::MAX.into()),
    );
    _mm_sign_epi32(magnitude, y)
}

/// `65536 * tanh(|y|)` for y in Q3.12 of 16 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn tanh_magnitude(y: __m128i) -> __m128i {
    let y = _mm_abs_epi32(y);
    let index = _mm_srli_epi32::<6>(y);
    // SAFETY: y is at most 2^15, so an index is at most 512; the table has one entry more after it.
    let both = unsafe { _mm_i32gather_epi32::<2>(TANH.as_ptr().cast(), index) };
    let low = _mm_and_si128(both, _mm_set1_epi32(0xffff));
    let rise = _mm_sub_epi32(_mm_srli_epi32::<16>(both), low);
    let rise = _mm_mullo_epi32(rise, _mm_and_si128(y, _mm_set1_epi32(63)));
    _mm_add_epi32(
        low,
        _mm_srli_epi32::<6>(_mm_add_epi32(rise, _mm_set1_epi32(32))),
    )
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

    #[test]
    fn gates_are_the_portable_ones() {
        use rand_core::Rng;
        let mut rng = rand_pcg::Pcg32::new(11, 11);
        let mut random = |bits: u32| (rng.next_u32() as i32) >> (32 - bits);
        for round in 0..20_000 {
            // From sums that saturate everywhere to such as trained networks have.
            let bits = 20 + round % 11;
            let mut records = [0u32; RECORDS];
            for (index, word) in records.iter_mut().enumerate() {
                *word = match index / ROWS {
                    1 | 4 | 7 => {
                        (random(14).unsigned_abs() * 2).min(16_383) | (round / 11 % 20) << 27
                    }
                    2 | 5 | 9 => random(14) as u32,
                    _ => random(bits) as u32,
                };
            }
            let token = core::array::from_fn(|_| random(8) as i8);
            let products = core::array::from_fn(|_| core::array::from_fn(|_| random(bits)));
            let old = core::array::from_fn(|_| random(16) as i16);
            let (mut expected, mut found) = ([0; ROWS], [0; ROWS]);
            gates_portable(&records, &token, &products, &old, &mut expected);
            gates(&records, &token, &products, &old, &mut found);
            assert_eq!(
                found, expected,
                "{records:?} {token:?} {products:?} {old:?}"
            );
        }
    }
}

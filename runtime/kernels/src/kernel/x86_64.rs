//! The kernels of x86-64: AVX2 where the processor has it, else SSE2, which each of them has.
#![allow(unsafe_code)]

pub use super::portable::{largest, walk};
use super::{GROUP, ROWS, grouped_words, in_threes};
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

/// Adds to the accumulators the products with blocks of 4 bits, each of [`grouped_words`] of as many columns as there are
/// activations, a multiple of 4 and not 0.
pub(super) fn add_grouped(weights: &[u32], pairs: &[u32], accumulators: &mut [[i32; ROWS]]) {
    if avx2_here::get() {
        // SAFETY: the processor has AVX2.
        unsafe { grouped_avx2(weights, pairs, accumulators) }
    } else {
        // SAFETY: SSE2 is a part of x86-64.
        unsafe { grouped_sse2(weights, pairs, accumulators) }
    }
}

#[target_feature(enable = "avx2")]
fn grouped_avx2(weights: &[u32], pairs: &[u32], accumulators: &mut [[i32; ROWS]]) {
    in_threes(
        weights,
        grouped_words(2 * pairs.len()),
        accumulators,
        |weights, out| grouped_blocks(weights, pairs, out),
        |weights, out| grouped_blocks(weights, pairs, out),
    );
}

/// `N` blocks of 4 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn grouped_blocks<const N: usize>(
    weights: &[u32],
    pairs: &[u32],
    accumulators: &mut [[i32; ROWS]; N],
) {
    let words = grouped_words(2 * pairs.len());
    assert!(weights.len() == N * words);
    // Lanes: the four rows, twice.
    let mut totals = [_mm256_setzero_si256(); N];
    for (index, x) in pairs.chunks(GROUP / 2).enumerate() {
        let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        let there = |half: i32| _mm256_cmpgt_epi32(_mm256_set1_epi32(x.len() as i32 - half), lanes);
        let there = [there(0), there(8)];
        let load = |from: *const u32| {
            let halves = [from.cast(), from.wrapping_add(8).cast()];
            if x.len() == GROUP / 2 {
                // SAFETY: a whole group is 16 pairs, and 16 words of weights.
                halves.map(|half| unsafe { _mm256_loadu_si256(half) })
            } else {
                // SAFETY: reads as many words as the group has.
                [0, 1].map(|n| unsafe { _mm256_maskload_epi32(halves[n].cast(), there[n]) })
            }
        };
        let x = load(x.as_ptr());
        let sum = |words: [__m256i; 2]| {
            let [first, second] = [0, 1].map(|half| _mm256_madd_epi16(words[half], x[half]));
            _mm256_add_epi32(first, second)
        };
        let all = sum([_mm256_set1_epi16(8); 2]);
        let offset = by_lanes([all, all, all, _mm256_setzero_si256()]);
        for (block, total) in totals.iter_mut().enumerate() {
            let group = &weights[block * words + index * (1 + GROUP / 2)..];
            let words = load(group[1..].as_ptr());
            let sums = by_lanes([
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
        let halves = [
            _mm256_castsi256_si128(total),
            _mm256_extracti128_si256::<1>(total),
        ];
        add_to(out, _mm_add_epi32(halves[0], halves[1]));
    }
}

/// Sums that each stand in the lanes of a vector: each in a lane, twice, in two parts.
#[inline]
#[target_feature(enable = "avx2")]
fn by_lanes([a, b, c, d]: [__m256i; 4]) -> __m256i {
    let two = |a, b| _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
    let (ab, cd) = (two(a, b), two(c, d));
    _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd))
}

#[target_feature(enable = "sse2")]
fn grouped_sse2(weights: &[u32], pairs: &[u32], accumulators: &mut [[i32; ROWS]]) {
    let words = grouped_words(2 * pairs.len());
    for (block, out) in weights.chunks_exact(words).zip(accumulators) {
        let mut total = _mm_setzero_si128();
        let groups = block.chunks(1 + GROUP / 2);
        for (group, x) in groups.zip(pairs.chunks(GROUP / 2)) {
            let Some((&scales, words)) = group.split_first() else {
                return;
            };
            let (fours, rest) = words.as_chunks::<4>();
            let (x_fours, x_rest) = x.as_chunks::<4>();
            // P_0 to P_3, and 8 times the activations.
            let mut sums = [_mm_setzero_si128(); 5];
            for (&words, &x) in fours.iter().zip(x_fours) {
                add_group(&mut sums, vector(words), vector(x));
            }
            if let (&[v, w], &[p, q]) = (rest, x_rest) {
                add_group(&mut sums, vector([v, w, 0, 0]), vector([p, q, 0, 0]));
            }
            let [a, b, c, d, all] = sums;
            let sums = by_lanes_sse2([a, b, c, d]);
            let offset = by_lanes_sse2([all, all, all, _mm_setzero_si128()]);
            let above = _mm_slli_epi32::<4>(_mm_bsrli_si128::<4>(sums));
            let rows = _mm_sub_epi32(_mm_sub_epi32(sums, offset), above);
            let [a, b, c, d] = scales.to_le_bytes().map(u32::from);
            total = _mm_add_epi32(total, multiply(rows, vector([a, b, c, d])));
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

/// Sums that each stand in the lanes of a vector: each in a lane.
#[inline]
#[target_feature(enable = "sse2")]
fn by_lanes_sse2([a, b, c, d]: [__m128i; 4]) -> __m128i {
    let two = |a, b| _mm_add_epi32(_mm_unpacklo_epi32(a, b), _mm_unpackhi_epi32(a, b));
    let (ab, cd) = (two(a, b), two(c, d));
    _mm_add_epi32(_mm_unpacklo_epi64(ab, cd), _mm_unpackhi_epi64(ab, cd))
}

/// Lane by lane, the lower 32 bits.
#[inline]
#[target_feature(enable = "sse2")]
fn multiply(a: __m128i, b: __m128i) -> __m128i {
    let odd = |v| _mm_srli_epi64::<32>(v);
    let products = [_mm_mul_epu32(a, b), _mm_mul_epu32(odd(a), odd(b))];
    let [even, odd] = products.map(|v| _mm_shuffle_epi32::<0b1000>(v));
    _mm_unpacklo_epi32(even, odd)
}

/// Adds four lanes to four rows.
#[inline]
#[target_feature(enable = "sse2")]
fn add_to(out: &mut [i32; ROWS], lanes: __m128i) {
    let sum = _mm_add_epi32(vector(out.map(|x| x as u32)), lanes);
    // SAFETY: `out` is 16 bytes.
    unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), sum) };
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
    use crate::kernel::{groups::tests::compare as compare_grouped, tests::compare};

    #[test]
    fn every_kernel_of_this_processor_gives_the_portable_bits() {
        // SAFETY: SSE2 is a part of x86-64.
        compare(|w, x, c, out| unsafe { sse2(w, x, c, out) });
        if avx2_here::get() {
            // SAFETY: the processor has AVX2.
            compare(|w, x, c, out| unsafe { avx2(w, x, c, out) });
        }
        // SAFETY: as above.
        compare_grouped(|w, x, out| unsafe { grouped_sse2(w, x, out) });
        if avx2_here::get() {
            // SAFETY: as above.
            compare_grouped(|w, x, out| unsafe { grouped_avx2(w, x, out) });
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

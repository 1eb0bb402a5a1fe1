//! The kernel of 64-bit ARM in NEON, which every one that runs an operating system has.
#![allow(unsafe_code)]

pub use super::portable::{gates, largest, walk};
use super::{GROUP, ROWS, grouped_words, in_threes};
use core::arch::aarch64::*;

pub(super) fn name() -> &'static str {
    "aarch64 NEON"
}

/// Writes the accumulators of blocks of as many words as there are activations, a multiple of 4 and not 0.
pub(super) fn products(
    weights: &[u32],
    pairs: &[u32],
    correction: i32,
    accumulators: &mut [[i32; ROWS]],
) {
    // SAFETY: this module is for programs with NEON.
    unsafe { kernel(weights, pairs, correction, accumulators) }
}

#[target_feature(enable = "neon")]
fn kernel(weights: &[u32], pairs: &[u32], correction: i32, accumulators: &mut [[i32; ROWS]]) {
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
#[target_feature(enable = "neon")]
fn blocks<const N: usize>(
    weights: &[u32],
    pairs: &[u32],
    correction: i32,
    accumulators: &mut [[i32; ROWS]; N],
) {
    let words = 2 * pairs.len();
    assert!(weights.len() == N * words);
    // Lanes: rows 0 and 1 in even columns, in odd ones; rows 2 and 3 likewise.
    let mut sums = [[vdupq_n_s32(0); 2]; N];
    for (index, x) in pairs.as_chunks::<2>().0.iter().enumerate() {
        // SAFETY: x is 8 bytes.
        let x = unsafe { vld1_u32(x.as_ptr()) };
        let x = vcombine_u32(vdup_lane_u32::<0>(x), vdup_lane_u32::<1>(x));
        for (block, sums) in sums.iter_mut().enumerate() {
            // SAFETY: two pairs have 4 of a block's `words`, and there are `N` blocks.
            let weights = unsafe { vld1q_u32(weights.as_ptr().add(block * words + 4 * index)) };
            add(
                sums,
                vreinterpretq_s16_u32(weights),
                vreinterpretq_s16_u32(x),
            );
        }
    }
    for (out, [s, b]) in accumulators.iter_mut().zip(sums) {
        let odd = vpaddq_s32(b, b);
        let even = vsubq_s32(vpaddq_s32(s, s), vshlq_n_s32::<8>(odd));
        let rows = vzip1q_s32(vsubq_s32(even, vdupq_n_s32(correction)), odd);
        // SAFETY: `out` is 16 bytes.
        unsafe { vst1q_s32(out.as_mut_ptr(), rows) };
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn add([s, b]: &mut [int32x4_t; 2], weights: int16x8_t, x: int16x8_t) {
    let low = vget_low_s16(x);
    let high_bytes = vshrq_n_s16::<8>(weights);
    *s = vmlal_high_s16(vmlal_s16(*s, vget_low_s16(weights), low), weights, x);
    *b = vmlal_high_s16(vmlal_s16(*b, vget_low_s16(high_bytes), low), high_bytes, x);
}

/// Adds to the accumulators the products with blocks of 4 bits, each of [`grouped_words`] of as many columns as there are
/// activations, a multiple of 4 and not 0.
pub(super) fn add_grouped(weights: &[u32], pairs: &[u32], accumulators: &mut [[i32; ROWS]]) {
    // SAFETY: this module is for programs with NEON.
    unsafe { grouped_kernel(weights, pairs, accumulators) }
}

#[target_feature(enable = "neon")]
fn grouped_kernel(weights: &[u32], pairs: &[u32], accumulators: &mut [[i32; ROWS]]) {
    let words = grouped_words(2 * pairs.len());
    for (block, out) in weights.chunks_exact(words).zip(accumulators) {
        // SAFETY: `out` is 16 bytes.
        let mut total = unsafe { vld1q_s32(out.as_ptr()) };
        let groups = block.chunks(1 + GROUP / 2);
        for (group, x) in groups.zip(pairs.chunks(GROUP / 2)) {
            let Some((&scales, words)) = group.split_first() else {
                return;
            };
            // P_0 to P_3, and 8 times the activations.
            let mut sums = [vdupq_n_s32(0); 5];
            let (fours, rest) = words.as_chunks::<4>();
            let (x_fours, x_rest) = x.as_chunks::<4>();
            for (words, x) in fours.iter().zip(x_fours) {
                add_group(&mut sums, vector(words), vector(x));
            }
            if let (&[v, w], &[p, q]) = (rest, x_rest) {
                add_group(&mut sums, vector(&[v, w, 0, 0]), vector(&[p, q, 0, 0]));
            }
            let [p0, p1, p2, p3, all] = sums;
            let none = vdupq_n_s32(0);
            let sums = vpaddq_s32(vpaddq_s32(p0, p1), vpaddq_s32(p2, p3));
            let offset = vpaddq_s32(vpaddq_s32(all, all), vpaddq_s32(all, none));
            let above = vshlq_n_s32::<4>(vextq_s32::<1>(sums, none));
            let rows = vsubq_s32(vsubq_s32(sums, offset), above);
            let scales = vmovl_u8(vcreate_u8(scales.into()));
            let scales = vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(scales)));
            total = vmlaq_s32(total, rows, scales);
        }
        // SAFETY: as above.
        unsafe { vst1q_s32(out.as_mut_ptr(), total) };
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn vector(words: &[u32; 4]) -> int16x8_t {
    // SAFETY: `words` is 16 bytes.
    vreinterpretq_s16_u32(unsafe { vld1q_u32(words.as_ptr()) })
}

#[inline]
#[target_feature(enable = "neon")]
fn add_group(sums: &mut [int32x4_t; 5], words: int16x8_t, x: int16x8_t) {
    let factors = [
        words,
        vshrq_n_s16::<4>(words),
        vshrq_n_s16::<8>(words),
        vshrq_n_s16::<12>(words),
        vdupq_n_s16(8),
    ];
    for (sum, factor) in sums.iter_mut().zip(factors) {
        let low = vmlal_s16(*sum, vget_low_s16(factor), vget_low_s16(x));
        *sum = vmlal_high_s16(low, factor, x);
    }
}

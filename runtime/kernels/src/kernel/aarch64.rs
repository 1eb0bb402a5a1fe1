//! The kernel of 64-bit ARM in NEON, which every one that runs an operating system has.
#![allow(unsafe_code)]

pub(super) use super::groups::add_grouped;
pub use super::portable::{gates, largest, walk};
use super::{ROWS, in_threes};
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

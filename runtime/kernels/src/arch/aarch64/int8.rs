//! int8 weights.

use crate::arch::panels::{for_each_three_panels, num_panels};
use crate::packed::PackedActivations;
use core::arch::aarch64::*;

/// [`crate::generic::gemv_int8`]
pub fn gemv_int8(weights: &[u32], x: &PackedActivations, accumulators: &mut [[i32; 4]]) {
    let count = num_panels(weights, x.num_columns(), accumulators);
    if x.pairs.is_empty() {
        return;
    }
    // SAFETY: `build.rs` chooses this module for targets with NEON.
    unsafe { gemv_int8_neon(weights, x, &mut accumulators[..count]) }
}

#[target_feature(enable = "neon")]
fn gemv_int8_neon(weights: &[u32], x: &PackedActivations, accumulators: &mut [[i32; 4]]) {
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
#[target_feature(enable = "neon")]
fn panels<const N: usize>(
    weights: &[u32],
    x: &PackedActivations,
    accumulators: &mut [[i32; 4]; N],
) {
    let panel_len = x.num_columns();
    assert!(weights.len() == N * panel_len);
    // Lanes: rows 0 and 1 in even columns, in odd ones; rows 2 and 3 likewise.
    let mut sums = [[vdupq_n_s32(0); 2]; N];
    for (index, pairs) in x.pairs.iter().enumerate() {
        // SAFETY: two pairs are 8 bytes.
        let pairs = unsafe { vld1_u32(pairs.as_ptr()) };
        let pairs = vcombine_u32(vdup_lane_u32::<0>(pairs), vdup_lane_u32::<1>(pairs));
        for (panel, sums) in sums.iter_mut().enumerate() {
            // SAFETY: two pairs have 4 of a panel's words, and there are `N` panels.
            let weights = unsafe { vld1q_u32(weights.as_ptr().add(panel * panel_len + 4 * index)) };
            add_products(
                sums,
                vreinterpretq_s16_u32(weights),
                vreinterpretq_s16_u32(pairs),
            );
        }
    }
    let correction = vdupq_n_s32(x.zero_point_correction);
    for (out, [s, b]) in accumulators.iter_mut().zip(sums) {
        let odd = vpaddq_s32(b, b);
        let even = vsubq_s32(vpaddq_s32(s, s), vshlq_n_s32::<8>(odd));
        let rows = vzip1q_s32(vsubq_s32(even, correction), odd);
        // SAFETY: `out` is 16 bytes.
        unsafe { vst1q_s32(out.as_mut_ptr(), rows) };
    }
}

/// Adds the products with the halfwords to S and those with the high bytes to B.
#[inline]
#[target_feature(enable = "neon")]
fn add_products([s, b]: &mut [int32x4_t; 2], weights: int16x8_t, x: int16x8_t) {
    let low = vget_low_s16(x);
    let high_bytes = vshrq_n_s16::<8>(weights);
    *s = vmlal_high_s16(vmlal_s16(*s, vget_low_s16(weights), low), weights, x);
    *b = vmlal_high_s16(vmlal_s16(*b, vget_low_s16(high_bytes), low), high_bytes, x);
}

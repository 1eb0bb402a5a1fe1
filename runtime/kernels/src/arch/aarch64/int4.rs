//! int4 weights.

use crate::arch::panels::num_panels;
use crate::packed::{GROUP_SIZE, PackedActivations, WeightFormat, int4_groups};
use core::arch::aarch64::*;

/// [`crate::generic::gemv_int4`]
pub fn gemv_int4(weights: &[u32], x: &PackedActivations, accumulators: &mut [[i32; 4]]) {
    let panel_len = WeightFormat::Int4.panel_len(x.num_columns());
    let count = num_panels(weights, panel_len, accumulators);
    if x.pairs.is_empty() {
        return;
    }
    // SAFETY: `build.rs` chooses this module for targets with NEON.
    unsafe { gemv_int4_neon(weights, x, &mut accumulators[..count]) }
}

#[target_feature(enable = "neon")]
fn gemv_int4_neon(weights: &[u32], x: &PackedActivations, accumulators: &mut [[i32; 4]]) {
    let panel_len = WeightFormat::Int4.panel_len(x.num_columns());
    for (panel, out) in weights.chunks_exact(panel_len).zip(accumulators) {
        // SAFETY: `out` is 16 bytes.
        let mut total = unsafe { vld1q_s32(out.as_ptr()) };
        let pairs = x.pairs.as_flattened().chunks(GROUP_SIZE / 2);
        for ((scales, words), x) in int4_groups(panel).zip(pairs) {
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

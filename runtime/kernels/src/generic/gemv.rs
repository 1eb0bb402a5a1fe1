//! The matrix-vector product: int8 or int4 weights times int16 activations, int32 accumulators modulo 2^32.

use crate::packed::{
    GROUP_SIZE, PANEL_ROWS, PackedActivations, WeightFormat, int4_groups, int4_weight, panels,
};

/// Writes the accumulators of consecutive int8 panels, each of [`WeightFormat::Int8`](crate::packed::WeightFormat) over the
/// columns of `x`: as many panels as there are both weights and accumulators for.
///
/// ```
/// use pipsqueak_kernels::packed::{I16x4, PackedActivations, pack_int8};
/// use pipsqueak_kernels::{dispatch, generic};
///
/// let x = [I16x4([100, -200, 300, -400])];
/// let x = PackedActivations::new(&x);
/// let panel: Vec<u32> =
///     pack_int8(&[[1, 2, 3, 4], [5, 6, 7, 8], [-1, -2, -3, -4], [-5, -6, -7, -8]]).collect();
/// let (mut expected, mut found) = ([[0; 4]], [[0; 4]]);
/// generic::gemv_int8(&panel, &x, &mut expected);
/// assert_eq!(expected, [[800, 800, 800, 800]]);
/// dispatch::gemv_int8(&panel, &x, &mut found);
/// assert_eq!(found, expected);
/// ```
pub fn gemv_int8(weights: &[u32], x: &PackedActivations, accumulators: &mut [[i32; PANEL_ROWS]]) {
    for (accumulator, panel) in accumulators
        .iter_mut()
        .zip(panels(weights, x.num_columns()))
    {
        *accumulator = panel_dot(panel, x);
    }
}

fn panel_dot(panel: &[u32], x: &PackedActivations) -> [i32; PANEL_ROWS] {
    let (mut s01, mut b01, mut s23, mut b23) = (0i32, 0i32, 0i32, 0i32);
    let pairs = x.pairs.as_flattened().iter();
    for (&[rows_01, rows_23], &pair) in panel.as_chunks::<2>().0.iter().zip(pairs) {
        // i8 * i16 and i16 * i16 fit; only the sums wrap.
        let first = |word: u32| i32::from(word as i16);
        let second = |word: u32| (word as i32) >> 16;
        let first_odd = |word: u32| i32::from(word as i16 >> 8);
        let second_odd = |word: u32| (word as i32) >> 24;
        let (x0, x1) = (first(pair), second(pair));
        s01 = s01
            .wrapping_add(first(rows_01).wrapping_mul(x0))
            .wrapping_add(second(rows_01).wrapping_mul(x1));
        b01 = b01
            .wrapping_add(first_odd(rows_01).wrapping_mul(x0))
            .wrapping_add(second_odd(rows_01).wrapping_mul(x1));
        s23 = s23
            .wrapping_add(first(rows_23).wrapping_mul(x0))
            .wrapping_add(second(rows_23).wrapping_mul(x1));
        b23 = b23
            .wrapping_add(first_odd(rows_23).wrapping_mul(x0))
            .wrapping_add(second_odd(rows_23).wrapping_mul(x1));
    }
    let even = |s: i32, b: i32| {
        s.wrapping_sub(b.wrapping_shl(8))
            .wrapping_sub(x.zero_point_correction)
    };
    [even(s01, b01), b01, even(s23, b23), b23]
}

/// Adds to the accumulators the products with consecutive int4 panels, each of
/// [`WeightFormat::Int4`](crate::packed::WeightFormat) over the columns of `x`: as many panels as there are both weights and
/// accumulators for.
///
/// ```
/// use pipsqueak_kernels::packed::{I16x4, PackedActivations, pack_int4};
/// use pipsqueak_kernels::{dispatch, generic};
///
/// let x = [I16x4([100, -200, 300, -400])];
/// let x = PackedActivations::new(&x);
/// let columns = [[1, 2, 3, 4], [5, 6, 7, -8], [-1, -2, -3, -4], [-5, -6, -7, -8]];
/// let panel: Vec<u32> = pack_int4(&columns, &[[1, 2, 3, 10]]).collect();
/// let (mut expected, mut found) = ([[5; 4]], [[5; 4]]);
/// generic::gemv_int4(&panel, &x, &mut expected);
/// assert_eq!(expected, [[805, 1605, 2405, 40005]]);
/// dispatch::gemv_int4(&panel, &x, &mut found);
/// assert_eq!(found, expected);
/// ```
pub fn gemv_int4(weights: &[u32], x: &PackedActivations, accumulators: &mut [[i32; PANEL_ROWS]]) {
    let panel_len = WeightFormat::Int4.panel_len(x.num_columns());
    for (accumulator, panel) in accumulators.iter_mut().zip(panels(weights, panel_len)) {
        let groups = int4_groups(panel).zip(x.pairs.chunks(GROUP_SIZE / 4));
        for ((scales, words), pairs) in groups {
            let scales = scales.to_le_bytes();
            for (row, accumulator) in accumulator.iter_mut().enumerate() {
                let mut sum = 0i32;
                for (&word, &pair) in words.iter().zip(pairs.as_flattened()) {
                    let [w0, w1] = [word, word >> 16].map(|half| i32::from(int4_weight(half, row)));
                    sum += w0 * i32::from(pair as i16) + w1 * (pair as i32 >> 16);
                }
                let product = i32::from(scales[row]).wrapping_mul(sum);
                *accumulator = accumulator.wrapping_add(product);
            }
        }
    }
}

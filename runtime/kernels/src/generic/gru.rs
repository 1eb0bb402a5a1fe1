//! The gates of a GRU.

use crate::activation::{sigmoid, tanh};
use crate::fixed::{
    CANDIDATE_FRAC_BITS, PRE_ACTIVATION_FRAC_BITS, rounding_shift_right, saturate_i16,
};
use crate::packed::{GruParams, I16x4, PANEL_ROWS};

/// Computes the next hidden state of four units of a GRU that reads gate rows and resets after.
///
/// `gate_row` has the token's values of z, r and n, four each. `products` are the recurrent products of z, r and n. `h` is the
/// hidden state, Q15.
#[inline(always)]
pub fn gru_gates(
    params: &GruParams,
    gate_row: &[[i8; PANEL_ROWS]; 3],
    products: &[[i32; PANEL_ROWS]; 3],
    h: &I16x4,
    h_next: &mut I16x4,
) {
    gates(params, gate_row, products, h, h_next, 0);
}

/// As [`gru_gates`] for a hidden state with `15 - state_shift` fraction bits.
#[inline(never)]
pub fn gru_gates_shifted(
    params: &GruParams,
    gate_row: &[[i8; PANEL_ROWS]; 3],
    products: &[[i32; PANEL_ROWS]; 3],
    h: &I16x4,
    h_next: &mut I16x4,
    state_shift: u32,
) {
    gates(params, gate_row, products, h, h_next, state_shift);
}

#[inline(always)]
fn gates(
    params: &GruParams,
    gate_row: &[[i8; PANEL_ROWS]; 3],
    products: &[[i32; PANEL_ROWS]; 3],
    h: &I16x4,
    h_next: &mut I16x4,
    state_shift: u32,
) {
    let GruParams {
        update,
        reset,
        candidate,
    } = params;
    let [z_products, r_products, n_products] = products;
    let [z_tokens, r_tokens, n_tokens] = gate_row;
    for i in 0..PANEL_ROWS {
        let z = update.requantize(i, z_products[i], z_tokens[i]);
        let r = reset.requantize(i, r_products[i], r_tokens[i]);
        let recurrent = candidate.requantize(i, n_products[i]);
        let input = candidate.input_side(i, n_tokens[i]);
        let sum = candidate_sum(input, sigmoid(r as i16), recurrent);
        let n = rounding_shift_right(tanh(sum as i16), state_shift);
        h_next.0[i] = lerp(sigmoid(z as i16), h.0[i], n);
    }
}

/// `input + r * recurrent` in Q4.11; `input` is Q5.26, r Q15, `recurrent` Q4.11.
#[inline(always)]
pub(crate) fn candidate_sum(input: i32, r: i16, recurrent: i32) -> i32 {
    // Q15 times Q4.11 has the candidate's 26 fraction bits; both sides are at most 2^30.
    let sum = input + i32::from(r) * recurrent;
    saturate_i16((sum + (1 << 14)) >> (CANDIDATE_FRAC_BITS - PRE_ACTIVATION_FRAC_BITS)).into()
}

/// `n + z (h - n)`, rounded to nearest; z is Q15. The result is between n and h, so never out of their range.
#[inline(always)]
pub(crate) fn lerp(z: i16, h: i16, n: i16) -> i16 {
    let difference = i32::from(h) - i32::from(n);
    // 32767 * 65535 + 2^14 is below 2^31.
    (i32::from(n) + ((i32::from(z) * difference + (1 << 14)) >> 15)) as i16
}

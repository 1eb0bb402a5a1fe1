//! The accumulator bounds: no sum of a row can leave 32 bits, whatever the activations and the token. They are computed from
//! the weights and never read from the file.

use pipsqueak_kernels::fixed::{
    CANDIDATE_FRAC_BITS, MAX_SHIFT, MULTIPLIER_LIMIT, QuantizedMultiplier,
};
use pipsqueak_kernels::packed::{Gate, GateGroup, GateParams, PANEL_ROWS};

/// Checks every row of a gate group.
///
/// # Errors
/// The first row that is not within the bounds, counted from the group's first.
pub(super) fn check(group: &GateGroup) -> Result<(), u32> {
    for (gate, first) in group.gates().zip((0..).step_by(PANEL_ROWS)) {
        check_gate(&gate).map_err(|row| first + row)?;
    }
    Ok(())
}

fn check_gate(gate: &Gate) -> Result<(), u32> {
    let norms = gate.l1_norms();
    let none = &[0; PANEL_ROWS];
    // What a token adds to the accumulator, and the input side of a candidate with what a token adds to it.
    let (bias, scale, token, input_bias, input_token) = match gate.params {
        GateParams::BiasScale(p) => (&p.bias, &p.scale, none, none, none),
        GateParams::TokenScale(p) => (&p.bias, &p.scale, &p.token_scale, none, none),
        GateParams::CandidateTokenScale(p) => {
            (&p.bias, &p.scale, none, &p.input_bias, &p.token_scale)
        }
    };
    // The reset gate times the hidden side is at most 2^30, and the input side must be, too.
    const INPUT_LIMIT: u32 = 1 << (CANDIDATE_FRAC_BITS + 4);
    for row in 0..PANEL_ROWS {
        // |activation| <= 2^15.
        let sum = bounded_sum(shift_left(norms[row], 15), bias[row], token[row]);
        let input = bounded_sum(0, input_bias[row], input_token[row]);
        if sum > i32::MAX as u32 || input > INPUT_LIMIT || !is_valid(scale[row]) {
            return Err(row as u32);
        }
    }
    Ok(())
}

fn is_valid(scale: QuantizedMultiplier) -> bool {
    scale.multiplier() < MULTIPLIER_LIMIT && scale.shift() <= MAX_SHIFT
}

/// `products + |bias| + |token_scale| * 2^7`, saturated; |token value| <= 2^7.
fn bounded_sum(products: u32, bias: i32, token_scale: i32) -> u32 {
    let token = shift_left(token_scale.unsigned_abs(), 7);
    products
        .saturating_add(bias.unsigned_abs())
        .saturating_add(token)
}

/// `magnitude * 2^bits`; `u32::MAX` for what does not fit 31 bits, which no bound allows.
#[inline(never)]
fn shift_left(magnitude: u32, bits: u32) -> u32 {
    match magnitude >> (31 - bits) {
        0 => magnitude << bits,
        _ => u32::MAX,
    }
}

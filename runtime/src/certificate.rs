//! The range certificate: no sum of an image's rows can leave 32 bits, whatever the activations and the token.

use crate::image::PanelWords;
use pipsqueak_kernels::fixed::{
    CANDIDATE_FRAC_BITS, MAX_SHIFT, MULTIPLIER_LIMIT, QuantizedMultiplier,
};
use pipsqueak_kernels::packed::{Gate, GateParams, PANEL_ROWS};

/// Checks every row of a panel. The error is a row of it.
pub(crate) fn check(panel: &PanelWords) -> Result<(), u32> {
    for (index, gate) in panel.group.gates().enumerate() {
        check_gate(&gate).map_err(|lane| (PANEL_ROWS * index) as u32 + lane)?;
    }
    Ok(())
}

/// Checks four rows; the error is one of them.
fn check_gate(gate: &Gate) -> Result<(), u32> {
    let none = &[0; PANEL_ROWS];
    let (bias, scale, added, input) = match gate.params {
        GateParams::BiasScale(p) => (&p.bias, &p.scale, none, None),
        GateParams::TokenScale(p) => (&p.bias, &p.scale, &p.token_scale, None),
        GateParams::CandidateTokenScale(p) => (
            &p.bias,
            &p.scale,
            none,
            Some((&p.input_bias, &p.token_scale)),
        ),
    };
    for (lane, norm) in gate.l1_norms().into_iter().enumerate() {
        // Magnitudes times a power of two; what leaves 32 bits is too large anyway.
        let times = |magnitude: u32, bits: u32| match magnitude >> (31 - bits) {
            0 => magnitude << bits,
            _ => u32::MAX,
        };
        let mut sum = times(norm, 15).saturating_add(bias[lane].unsigned_abs());
        // A token's value is an i8.
        sum = sum.saturating_add(times(added[lane].unsigned_abs(), 7));
        let scale: QuantizedMultiplier = scale[lane];
        let mut within = sum <= i32::MAX as u32
            && scale.multiplier() < MULTIPLIER_LIMIT
            && scale.shift() <= MAX_SHIFT;
        if let Some((bias, token_scale)) = input {
            // A gate times a pre-activation is at most 2^30, and so must this be.
            let sum = bias[lane].unsigned_abs();
            let sum = sum.saturating_add(times(token_scale[lane].unsigned_abs(), 7));
            within &= sum <= 1 << (CANDIDATE_FRAC_BITS + 4);
        }
        if !within {
            return Err(lane as u32);
        }
    }
    Ok(())
}

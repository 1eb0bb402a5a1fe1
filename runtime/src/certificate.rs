//! The range certificate: no sum of an image's rows can leave 32 bits, whatever the activations and the token.

use crate::image::PanelWords;
use pipsqueak_kernels::fixed::{CANDIDATE_BITS, MAX_SHIFT, MULTIPLIER_END, Scale};
use pipsqueak_kernels::kernel::{ROWS, columns};
use pipsqueak_kernels::rows::Record;

/// Checks every row of a panel. The error is a row of it.
pub(crate) fn check(panel: &PanelWords) -> Result<(), u32> {
    let columns = panel.weights.len() / panel.gates.len().max(1);
    let (mut records, mut weights) = (panel.records, panel.weights);
    for (gate, kind) in panel.gates.iter().enumerate() {
        let record = records.split_off(..kind.words()).unwrap_or_default();
        let weights = weights.split_off(..columns).unwrap_or_default();
        check_gate(record, *kind, weights).map_err(|lane| (ROWS * gate) as u32 + lane)?;
    }
    Ok(())
}

/// Checks four rows; the error is one of them.
fn check_gate(record: &[u32], kind: Record, weights: &[u32]) -> Result<(), u32> {
    // At most 16,384 columns twice over, so a norm fits easily.
    let mut norms = [0u32; ROWS];
    for column in columns(weights) {
        for (norm, weight) in norms.iter_mut().zip(column) {
            *norm += u32::from(weight.unsigned_abs());
        }
    }
    for (lane, norm) in norms.into_iter().enumerate() {
        let of = |quad: usize| record.get(ROWS * quad + lane).copied().unwrap_or(u32::MAX);
        // Magnitudes times a power of two; what leaves 32 bits is too large anyway.
        let times = |magnitude: u32, bits: u32| match magnitude >> (31 - bits) {
            0 => magnitude << bits,
            _ => u32::MAX,
        };
        let magnitude = |quad: usize| (of(quad) as i32).unsigned_abs();
        let mut sum = times(norm, 15).saturating_add(magnitude(0));
        // A token's value is an i8.
        if kind == Record::Token {
            sum = sum.saturating_add(times(magnitude(2), 7));
        }
        let scale = Scale(of(1));
        let mut within = sum <= i32::MAX as u32
            && scale.multiplier() < MULTIPLIER_END
            && scale.shift() <= MAX_SHIFT;
        if kind == Record::Candidate {
            // A gate times a pre-activation is at most 2^30, and so must this be.
            let sum = magnitude(2).saturating_add(times(magnitude(3), 7));
            within &= sum <= 1 << (CANDIDATE_BITS + 4);
        }
        if !within {
            return Err(lane as u32);
        }
    }
    Ok(())
}

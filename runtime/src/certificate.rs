//! The range certificate: no sum of an image's rows can leave 32 bits, whatever the activations and the token.

use crate::image::PanelWords;
use pipsqueak_kernels::fixed::{CANDIDATE_BITS, MAX_SHIFT, MULTIPLIER_END, Scale};
use pipsqueak_kernels::kernel::{ROWS, each_weight, grouped_columns};
use pipsqueak_kernels::rows::{Bits, Record};

/// Checks every row of a panel. The error is a row of it.
pub(crate) fn check(panel: &PanelWords) -> Result<(), u32> {
    let mut records = panel.records;
    for (gate, kind) in panel.gates.iter().enumerate() {
        let record = records.split_off(..kind.words()).unwrap_or_default();
        let blocks = panel.columns.blocks(panel.weights, panel.gates.len(), gate);
        let norms = norms(panel.columns.bits, blocks);
        check_gate(record, *kind, norms).map_err(|lane| (ROWS * gate) as u32 + lane)?;
    }
    Ok(())
}

/// The sums of the magnitudes of four rows' weights: at most 65,536 columns twice over of 255 times 8, or a fourth of them of
/// 255 times 128, so they fit easily.
fn norms(bits: Bits, blocks: [&[u32]; 2]) -> [u32; ROWS] {
    match bits {
        Bits::Eight => eight_norms(blocks[0]),
        Bits::Four => grouped_norms([0; ROWS], &blocks),
        Bits::Mixed => mixed_norms(blocks),
    }
}

/// Those of rows of 8 bits.
fn eight_norms(block: &[u32]) -> [u32; ROWS] {
    core::array::from_fn(|lane| {
        let mut norm = 0;
        each_weight(block, lane, |weight| {
            norm += u32::from(weight.unsigned_abs())
        });
        norm
    })
}

/// Rows of 8 bits over the input, times their scales, and groups over the state.
#[inline(never)]
fn mixed_norms([input, state]: [&[u32]; 2]) -> [u32; ROWS] {
    let (scales, input) = input.split_first().unwrap_or((&0, &[]));
    let norms = eight_norms(input);
    let scales = scales.to_le_bytes();
    let norms = core::array::from_fn(|row| u32::from(scales[row]) * norms[row]);
    grouped_norms(norms, &[state])
}

/// What groups add to `norms`. A function of its own: what walks groups takes stack.
#[inline(never)]
fn grouped_norms(mut norms: [u32; ROWS], blocks: &[&[u32]]) -> [u32; ROWS] {
    for block in blocks {
        grouped_columns(block).for_each(|column| {
            for (norm, weight) in norms.iter_mut().zip(column) {
                *norm += u32::from(weight.unsigned_abs());
            }
        });
    }
    norms
}

/// Checks four rows; the error is one of them.
fn check_gate(record: &[u32], kind: Record, norms: [u32; ROWS]) -> Result<(), u32> {
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

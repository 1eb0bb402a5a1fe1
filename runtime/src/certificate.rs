//! The range certificate: no sum of an image's rows can leave 32 bits, whatever the activations and the token.

use pipsqueak_kernels::fixed::{CANDIDATE_BITS, MAX_SHIFT, MULTIPLIER_END, Scale};
use pipsqueak_kernels::kernel::{ROWS, columns};
use pipsqueak_kernels::rows::{Over, Panel, Record};

/// Checks `words`, which are `panels`. The error is a row, in the order of the image.
pub(crate) fn check(
    mut words: &[u32],
    panels: impl Iterator<Item = Panel>,
    width: impl Fn(Over) -> usize,
) -> Result<(), u32> {
    let mut row = 0;
    for panel in panels {
        let (mut records, mut rest) = words
            .split_at_checked(panel.record_words())
            .unwrap_or_default();
        for (_, kind) in panel.gates {
            let (record, more) = records.split_at_checked(kind.words()).unwrap_or_default();
            let (weights, after) = rest
                .split_at_checked(width(panel.over))
                .unwrap_or_default();
            (records, rest) = (more, after);
            check_gate(record, *kind, weights).map_err(|lane| row + lane)?;
            row += ROWS as u32;
        }
        words = rest;
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
    let quads = record.as_chunks::<ROWS>().0;
    for (lane, norm) in norms.into_iter().enumerate() {
        let of = |quad: usize| quads.get(quad).map_or(u32::MAX, |quad| quad[lane]);
        let magnitude = |quad: usize| u64::from((of(quad) as i32).unsigned_abs());
        // A token's value is an i8.
        let mut sum = (u64::from(norm) << 15) + magnitude(0);
        if kind == Record::Token {
            sum += magnitude(2) << 7;
        }
        let scale = Scale(of(1));
        let mut within = sum <= i32::MAX as u64
            && scale.multiplier() < MULTIPLIER_END
            && scale.shift() <= MAX_SHIFT;
        if kind == Record::Candidate {
            // A gate times a pre-activation is at most 2^30, and so must this be.
            within &= magnitude(2) + (magnitude(3) << 7) <= 1 << (CANDIDATE_BITS + 4);
        }
        if !within {
            return Err(lane as u32);
        }
    }
    Ok(())
}

//! What sampling asks of a core: the largest logit, and a search along the softmax weights.

use crate::activation::exp2_neg;

/// The softmax weight of a logit, `2^-(d * inverse_temperature * 2^-shift)`, d being its distance below the largest logit.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct SoftmaxTerm {
    /// The largest logit.
    pub max: i32,
    /// What distances are multiplied by.
    pub inverse_temperature: u32,
    /// Bits right from distance times inverse temperature to the exponent in Q16, below 32.
    pub shift: u32,
    /// Bits right from 25 fraction bits to a weight's, below 32.
    pub weight_shift: u32,
}

/// Inverse-CDF search: subtracts the logits' softmax weights from `remaining` in order until one is larger than it.
/// Returns the index of that logit and the rest of `remaining`. If no weight is larger, the index is `logits.len()`.
///
/// Logits `cutoff` or more below the largest one weigh 0. No exponent below the cutoff may reach 2^21, 32 in Q16.
// Out of line, which keeps the loop in registers.
#[inline(never)]
pub fn cumulative_search(
    term: &SoftmaxTerm,
    logits: &[i16],
    cutoff: u32,
    mut remaining: u32,
) -> (usize, u32) {
    for (index, &logit) in logits.iter().enumerate() {
        let distance = (term.max - i32::from(logit)) as u32;
        if distance < cutoff {
            let exponent = distance.wrapping_mul(term.inverse_temperature) >> (term.shift & 31);
            let half = 1 << (term.weight_shift & 31) >> 1;
            let weight = (exp2_neg(exponent) + half) >> (term.weight_shift & 31);
            match remaining.checked_sub(weight) {
                Some(rest) => remaining = rest,
                None => return (index, remaining),
            }
        }
    }
    (logits.len(), remaining)
}

/// Returns the largest logit, or `i16::MIN` if `logits` is empty.
#[inline(always)]
pub fn max_i16(logits: &[[i16; 4]]) -> i32 {
    let logits = logits.as_flattened().iter();
    logits.fold(i16::MIN.into(), |max, &logit| max.max(logit.into()))
}

//! Sampling from the softmax of logits at a temperature, in integers.
//!
//! One pass over the logits finds the largest, one sums the weights by chunks, and only one chunk is searched for the token.
//! A limit to the k largest (top-k) is found by four passes, without sorting.

use crate::dispatch::{self, SoftmaxTerm};

/// The most chunks of which the weights are summed.
const CHUNKS: usize = 8;
/// Exponents from 2^this on, 32 in Q16, weigh nothing.
const CUTOFF_BITS: i32 = 21;

/// The softmax weights of all tokens.
///
/// They have 24 fraction bits, or fewer for more than 128 tokens: their sum stays below 2^32.
#[derive(Clone, Copy, Debug)]
pub struct SoftmaxWeights {
    term: SoftmaxTerm,
    /// Logits this far or more below the largest weigh nothing.
    cutoff: u32,
    /// From this token on, logits one below the cutoff weigh nothing either: of equal logits at the limit of top-k only the first
    /// ones count.
    tie_limit: usize,
}

impl SoftmaxWeights {
    /// The weights `2^-(d * inverse_temperature * 2^-shift)` of `logits`, d being a logit's distance below the largest, the exponent
    /// in Q16; `shift` is below 32. If `top_k` is not 0, only the `top_k` largest logits weigh anything, of equal ones the first.
    #[inline(never)]
    pub fn new(logits: &[i16], inverse_temperature: u16, shift: i32, top_k: usize) -> Self {
        let bits = 31u32.saturating_sub(logits.len().next_power_of_two().trailing_zeros());
        let mut weights = Self {
            term: SoftmaxTerm {
                max: max(logits),
                // What leaves 32 bits here is beyond the cutoff.
                inverse_temperature: u32::from(inverse_temperature) << (-shift).clamp(0, 31),
                shift: shift.clamp(0, 31) as u32,
                weight_shift: 25 - bits.min(24),
            },
            cutoff: cutoff(inverse_temperature.into(), shift),
            tie_limit: usize::MAX,
        };
        if top_k > 0 && top_k < logits.len() {
            weights.apply_top_k(logits, top_k);
        }
        weights
    }

    /// Leaves weight to the `k` largest logits only.
    #[inline(never)]
    fn apply_top_k(&mut self, logits: &[i16], k: usize) {
        // Four bits at a time from the top: the k-th largest starts with `prefix`, and it is the `remaining`-th largest of those
        // that do.
        let (mut prefix, mut remaining) = (0u32, k);
        for shift in [12, 8, 4, 0] {
            let mut counts = [0usize; 16];
            for &logit in logits {
                let digits = u32::from(logit as u16 ^ 0x8000) >> shift;
                if digits >> 4 == prefix {
                    counts[digits as usize % 16] += 1;
                }
            }
            let mut digit = 15;
            while digit > 0 && counts[digit % 16] < remaining {
                remaining -= counts[digit % 16];
                digit -= 1;
            }
            prefix = prefix << 4 | digit as u32;
        }
        let least = (prefix as u16 ^ 0x8000) as i16;
        let distance = (self.term.max - i32::from(least)) as u32;
        if distance < self.cutoff {
            self.cutoff = distance + 1;
            for (token, &logit) in logits.iter().enumerate() {
                if logit == least {
                    remaining -= 1;
                    if remaining == 0 {
                        self.tie_limit = token + 1;
                        return;
                    }
                }
            }
        }
    }

    /// The weight of `token`, which has this logit.
    pub fn weight_of(&self, token: usize, logit: i16) -> u32 {
        u32::MAX - self.search(token, &[logit], u32::MAX).1
    }

    /// Samples a token in proportion to the weights. `logits` are those that the weights are of; `random` is uniform.
    #[inline(never)]
    pub fn sample(&self, logits: &[i16], random: u32) -> u16 {
        let chunk_len = logits.len().div_ceil(CHUNKS).max(16);
        let mut sums = [0u32; CHUNKS];
        let (mut total, mut first) = (0u32, 0);
        for (chunk, sum) in logits.chunks(chunk_len).zip(&mut sums) {
            // No sum of weights is as large, so this search goes to the chunk's end.
            *sum = u32::MAX - self.search(first, chunk, u32::MAX).1;
            total = total.wrapping_add(*sum);
            first += chunk_len;
        }
        let mut remaining = ((u64::from(random) * u64::from(total)) >> 32) as u32;
        first = 0;
        for (chunk, sum) in logits.chunks(chunk_len).zip(&sums) {
            match remaining.checked_sub(*sum) {
                Some(rest) => remaining = rest,
                None => return (first + self.search(first, chunk, remaining).0) as u16,
            }
            first += chunk_len;
        }
        // Reached only without logits: the largest has a weight, so `remaining` is less than the sum of all.
        0
    }

    /// [`dispatch::cumulative_search`] along `logits`, which start at token `first`.
    #[inline(always)]
    fn search(&self, first: usize, logits: &[i16], remaining: u32) -> (usize, u32) {
        if first + logits.len() <= self.tie_limit {
            return dispatch::cumulative_search(&self.term, logits, self.cutoff, remaining);
        }
        self.search_ties(first, logits, remaining)
    }

    /// As [`search`](Self::search) where the tie limit is before the end of `logits`.
    #[inline(never)]
    fn search_ties(&self, first: usize, logits: &[i16], remaining: u32) -> (usize, u32) {
        let ties = self.tie_limit.saturating_sub(first).min(logits.len());
        let (before, after) = logits.split_at(ties);
        let (passed, remaining) =
            dispatch::cumulative_search(&self.term, before, self.cutoff, remaining);
        if passed < before.len() {
            return (passed, remaining);
        }
        let cutoff = self.cutoff.saturating_sub(1);
        let (more, remaining) = dispatch::cumulative_search(&self.term, after, cutoff, remaining);
        (passed + more, remaining)
    }
}

/// The largest of `logits`, four at a time.
fn max(logits: &[i16]) -> i32 {
    let (fours, rest) = logits.as_chunks();
    let max = dispatch::max_i16(fours);
    rest.iter().fold(max, |max, &logit| max.max(logit.into()))
}

/// The smallest distance whose exponent is 2^[`CUTOFF_BITS`] or more, or 2^16 if no i16 can be so far from another.
fn cutoff(inverse_temperature: u32, shift: i32) -> u32 {
    match (
        1u32.checked_shl((CUTOFF_BITS + shift).max(0) as u32),
        inverse_temperature,
    ) {
        (Some(limit), 1..) => (limit - 1) / inverse_temperature + 1,
        _ => 1 << 16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::Rng;
    use rand_pcg::Pcg32;
    use std::vec::Vec;

    #[test]
    fn samples_are_a_search_along_the_weights() {
        let mut rng = Pcg32::new(9, 9);
        for n in [1usize, 2, 15, 16, 17, 65, 129, 3000] {
            for spread in [3u32, 900, 60_000] {
                let logits: Vec<i16> = (0..n)
                    .map(|_| ((rng.next_u32() % spread) as i32 - (spread / 2) as i32) as i16)
                    .collect();
                for (coefficient, shift, top_k) in [
                    (36_000, 3, 0),
                    (36_000, 8, 5),
                    (65_535, -8, 0),
                    (40_000, 20, 40),
                    (0, 0, 1),
                ] {
                    let weights = SoftmaxWeights::new(&logits, coefficient, shift, top_k);
                    let each: Vec<u64> = (0..n)
                        .map(|token| weights.weight_of(token, logits[token]).into())
                        .collect();
                    let total: u64 = each.iter().sum();
                    assert!(total > 0 && total < 1 << 32);
                    for _ in 0..20 {
                        let random = rng.next_u32();
                        let place = (u64::from(random) * total) >> 32;
                        let sum_to = |token: usize| each[..=token].iter().sum::<u64>();
                        let expected = (0..n).find(|&token| sum_to(token) > place).unwrap();
                        assert_eq!(usize::from(weights.sample(&logits, random)), expected);
                    }
                }
            }
        }
    }

    #[test]
    fn the_cutoff_is_the_first_distance_that_weighs_nothing() {
        for coefficient in [1u32, 3, 32_768, 65_535] {
            for shift in -25..31 {
                let exponent = |distance: u32| {
                    let product = u64::from(distance) * u64::from(coefficient);
                    if shift < 0 {
                        product << -shift
                    } else {
                        product >> shift
                    }
                };
                let cutoff = cutoff(coefficient, shift);
                assert!(cutoff >= 1 << 16 || exponent(cutoff) >= 1 << CUTOFF_BITS);
                assert!(exponent(cutoff.min(1 << 16) - 1) < 1 << CUTOFF_BITS);
            }
        }
    }
}

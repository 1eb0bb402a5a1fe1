//! A draw from the softmax of logits at a temperature, in integers.
//!
//! One pass over the logits finds the largest, one sums the weights, and only an eighth is walked again for the token.
//! A limit to the likeliest k is found in four passes, without sorting.

use crate::activation::exp2_negative;
use crate::kernel;

/// The most parts that the weights are summed by.
const PARTS: usize = 8;
/// Exponents from 2^this on, 32 in Q16, weigh nothing.
const END_BITS: i32 = 21;

/// The weight of a logit: `2^-(d * coefficient * 2^-shift)`, d being its distance below the largest.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Weight {
    /// The largest logit.
    pub max: i32,
    /// What distances are multiplied by.
    pub coefficient: u32,
    /// Bits right from distance times coefficient to Q16.
    pub shift: u32,
    /// Bits right from 25 fraction bits to a weight's.
    pub down: u32,
}

impl Weight {
    /// Takes the weights of logits at distances below `end` from `rest` until one is larger: how many logits it passed,
    /// and what is left. Below `end` no exponent may reach 2^21.
    ///
    /// This is the specification of [`kernel::walk`].
    #[inline(always)]
    pub fn walk_portable(&self, logits: &[i16], end: u32, mut rest: u32) -> (usize, u32) {
        for (place, &logit) in logits.iter().enumerate() {
            let distance = (self.max - i32::from(logit)) as u32;
            if distance < end {
                let exponent = distance.wrapping_mul(self.coefficient) >> (self.shift & 31);
                let rounds = 1 << (self.down & 31) >> 1;
                let weight = (exp2_negative(exponent) + rounds) >> (self.down & 31);
                match rest.checked_sub(weight) {
                    Some(below) => rest = below,
                    None => return (place, rest),
                }
            }
        }
        (logits.len(), rest)
    }
}

/// The weights of all tokens.
///
/// They have 24 fraction bits, or fewer for more than 128 tokens: their sum stays below 2^32.
#[derive(Clone, Copy, Debug)]
pub struct Weights {
    weight: Weight,
    /// Distances from this on weigh nothing.
    end: u32,
    /// From this token on also the last one below the end weighs nothing.
    ties_end: usize,
}

impl Weights {
    /// The weights of `logits`, `shift` being below 32, and of the likeliest `top_k` alone unless it is 0.
    ///
    /// Among equal logits the first are the likeliest.
    #[inline(never)]
    pub fn new(logits: &[i16], coefficient: u16, shift: i32, top_k: usize) -> Self {
        let bits = 31u32.saturating_sub(logits.len().next_power_of_two().trailing_zeros());
        let mut weights = Self {
            weight: Weight {
                max: largest(logits),
                // Whatever leaves 32 bits here is beyond the end.
                coefficient: u32::from(coefficient) << (-shift).clamp(0, 31),
                shift: shift.clamp(0, 31) as u32,
                down: 25 - bits.min(24),
            },
            end: end(coefficient.into(), shift),
            ties_end: usize::MAX,
        };
        if top_k > 0 && top_k < logits.len() {
            weights.keep(logits, top_k);
        }
        weights
    }

    /// Leaves weight to the `k` largest logits alone.
    #[inline(never)]
    fn keep(&mut self, logits: &[i16], k: usize) {
        // Four bits at a time from the top: the k-th largest begins with `prefix`, and of those that begin so it is
        // the `left`-th largest.
        let (mut prefix, mut left) = (0u32, k);
        for shift in [12, 8, 4, 0] {
            let mut counts = [0usize; 16];
            for &logit in logits {
                let digits = u32::from(logit as u16 ^ 0x8000) >> shift;
                if digits >> 4 == prefix {
                    counts[digits as usize % 16] += 1;
                }
            }
            let mut digit = 15;
            while digit > 0 && counts[digit % 16] < left {
                left -= counts[digit % 16];
                digit -= 1;
            }
            prefix = prefix << 4 | digit as u32;
        }
        let least = (prefix as u16 ^ 0x8000) as i16;
        let distance = (self.weight.max - i32::from(least)) as u32;
        if distance < self.end {
            self.end = distance + 1;
            for (token, &logit) in logits.iter().enumerate() {
                if logit == least {
                    left -= 1;
                    if left == 0 {
                        self.ties_end = token + 1;
                        return;
                    }
                }
            }
        }
    }

    /// The weight of `token`.
    pub fn of(&self, token: usize, logit: i16) -> u32 {
        u32::MAX - self.walk(token, &[logit], u32::MAX).1
    }

    /// Draws a token of `logits`, for which these weights are, in proportion to them.
    #[inline(never)]
    pub fn draw(&self, logits: &[i16], random: u32) -> u16 {
        let length = logits.len().div_ceil(PARTS).max(16);
        let mut sums = [0u32; PARTS];
        let (mut total, mut first) = (0u32, 0);
        for (part, sum) in logits.chunks(length).zip(&mut sums) {
            // No sum is as large, so this walk is to the part's end.
            *sum = u32::MAX - self.walk(first, part, u32::MAX).1;
            total = total.wrapping_add(*sum);
            first += length;
        }
        let mut rest = ((u64::from(random) * u64::from(total)) >> 32) as u32;
        first = 0;
        for (part, sum) in logits.chunks(length).zip(&sums) {
            match rest.checked_sub(*sum) {
                Some(below) => rest = below,
                None => return (first + self.walk(first, part, rest).0) as u16,
            }
            first += length;
        }
        0
    }

    /// [`kernel::walk`] along `logits`, which begin at token `first`.
    #[inline(always)]
    fn walk(&self, first: usize, logits: &[i16], rest: u32) -> (usize, u32) {
        if first + logits.len() <= self.ties_end {
            return kernel::walk(&self.weight, logits, self.end, rest);
        }
        self.walk_ties(first, logits, rest)
    }

    /// The same where the ties end among `logits` or before them.
    #[inline(never)]
    fn walk_ties(&self, first: usize, logits: &[i16], rest: u32) -> (usize, u32) {
        let ties = self.ties_end.saturating_sub(first);
        let (before, after) = logits.split_at_checked(ties).unwrap_or_default();
        let (passed, rest) = kernel::walk(&self.weight, before, self.end, rest);
        if passed < before.len() {
            return (passed, rest);
        }
        let (more, rest) = kernel::walk(&self.weight, after, self.end.saturating_sub(1), rest);
        (passed + more, rest)
    }
}

/// The largest of `logits`, four at a time.
fn largest(logits: &[i16]) -> i32 {
    let (fours, rest) = logits.as_chunks();
    rest.iter().fold(kernel::largest(fours), larger)
}

#[inline(always)]
fn larger(a: i32, b: &i16) -> i32 {
    a.max(i32::from(*b))
}

/// The specification of [`kernel::largest`]: the largest of all.
#[inline(always)]
pub fn largest_portable(fours: &[[i16; 4]]) -> i32 {
    let least = i32::from(i16::MIN);
    fours
        .iter()
        .fold(least, |max, four| four.iter().fold(max, larger))
}

/// The smallest distance with an exponent of 2^[`END_BITS`] or more, if an i16 can be so far from another.
fn end(coefficient: u32, shift: i32) -> u32 {
    match (
        1u32.checked_shl((END_BITS + shift).max(0) as u32),
        coefficient,
    ) {
        (Some(end), 1..) => (end - 1) / coefficient + 1,
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
    fn draws_are_a_walk_along_the_weights() {
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
                    let weights = Weights::new(&logits, coefficient, shift, top_k);
                    let each: Vec<u64> = (0..n)
                        .map(|token| weights.of(token, logits[token]).into())
                        .collect();
                    let total: u64 = each.iter().sum();
                    assert!(total > 0 && total < 1 << 32);
                    for _ in 0..20 {
                        let random = rng.next_u32();
                        let place = (u64::from(random) * total) >> 32;
                        let sum_to = |token: usize| each[..=token].iter().sum::<u64>();
                        let expected = (0..n).find(|&token| sum_to(token) > place).unwrap();
                        assert_eq!(usize::from(weights.draw(&logits, random)), expected);
                    }
                }
            }
        }
    }

    #[test]
    fn the_end_is_the_first_distance_that_weighs_nothing() {
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
                let end = end(coefficient, shift);
                assert!(end >= 1 << 16 || exponent(end) >= 1 << END_BITS);
                assert!(exponent(end.min(1 << 16) - 1) < 1 << END_BITS);
            }
        }
    }
}

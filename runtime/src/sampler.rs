//! Samples tokens from logits: softmax at a temperature over the most likely tokens, in integers.

use crate::decimal::{DECIMAL_ONE, parse_decimal4};
use crate::format::SpecialTokens;
use crate::message::{Fragment, Message, display};
use core::num::NonZeroU32;
use pipsqueak_kernels::softmax::SoftmaxWeights;
use rand_core::Rng;
use rand_pcg::Pcg32;

/// A softmax temperature: 0 (greedy) or 0.01 to 100, in steps of 1/10,000.
///
/// ```
/// use pipsqueak::Temperature;
/// assert_eq!(Temperature::parse("0.8")?.to_string(), "0.8");
/// assert!(Temperature::parse("warm").is_err());
/// # Ok::<(), pipsqueak::TemperatureError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Temperature {
    /// In units of 1/10,000.
    decimal4: u32,
}

/// A text or a float that is not a [`Temperature`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TemperatureError;

impl Message for TemperatureError {
    fn write_to(&self, out: &mut dyn FnMut(Fragment)) {
        out(Fragment::Text(
            "expected a temperature from 0.01 to 100 with at most 4 decimals, or 0 for greedy",
        ));
    }
}

impl core::fmt::Display for TemperatureError {
    fn fmt(&self, f: &mut core::fmt::Formatter) -> core::fmt::Result {
        display(self, f)
    }
}

impl core::error::Error for TemperatureError {}

impl Temperature {
    /// 0: every sample is the most likely token.
    pub const GREEDY: Self = Self { decimal4: 0 };
    /// 0.8: the default of [`SamplingParams`].
    pub const DEFAULT: Self = Self { decimal4: 8000 };

    /// Parses decimal text with at most four decimals, such as `0.8`, exactly.
    ///
    /// # Errors
    /// If the text is not `0` or a number from 0.01 to 100 in this form.
    pub fn parse(text: &str) -> Result<Self, TemperatureError> {
        parse_decimal4(text)
            .and_then(Self::from_decimal4)
            .ok_or(TemperatureError)
    }

    /// Rounds a float to the nearest temperature.
    ///
    /// A float that was computed may differ between machines by its last bit, and so may the temperature and the samples;
    /// [`parse`](Self::parse) gives the same temperature everywhere.
    ///
    /// # Errors
    /// If the float is not 0 and rounds to no number from 0.01 to 100, or is NaN.
    #[allow(clippy::float_arithmetic, reason = "the input is a float")]
    pub fn from_f32(temperature: f32) -> Result<Self, TemperatureError> {
        let decimal4 = micromath::F32(temperature * DECIMAL_ONE as f32).round().0 as u32;
        // A float so small that it rounds to 0 does not ask for greedy sampling.
        Self::from_decimal4(decimal4)
            .filter(|rounded| *rounded != Self::GREEDY || temperature == 0.0)
            .ok_or(TemperatureError)
    }

    fn from_decimal4(decimal4: u32) -> Option<Self> {
        matches!(decimal4, 0 | 100..=1_000_000).then_some(Self { decimal4 })
    }
}

impl Message for Temperature {
    fn write_to(&self, out: &mut dyn FnMut(Fragment)) {
        out(Fragment::Number(self.decimal4 / DECIMAL_ONE));
        let mut fraction = self.decimal4 % DECIMAL_ONE;
        if fraction > 0 {
            out(Fragment::Text("."));
        }
        while fraction > 0 {
            fraction *= 10;
            out(Fragment::Number(fraction / DECIMAL_ONE));
            fraction %= DECIMAL_ONE;
        }
    }
}

impl core::fmt::Display for Temperature {
    fn fmt(&self, f: &mut core::fmt::Formatter) -> core::fmt::Result {
        display(self, f)
    }
}

/// The parameters of sampling: with the model and the prompt, they determine the generated text on every machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SamplingParams {
    /// Softmax temperature: lower values make likely tokens more likely.
    pub temperature: Temperature,
    /// Number of most likely tokens to sample from; 0 for all.
    pub top_k: u16,
    /// Seed of the random number generator.
    pub seed: u64,
}

impl Default for SamplingParams {
    /// Temperature 0.8, all tokens, seed 42.
    fn default() -> Self {
        Self {
            temperature: Temperature::DEFAULT,
            top_k: 0,
            seed: 42,
        }
    }
}

impl SamplingParams {
    /// Returns the random number generator of these parameters, seeded.
    pub fn rng(&self) -> Pcg32 {
        // The second argument selects one of the sequences of PCG. It is constant: only the seed makes texts differ.
        Pcg32::new(self.seed, u64::from_be_bytes(*b"pipsquea"))
    }
}

/// Returns the index of the largest logit, the first one among equals; 0 if `logits` is empty.
///
/// ```
/// assert_eq!(pipsqueak::argmax(&[1, 5, 5, 2]), 1);
/// ```
pub fn argmax(logits: &[i16]) -> u16 {
    // `max_by_key` returns the last maximum, so the search runs backwards.
    let largest = logits
        .iter()
        .enumerate()
        .rev()
        .max_by_key(|(_, logit)| **logit);
    largest.map_or(0, |(token, _)| token as u16)
}

/// Samples tokens at a temperature from the `top_k` most likely ones.
///
/// The softmax is computed in integers: a token whose logit is `d` below the largest has the weight
/// `exp(-d / T) = 2^(-d * log2(e) / T)` with 24 fraction bits (fewer for vocabularies of more than 128 tokens, so that the
/// sum stays below 2^32). A token is chosen by inverse transform sampling: the first one at which the running sum of weights
/// exceeds a uniform random number times the total (L. Devroye, "Non-Uniform Random Variate Generation", 1986, section III.2).
/// For logits that are not rounded, the total variation distance to the exact softmax is below 1e-4.
///
/// ```
/// use pipsqueak::{Sampler, SamplingParams, Temperature};
/// let sampler = Sampler::new(Temperature::parse("0.8")?, 2);
/// let mut rng = SamplingParams::default().rng();
/// // Logits with 9 fraction bits: 0.0, 2.0 and 1.0. Only the two most likely tokens are sampled.
/// let logits = [0, 2 << 9, 1 << 9];
/// assert!((0..100).all(|_| sampler.sample(&logits, 9, &mut rng) != 0));
/// # Ok::<(), pipsqueak::TemperatureError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Sampler {
    /// The 16 highest bits of `log2(e) / T`, and 0 for greedy.
    inverse_temperature: u16,
    /// Right shift (left if negative) of the product of `inverse_temperature` and a distance without fraction bits, which
    /// gives the exponent in Q16.
    shift: i32,
    /// 0 for all tokens.
    top_k: u16,
}

impl Sampler {
    /// Creates a sampler; a `top_k` of 0 samples from all tokens.
    pub fn new(temperature: Temperature, top_k: u16) -> Self {
        /// `log2(e) * 10^4` in Q40.
        const LOG2_E: u64 = 15_862_599_727_921_870;
        let Some(divisor) = NonZeroU32::new(temperature.decimal4) else {
            return Self {
                inverse_temperature: 0,
                shift: 0,
                top_k,
            };
        };
        // Long division, 12 bits at a time: the divisor is below 2^20, so 32 bits hold each part, and a microcontroller
        // needs no 64-bit division.
        let (mut quotient, mut remainder) = (0u64, 0u32);
        for shift in [48, 36, 24, 12, 0] {
            let part = remainder << 12 | (LOG2_E >> shift) as u32 & 0xfff;
            quotient = quotient << 12 | u64::from(part / divisor);
            remainder = part % divisor;
        }
        // The 16 highest bits of the quotient, which has 40 fraction bits; an exponent in Q16 needs 24 fewer.
        let excess = 48 - quotient.leading_zeros() as i32;
        Self {
            inverse_temperature: (quotient >> excess) as u16,
            shift: 24 - excess,
            top_k,
        }
    }

    /// Samples a token: an index into `logits`, which have `frac_bits` fraction bits, 0 to 15.
    ///
    /// Among equal logits, `top_k` and greedy sampling prefer the first. Takes one u32 from `rng`, or none if the
    /// temperature is 0. Returns 0 if `logits` is empty.
    pub fn sample<R: Rng>(&self, logits: &[i16], frac_bits: u32, rng: &mut R) -> u16 {
        if self.inverse_temperature == 0 {
            return argmax(logits);
        }
        self.softmax(logits, frac_bits)
            .sample(logits, rng.next_u32())
    }

    /// Samples like [`sample`](Self::sample), with BOS, PAD and UNK masked; EOS is not, even if it is also one of these.
    /// Reorders `logits`.
    ///
    /// The last token is never masked if all before it are: there is always a token to return.
    ///
    /// ```
    /// use pipsqueak::SpecialTokens;
    /// use pipsqueak::{Sampler, SamplingParams, Temperature};
    /// let special_tokens = SpecialTokens { pad: Some(1), ..SpecialTokens::default() };
    /// let greedy = Sampler::new(Temperature::GREEDY, 0);
    /// let mut rng = SamplingParams::default().rng();
    /// assert_eq!(greedy.sample_masked(&mut [1, 9, 2], 9, special_tokens, &mut rng), 2);
    /// ```
    #[inline(never)]
    pub fn sample_masked<R: Rng>(
        &self,
        logits: &mut [i16],
        frac_bits: u32,
        special_tokens: SpecialTokens,
        rng: &mut R,
    ) -> u16 {
        // Each masked logit is exchanged with the last unmasked one, which then ends the slice: (masked, last).
        // The pair (0, 0) exchanges nothing.
        let mut exchanges = [(0, 0); 3];
        let mut unmasked = logits;
        let mut previous = None;
        for (exchange, id) in exchanges.iter_mut().zip(masked_descending(special_tokens)) {
            let Some(id) = id else { continue };
            let repeated = previous.replace(id) == Some(id);
            let index = usize::from(id);
            let is_eos = Some(id) == special_tokens.eos;
            if repeated || is_eos || index >= unmasked.len() || unmasked.len() == 1 {
                continue;
            }
            if let Some((last, others)) = core::mem::take(&mut unmasked).split_last_mut() {
                *exchange = (id, others.len() as u16);
                // None if the last logit itself is masked.
                if let Some(masked) = others.get_mut(index) {
                    core::mem::swap(masked, last);
                }
                unmasked = others;
            }
        }
        let mut token = self.sample(unmasked, frac_bits, rng);
        // A logit that was exchanged may have been exchanged again, so the exchanges are undone in reverse order.
        for (masked, last) in exchanges.into_iter().rev() {
            if token == masked {
                token = last;
            }
        }
        token
    }

    /// Returns the weight of each token, unnormalized: [`sample`](Self::sample) returns a token with a probability of its
    /// weight over the sum of all, to within 2^-32. The sum is below 2^32.
    ///
    /// If the temperature is 0, all weights of the `top_k` tokens are equal.
    pub fn weights(&self, logits: &[i16], frac_bits: u32) -> impl Iterator<Item = u32> {
        let weights = self.softmax(logits, frac_bits);
        let weight = move |(token, logit): (usize, &i16)| weights.weight_of(token, *logit);
        logits.iter().enumerate().map(weight)
    }

    fn softmax(&self, logits: &[i16], frac_bits: u32) -> SoftmaxWeights {
        let shift = self.shift + frac_bits as i32;
        SoftmaxWeights::new(logits, self.inverse_temperature, shift, self.top_k.into())
    }
}

/// Returns the tokens that are masked, the highest id first, so that a logit that is moved is not one that is masked later.
fn masked_descending(special_tokens: SpecialTokens) -> [Option<u16>; 3] {
    // Three comparisons instead of the standard library's sort, which can panic. `None` is the lowest.
    let SpecialTokens { bos, pad, unk, .. } = special_tokens;
    let (low, high) = (bos.min(pad), bos.max(pad));
    [high.max(unk), low.max(high.min(unk)), low.min(unk)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;
    use alloc::vec::Vec;
    use core::convert::Infallible;
    use rand_core::TryRng;

    fn logits(rng: &mut Pcg32, n: usize, spread: u32) -> Vec<i16> {
        (0..n)
            .map(|_| ((rng.next_u32() % spread) as i32 - (spread / 2) as i32) as i16)
            .collect()
    }

    #[test]
    fn weights_are_the_softmax() {
        let mut rng = Pcg32::new(3, 3);
        for n in [1, 2, 65, 128, 1000] {
            for bits in [0, 6, 9, 11, 15] {
                for text in ["0.01", "0.3", "0.8", "1", "1.8", "100"] {
                    let logits = logits(&mut rng, n, (20 << bits).min(60_000));
                    let temperature: f64 = text.parse().unwrap();
                    let max = *logits.iter().max().unwrap();
                    let exact = |l: i16| {
                        (f64::from(i32::from(l) - i32::from(max))
                            / f64::from(1 << bits)
                            / temperature)
                            .exp()
                    };
                    let sum: f64 = logits.iter().map(|&l| exact(l)).sum();
                    let sampler = Sampler::new(Temperature::parse(text).unwrap(), 0);
                    let weights: Vec<u32> = sampler.weights(&logits, bits).collect();
                    let total: f64 = weights.iter().map(|&w| f64::from(w)).sum();
                    assert!(total < 4294967296.0);
                    let difference =
                        |(&w, &l): (&u32, &i16)| (f64::from(w) / total - exact(l) / sum).abs();
                    let variation = weights.iter().zip(&logits).map(difference).sum::<f64>() / 2.0;
                    assert!(
                        variation < 1e-4,
                        "{variation} for {n} tokens, {bits} bits, temperature {text}"
                    );
                }
            }
        }
    }

    #[test]
    fn samples_follow_the_weights() {
        let logits = [0i16, 700, -300, 500];
        let sampler = Sampler::new(Temperature::parse("0.8").unwrap(), 0);
        let weights: Vec<u32> = sampler.weights(&logits, 9).collect();
        let total: f64 = weights.iter().map(|&w| f64::from(w)).sum();
        let mut rng = Pcg32::new(5, 5);
        let mut counts = [0u32; 4];
        for _ in 0..100_000 {
            counts[usize::from(sampler.sample(&logits, 9, &mut rng))] += 1;
        }
        for (count, weight) in counts.iter().zip(&weights) {
            assert!((f64::from(*count) / 1e5 - f64::from(*weight) / total).abs() < 0.006);
        }
    }

    #[test]
    fn top_k_keeps_the_largest_k_and_the_first_among_equals() {
        let mut rng = Pcg32::new(7, 7);
        for n in [1usize, 2, 9, 65] {
            for k in [1usize, 2, 5, 64] {
                let logits = logits(&mut rng, n, 12);
                let mut order: Vec<usize> = (0..n).collect();
                order.sort_by_key(|&i| (core::cmp::Reverse(logits[i]), i));
                let sampler = Sampler::new(Temperature::parse("100").unwrap(), k as u16);
                let mut kept: Vec<usize> = sampler
                    .weights(&logits, 11)
                    .enumerate()
                    .filter(|(_, w)| *w > 0)
                    .map(|(i, _)| i)
                    .collect();
                let mut expected: Vec<usize> = order.into_iter().take(k).collect();
                kept.sort();
                expected.sort();
                assert_eq!(kept, expected);
            }
        }
    }

    /// Equidistant numbers over the whole range of u32: each token is sampled in proportion to its probability.
    struct EquidistantRng {
        at: u32,
        step: u32,
    }

    impl TryRng for EquidistantRng {
        type Error = Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Infallible> {
            self.at = self.at.wrapping_add(self.step);
            Ok(self.at)
        }

        fn try_next_u64(&mut self) -> Result<u64, Infallible> {
            unreachable!("a sample takes 32 bits")
        }

        fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), Infallible> {
            unreachable!("a sample takes 32 bits")
        }
    }

    /// Returns how often each token occurs in 4,096 samples.
    fn counts(sampler: &Sampler, logits: &[i16], special_tokens: SpecialTokens) -> Vec<u32> {
        let mut rng = EquidistantRng {
            at: 12_345,
            step: 1 << 20,
        };
        let mut counts = vec![0; logits.len()];
        for _ in 0..1 << 12 {
            let mut logits = logits.to_vec();
            let token = sampler.sample_masked(&mut logits, 9, special_tokens, &mut rng);
            counts[usize::from(token)] += 1;
        }
        counts
    }

    #[test]
    fn masked_samples_have_the_distribution_of_the_unmasked_tokens() {
        let mut random = Pcg32::new(6, 6);
        for round in 0..400 {
            let size = 4 + random.next_u32() as usize % 8;
            // All logits differ: among equals the order decides, and masking changes the order.
            let logits: Vec<i16> = (0..size)
                .map(|id| (random.next_u32() % 200 * 16) as i16 + id as i16)
                .collect();
            let mut special = || match random.next_u32() % 4 {
                0 => None,
                // Often one of the last tokens, which replace masked ones, so that some are chosen twice.
                1 => Some(size as u16 - 1 - (random.next_u32() % 3) as u16),
                _ => Some((random.next_u32() % size as u32) as u16),
            };
            let special_tokens = SpecialTokens {
                bos: special(),
                eos: special(),
                pad: special(),
                unk: special(),
            };
            let masked = |id: u16| {
                let SpecialTokens { bos, pad, unk, .. } = special_tokens;
                [bos, pad, unk].contains(&Some(id)) && special_tokens.eos != Some(id)
            };
            let unmasked: Vec<usize> = (0..size).filter(|&id| !masked(id as u16)).collect();
            for (text, top_k) in [("0.8", 0), ("100", 0), ("100", 2)] {
                let sampler = Sampler::new(Temperature::parse(text).unwrap(), top_k);
                let counts = counts(&sampler, &logits, special_tokens);
                let unmasked_logits: Vec<i16> = unmasked.iter().map(|&id| logits[id]).collect();
                let weights: Vec<u32> = sampler.weights(&unmasked_logits, 9).collect();
                let total: f64 = weights.iter().map(|&w| f64::from(w)).sum();
                let mut expected = vec![0.0; size];
                for (&id, &weight) in unmasked.iter().zip(&weights) {
                    expected[id] = f64::from(weight) / total * 4096.0;
                }
                for id in 0..size {
                    let difference = (f64::from(counts[id]) - expected[id]).abs();
                    assert!(
                        difference <= 1.01,
                        "round {round}, {special_tokens:?}: {counts:?}, {expected:?}"
                    );
                }
            }
            // Greedy sampling returns the largest unmasked logit.
            let largest = unmasked.iter().map(|&id| logits[id]).max().unwrap();
            let greedy = counts(
                &Sampler::new(Temperature::GREEDY, 0),
                &logits,
                special_tokens,
            );
            let token = greedy.iter().position(|&count| count == 1 << 12).unwrap();
            assert!(!masked(token as u16) && logits[token] == largest);
        }
    }

    #[test]
    fn greedy_sampling_returns_the_first_maximum_and_takes_no_random_number() {
        let mut rng = Pcg32::new(1, 1);
        assert_eq!(
            Sampler::new(Temperature::GREEDY, 0).sample(&[1, 5, 5, 2], 9, &mut rng),
            1
        );
        assert_eq!(rng, Pcg32::new(1, 1));
    }

    #[test]
    fn temperatures_are_parsed_and_printed() {
        for text in ["0", "0.01", "0.3", "1", "1.25", "100", "0.0123"] {
            assert_eq!(Temperature::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "", ".", "-1", "1e3", "0.001", "100.1", "1.", ".5", "0.80000", "+1", "1000", "٣",
            "0.8 ",
        ] {
            assert_eq!(Temperature::parse(text), Err(TemperatureError), "{text:?}");
        }
        assert_eq!(Temperature::from_f32(0.8), Temperature::parse("0.8"));
        for float in [f32::NAN, -1.0, 0.001, 1e9] {
            assert_eq!(Temperature::from_f32(float), Err(TemperatureError));
        }
    }
}

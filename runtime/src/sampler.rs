//! Draws a token from logits: softmax at a temperature, in integers.

use crate::decimal::{ONE, ten_thousandths};
use crate::image::Specials;
use crate::say::{Part, Say, display};
use pipsqueak_kernels::softmax::SoftmaxWeights as Weights;
use rand_core::Rng;

/// A temperature in steps of 1/10,000: 0 for the most likely token always, else 0.01 to 100.
///
/// ```
/// use pipsqueak::Temperature;
/// assert_eq!(Temperature::parse("0.8")?.to_string(), "0.8");
/// assert!(Temperature::parse("warm").is_err());
/// # Ok::<(), pipsqueak::TemperatureError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Temperature {
    ten_thousandths: u32,
}

/// A text that is not a temperature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TemperatureError;

impl core::fmt::Display for TemperatureError {
    fn fmt(&self, f: &mut core::fmt::Formatter) -> core::fmt::Result {
        write!(
            f,
            "expected a temperature from 0.01 to 100 with at most 4 decimals, or 0 for greedy"
        )
    }
}

impl core::error::Error for TemperatureError {}

impl Temperature {
    /// Always the most likely token.
    pub const GREEDY: Self = Self { ten_thousandths: 0 };
    /// 0.8: what texts are drawn at unless something else is said.
    pub const DEFAULT: Self = Self {
        ten_thousandths: 8000,
    };

    /// Reads decimal text, such as `0.8`. The command line and the console both come here, so they mean the same.
    ///
    /// # Errors
    /// If the text is not a number that [`Temperature`] holds exactly.
    pub fn parse(text: &str) -> Result<Self, TemperatureError> {
        match ten_thousandths(text) {
            Some(ten_thousandths @ (0 | 100..=1_000_000)) => Ok(Self { ten_thousandths }),
            _ => Err(TemperatureError),
        }
    }

    /// The nearest temperature to a float. This is the library's only way in from float; a float that was computed
    /// elsewhere may differ by machine, a text never does.
    ///
    /// # Errors
    /// If it is not 0 or from 0.01 to 100.
    #[allow(clippy::float_arithmetic, reason = "the edge to float, documented")]
    pub fn from_f32(temperature: f32) -> Result<Self, TemperatureError> {
        let ten_thousandths = micromath::F32(temperature * ONE as f32).round().0;
        match ten_thousandths as u32 {
            0 if temperature == 0.0 => Ok(Self::GREEDY),
            n @ 100..=1_000_000 => Ok(Self { ten_thousandths: n }),
            _ => Err(TemperatureError),
        }
    }
}

impl Say for Temperature {
    fn say(&self, out: &mut dyn FnMut(Part)) {
        out(Part::Number(self.ten_thousandths / ONE));
        let (mut fraction, mut scale) = (self.ten_thousandths % ONE, ONE / 10);
        if fraction > 0 {
            out(Part::Text("."));
        }
        while fraction > 0 {
            out(Part::Number(fraction / scale));
            (fraction, scale) = (fraction % scale, scale / 10);
        }
    }
}

impl core::fmt::Display for Temperature {
    fn fmt(&self, f: &mut core::fmt::Formatter) -> core::fmt::Result {
        display(self, f)
    }
}

/// Draws tokens at a temperature from the `top_k` most likely ones.
///
/// With d a token's distance below the largest logit, its weight is `2^(-d log2(e) / T)` in integers of 24 bits (fewer
/// for vocabularies above 128 tokens, so that their sum stays below 2^32), and a token is drawn in proportion to it.
/// Over real logits the total variation from the exact softmax is below 1e-4.
#[derive(Clone, Copy, Debug)]
pub struct Sampler {
    /// `log2(e) / T` as a 16-bit mantissa and the shift below; 0 for greedy.
    coefficient: u16,
    /// Bits right (left when negative) from distance times coefficient, at no fraction bits, to Q16.
    shift: i32,
    /// 0: no limit.
    top_k: u16,
}

impl Sampler {
    /// A sampler; `top_k` 0 leaves all tokens in.
    pub fn new(temperature: Temperature, top_k: u16) -> Self {
        let divisor = temperature.ten_thousandths;
        // log2(e) * 10^4 * 2^40, divided, is the coefficient with 40 fraction bits.
        const LOG2_E: u64 = 15_862_599_727_921_870;
        if divisor == 0 {
            return Self {
                coefficient: 0,
                shift: 0,
                top_k,
            };
        }
        // Long division, 12 bits at a time: a divisor below 2^20 lets 32 bits hold each part, and a microcontroller does
        // without a 64-bit division.
        let (mut coefficient, mut rest) = (0u64, 0u32);
        for shift in [48, 36, 24, 12, 0] {
            let part = rest << 12 | (LOG2_E >> shift) as u32 & 0xfff;
            coefficient = coefficient << 12 | u64::from(part / divisor);
            rest = part % divisor;
        }
        let excess = 48 - coefficient.leading_zeros() as i32;
        Self {
            coefficient: (coefficient >> excess) as u16,
            shift: 24 - excess,
            top_k,
        }
    }

    /// Draws one of `logits`, which have `logit_bits` fraction bits. Equal logits count by their place: the first wins.
    ///
    /// Takes one u32 of `rng`, or none when greedy.
    pub fn draw<R: Rng>(&self, logits: &[i16], logit_bits: u32, rng: &mut R) -> u16 {
        if self.coefficient == 0 {
            let best = logits
                .iter()
                .enumerate()
                .rev()
                .max_by_key(|(_, logit)| **logit);
            return best.map_or(0, |(token, _)| token as u16);
        }
        self.prepare(logits, logit_bits)
            .sample(logits, rng.next_u32())
    }

    /// Draws as [`draw`](Self::draw) does from all logits but those of tokens that stand for no text; of those only the one that
    /// ends a text may be drawn. Swaps logits.
    ///
    /// ```
    /// use pipsqueak::image::Specials;
    /// use pipsqueak::{Sampler, Settings, Temperature};
    /// let specials = Specials { pad: Some(1), ..Specials::default() };
    /// let greedy = Sampler::new(Temperature::GREEDY, 0);
    /// let token = greedy.draw_allowed(&mut [1, 9, 2], specials, 9, &mut Settings::default().rng());
    /// assert_eq!(token, 2);
    /// ```
    #[inline(never)]
    pub fn draw_allowed<R: Rng>(
        &self,
        logits: &mut [i16],
        specials: Specials,
        logit_bits: u32,
        rng: &mut R,
    ) -> u16 {
        // The last logit takes the place of each that is left out.
        let mut moved = [(u16::MAX, u16::MAX); 3];
        let mut count = logits.len();
        let mut banned =
            [specials.start, specials.pad, specials.unk].map(|id| id.map_or(-1, i32::from));
        // The highest first, so that what takes a place may be drawn.
        banned.sort_unstable_by(|a, b| b.cmp(a));
        let mut before = None;
        for (moved, id) in moved.iter_mut().zip(banned) {
            let Ok(id) = u16::try_from(id) else { continue };
            let again = before.replace(id) == Some(id);
            if usize::from(id) < count && Some(id) != specials.eos && !again && count > 1 {
                count -= 1;
                logits.swap(id.into(), count);
                *moved = (id, count as u16);
            }
        }
        let logits = logits.get(..count).unwrap_or_default();
        let mut token = self.draw(logits, logit_bits, rng);
        // What took a place may itself have been taken elsewhere later.
        for (id, last) in moved.into_iter().rev() {
            if token == id {
                token = last;
            }
        }
        token
    }

    /// The weight of each token: the distribution of [`draw`](Self::draw) is these over their sum, to within 2^-32 each.
    /// When greedy, all weigh the same.
    pub fn weights(&self, logits: &[i16], logit_bits: u32) -> impl Iterator<Item = u32> {
        let weights = self.prepare(logits, logit_bits);
        let weight = move |(token, logit): (usize, &i16)| weights.weight_of(token, *logit);
        logits.iter().enumerate().map(weight)
    }

    fn prepare(&self, logits: &[i16], logit_bits: u32) -> Weights {
        let shift = self.shift + logit_bits as i32;
        Weights::new(logits, self.coefficient, shift, self.top_k.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;
    use alloc::vec::Vec;
    use core::convert::Infallible;
    use rand_core::TryRng;
    use rand_pcg::Pcg32;

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
    fn draws_follow_the_weights() {
        let logits = [0i16, 700, -300, 500];
        let sampler = Sampler::new(Temperature::parse("0.8").unwrap(), 0);
        let weights: Vec<u32> = sampler.weights(&logits, 9).collect();
        let total: f64 = weights.iter().map(|&w| f64::from(w)).sum();
        let mut rng = Pcg32::new(5, 5);
        let mut counts = [0u32; 4];
        for _ in 0..100_000 {
            counts[usize::from(sampler.draw(&logits, 9, &mut rng))] += 1;
        }
        for (count, weight) in counts.iter().zip(&weights) {
            assert!((f64::from(*count) / 1e5 - f64::from(*weight) / total).abs() < 0.006);
        }
    }

    #[test]
    fn top_k_keeps_the_first_k_by_value_then_place() {
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

    /// The whole range of u32 in even steps: what is drawn by it counts as often as it is likely.
    struct Even {
        at: u32,
        step: u32,
    }

    impl TryRng for Even {
        type Error = Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Infallible> {
            self.at = self.at.wrapping_add(self.step);
            Ok(self.at)
        }

        fn try_next_u64(&mut self) -> Result<u64, Infallible> {
            unreachable!("a draw takes 32 bits")
        }

        fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), Infallible> {
            unreachable!("a draw takes 32 bits")
        }
    }

    /// How often each token is drawn, of 4,096 times.
    fn counts(sampler: &Sampler, logits: &[i16], specials: Specials) -> Vec<u32> {
        let mut rng = Even {
            at: 12_345,
            step: 1 << 20,
        };
        let mut counts = vec![0; logits.len()];
        for _ in 0..1 << 12 {
            let mut logits = logits.to_vec();
            let token = sampler.draw_allowed(&mut logits, specials, 9, &mut rng);
            counts[usize::from(token)] += 1;
        }
        counts
    }

    #[test]
    fn draws_are_those_of_the_allowed_tokens_alone() {
        let mut random = Pcg32::new(6, 6);
        for round in 0..400 {
            let size = 4 + random.next_u32() as usize % 8;
            // All different: of equal ones the first is the likeliest, and what took a place is before others.
            let logits: Vec<i16> = (0..size)
                .map(|id| (random.next_u32() % 200 * 16) as i16 + id as i16)
                .collect();
            let mut special = || match random.next_u32() % 4 {
                0 => None,
                // The last tokens, which take the places, and the same one twice are tried often.
                1 => Some(size as u16 - 1 - (random.next_u32() % 3) as u16),
                _ => Some((random.next_u32() % size as u32) as u16),
            };
            let specials = Specials {
                start: special(),
                eos: special(),
                pad: special(),
                unk: special(),
            };
            let banned = |id: u16| {
                let Specials {
                    start, pad, unk, ..
                } = specials;
                [start, pad, unk].contains(&Some(id)) && specials.eos != Some(id)
            };
            let allowed: Vec<usize> = (0..size).filter(|&id| !banned(id as u16)).collect();
            for (text, top_k) in [("0.8", 0), ("100", 0), ("100", 2)] {
                let sampler = Sampler::new(Temperature::parse(text).unwrap(), top_k);
                let counts = counts(&sampler, &logits, specials);
                let of: Vec<i16> = allowed.iter().map(|&id| logits[id]).collect();
                let weights: Vec<u32> = sampler.weights(&of, 9).collect();
                let total: f64 = weights.iter().map(|&w| f64::from(w)).sum();
                let mut expected = vec![0.0; size];
                for (&id, &weight) in allowed.iter().zip(&weights) {
                    expected[id] = f64::from(weight) / total * 4096.0;
                }
                for id in 0..size {
                    let difference = (f64::from(counts[id]) - expected[id]).abs();
                    assert!(
                        difference <= 1.01,
                        "round {round}, {specials:?}: {counts:?}, {expected:?}"
                    );
                }
            }
            // Greedy takes the largest allowed one.
            let largest = allowed.iter().map(|&id| logits[id]).max().unwrap();
            let greedy = counts(&Sampler::new(Temperature::GREEDY, 0), &logits, specials);
            let drawn = greedy.iter().position(|&count| count == 1 << 12).unwrap();
            assert!(!banned(drawn as u16) && logits[drawn] == largest);
        }
    }

    #[test]
    fn greedy_takes_the_first_of_the_largest_and_no_random_number() {
        let mut rng = Pcg32::new(1, 1);
        assert_eq!(
            Sampler::new(Temperature::GREEDY, 0).draw(&[1, 5, 5, 2], 9, &mut rng),
            1
        );
        assert_eq!(rng, Pcg32::new(1, 1));
    }

    #[test]
    fn temperatures_are_read_and_printed() {
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

//! Random inputs, and comparisons of kernels with their specification.

use crate::fixed::QuantizedMultiplier;
use crate::generic;
use crate::packed::{
    CandidateTokenScale, GruParams, I16x4, LstmParams, PackedActivations, TokenScale,
};
use rand_core::Rng;
use std::vec::Vec;

/// Random numbers.
pub struct Random(rand_pcg::Pcg32);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(rand_pcg::Pcg32::new(seed, seed))
    }

    pub fn word(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// A signed number of `bits` bits.
    pub fn bits(&mut self, bits: u32) -> i32 {
        self.word() as i32 >> (32 - bits)
    }

    fn array<const N: usize>(&mut self, bits: u32) -> [i32; N] {
        core::array::from_fn(|_| self.bits(bits))
    }

    fn scale(&mut self, shift: u32) -> [QuantizedMultiplier; 4] {
        core::array::from_fn(|_| {
            let multiplier = (self.bits(14).unsigned_abs() * 2).min(16_383);
            QuantizedMultiplier::new(multiplier as u16, shift as u8)
        })
    }

    fn token_scale(&mut self, bits: u32, shift: u32) -> TokenScale {
        TokenScale {
            bias: self.array(bits),
            scale: self.scale(shift),
            token_scale: self.array(14),
        }
    }
}

/// A vector of the whole range of i16.
pub fn vector(random: &mut Random, elements: usize) -> Vec<I16x4> {
    let mut element = |_| random.bits(16) as i16;
    (0..elements / 4)
        .map(|_| I16x4(core::array::from_fn(&mut element)))
        .collect()
}

/// A product kernel.
pub type Gemv = fn(&[u32], &PackedActivations, &mut [[i32; 4]]);

/// Compares a product kernel with its specification: every number of columns and panels that reaches another of its loops, words
/// of every kind, and fewer weights than the accumulators ask for.
pub fn compare_gemv(panel_len: fn(usize) -> usize, kernel: Gemv, specification: Gemv) {
    let mut random = Random::new(2);
    for kind in 0..4 {
        let mut words = |n: usize| -> Vec<u32> {
            let mut word = || match kind {
                // -32768 squared, twice, is 2^31.
                0 => 0x8000_8000,
                1 => 0x7fff_7fff,
                2 => 0x7fff_8000,
                _ => random.word(),
            };
            (0..n).map(|_| word()).collect()
        };
        for columns in (4..=132).step_by(4).chain([256, 352, 516]) {
            for panels in 0..8 {
                let (weights, pairs) = (words(panels * panel_len(columns)), words(columns / 2));
                let x = PackedActivations {
                    pairs: pairs.as_chunks().0,
                    zero_point_correction: -77,
                };
                // One panel more, which must stay as it is.
                let (mut found, mut expected) = ([[77; 4]; 8], [[77; 4]; 8]);
                kernel(&weights, &x, &mut found[..panels]);
                specification(&weights, &x, &mut expected[..panels]);
                assert_eq!(found, expected, "{columns} columns, {panels} panels");
            }
        }
    }
}

/// Sums that saturate everywhere, and sums of trained networks: the bits of products and biases, and the shift of scales.
fn magnitudes() -> impl Iterator<Item = (u32, u32)> {
    (0..20_000).map(|round| (20 + round % 11, round / 11 % 20))
}

pub fn compare_gru_gates(
    kernel: impl Fn(&GruParams, &[[i8; 4]; 3], &[[i32; 4]; 3], &I16x4, &mut I16x4),
) {
    let mut random = Random::new(11);
    for (bits, shift) in magnitudes() {
        let params = GruParams {
            update: random.token_scale(bits, shift),
            reset: random.token_scale(bits, shift),
            candidate: CandidateTokenScale {
                bias: random.array(bits),
                scale: random.scale(shift),
                input_bias: random.array(bits),
                token_scale: random.array(14),
            },
        };
        let token = core::array::from_fn(|_| random.array(8).map(|value| value as i8));
        let products = core::array::from_fn(|_| random.array(bits));
        let h = I16x4(random.array(16).map(|value| value as i16));
        let (mut expected, mut found) = (I16x4::default(), I16x4::default());
        generic::gru_gates(&params, &token, &products, &h, &mut expected);
        kernel(&params, &token, &products, &h, &mut found);
        assert_eq!(found, expected, "{params:?} {token:?} {products:?} {h:?}");
    }
}

pub fn compare_lstm_gates(
    kernel: impl Fn(&LstmParams, &[[i8; 4]; 4], &[[i32; 4]; 4], &mut [i32; 4], &mut I16x4),
) {
    let mut random = Random::new(12);
    for (round, (bits, shift)) in magnitudes().enumerate() {
        let params = LstmParams {
            input: random.token_scale(bits, shift),
            output: random.token_scale(bits, shift),
            forget: random.token_scale(bits, shift),
            candidate: random.token_scale(bits, shift),
        };
        let token = core::array::from_fn(|_| random.array(8).map(|value| value as i8));
        let products = core::array::from_fn(|_| random.array(bits));
        // Now and then at an end, where the addition saturates.
        let cell: [i32; 4] = core::array::from_fn(|lane| match (round + lane) % 9 {
            0 => i32::MAX,
            1 => i32::MIN,
            n => random.bits(32) >> n,
        });
        let (mut expected_cell, mut found_cell) = (cell, cell);
        let (mut expected, mut found) = (I16x4::default(), I16x4::default());
        generic::lstm_gates(
            &params,
            &token,
            &products,
            &mut expected_cell,
            &mut expected,
        );
        kernel(&params, &token, &products, &mut found_cell, &mut found);
        assert_eq!((found, found_cell), (expected, expected_cell), "{params:?}");
    }
}

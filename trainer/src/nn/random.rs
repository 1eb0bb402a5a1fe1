//! All randomness of a training. Each stream is a function of the seed, a purpose and a place, without a history: a
//! checkpoint holds no generators, and a resumed training draws the same numbers.

use chacha20::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// What a stream of random numbers is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Purpose {
    /// The first weights.
    Weights = 1,
    /// Where in the text an epoch starts; the place is the epoch.
    Offset = 2,
    /// Dropout masks; the place is the step and the shard.
    Dropout = 3,
    /// The lines' order; the place is the epoch.
    Order = 4,
    /// The text that teachers generate; the place is the shard.
    Synthetic = 5,
}

/// The stream of `seed` for a purpose and a place.
pub fn stream(seed: u64, purpose: Purpose, step: u64, shard: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (bytes, word) in key
        .chunks_exact_mut(8)
        .zip([seed, purpose as u64, step, shard])
    {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// Uniform in [0, 1), 24 bits.
pub fn unit(random: &mut ChaCha8Rng) -> f32 {
    (random.next_u32() >> 8) as f32 / (1 << 24) as f32
}

/// Uniform in `0..n`, as far as 64 bits divide into n. `n` at least 1.
pub fn below(random: &mut ChaCha8Rng, n: usize) -> usize {
    (random.next_u64() % n as u64) as usize
}

/// Puts `values` into a random order (Fisher and Yates).
pub fn shuffle<T>(random: &mut ChaCha8Rng, values: &mut [T]) {
    for last in (1..values.len()).rev() {
        values.swap(last, below(random, last + 1));
    }
}

/// Fills `mask` with 0, at probability `p`, and `1 / (1 - p)`. `p` in [0, 1), taken in steps of 1/65536.
pub fn mask(random: &mut ChaCha8Rng, p: f32, mask: &mut [f32]) {
    let limit = (p * 65536.0) as u32;
    let keep = 1.0 / (1.0 - limit as f32 / 65536.0);
    let value = |bits: u32| if bits < limit { 0.0 } else { keep };
    for pair in mask.chunks_mut(2) {
        let bits = random.next_u32();
        pair[0] = value(bits >> 16);
        if let Some(second) = pair.get_mut(1) {
            *second = value(bits & 0xffff);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_drop_as_often_as_asked_and_keep_the_mean() {
        let mut values = vec![0.0; 100_001];
        mask(&mut stream(1, Purpose::Dropout, 5, 0), 0.25, &mut values);
        let dropped = values.iter().filter(|v| **v == 0.0).count() as f64 / values.len() as f64;
        assert!((dropped - 0.25).abs() < 0.006, "{dropped}");
        let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / values.len() as f64;
        assert!((mean - 1.0).abs() < 0.008, "{mean}");
        let mut same = vec![0.0; 100_001];
        mask(&mut stream(1, Purpose::Dropout, 5, 0), 0.25, &mut same);
        assert_eq!(values, same);
        mask(&mut stream(1, Purpose::Dropout, 6, 0), 0.25, &mut same);
        assert_ne!(values, same);
    }
}

//! AdamW, clipping by the global norm, and the learning rate's schedule.

use crate::nn::simd::vectorized;

/// Decay of the mean gradient.
const BETA1: f32 = 0.9;
/// Decay of the mean square.
const BETA2: f32 = 0.99;
/// Keeps the quotient finite where a gradient is always 0.
const EPSILON: f32 = 1e-8;

/// AdamW: Adam with decoupled weight decay.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct AdamW {
    /// Steps done.
    step: u64,
    /// Mean gradient, one for each parameter.
    mean: Vec<f32>,
    /// Mean square of the gradient, one for each parameter.
    square: Vec<f32>,
}

impl AdamW {
    /// Before the first step, for so many parameters.
    pub fn new(parameters: usize) -> Self {
        Self {
            step: 0,
            mean: vec![0.0; parameters],
            square: vec![0.0; parameters],
        }
    }

    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        self.mean.len()
    }

    /// One step against `scale * gradient`. `parts` are the lengths of the parameters' parts, in order, and whether they
    /// decay, by `rate * decay` of themselves.
    ///
    /// # Panics
    /// If the lengths are not those of the optimizer's parameters.
    pub fn step(
        &mut self,
        parameters: &mut [f32],
        gradient: &[f32],
        scale: f32,
        rate: f32,
        decay: f32,
        parts: impl Iterator<Item = (usize, bool)>,
    ) {
        assert_eq!(
            (parameters.len(), gradient.len()),
            (self.mean.len(), self.mean.len())
        );
        self.step += 1;
        let power = i32::try_from(self.step).unwrap_or(i32::MAX);
        let mean_correction = 1.0 / (1.0 - BETA1.powi(power));
        let square_correction = 1.0 / (1.0 - BETA2.powi(power));
        let mut start = 0;
        for (length, decays) in parts {
            let range = start..start + length;
            start += length;
            let shrink = if decays { 1.0 - rate * decay } else { 1.0 };
            let values = parameters[range.clone()]
                .iter_mut()
                .zip(&gradient[range.clone()]);
            let moments = self.mean[range.clone()]
                .iter_mut()
                .zip(&mut self.square[range]);
            vectorized(
                #[inline(always)]
                || {
                    for ((parameter, gradient), (mean, square)) in values.zip(moments) {
                        let gradient = scale * gradient;
                        *mean = BETA1 * *mean + (1.0 - BETA1) * gradient;
                        *square = BETA2 * *square + (1.0 - BETA2) * gradient * gradient;
                        let size = (*square * square_correction).sqrt() + EPSILON;
                        *parameter = *parameter * shrink - rate * (*mean * mean_correction) / size;
                    }
                },
            );
        }
        assert_eq!(start, self.mean.len(), "parts of the parameters");
    }
}

/// The Euclidean norm.
pub fn norm(values: &[f32]) -> f64 {
    let square = |chunk: &[f32]| {
        let mut sums = [0f32; 16];
        let (blocks, rest) = chunk.as_chunks::<16>();
        for block in blocks {
            for (sum, value) in sums.iter_mut().zip(block) {
                *sum += value * value;
            }
        }
        f64::from(sums.iter().sum::<f32>() + rest.iter().map(|value| value * value).sum::<f32>())
    };
    vectorized(
        #[inline(always)]
        || values.chunks(4096).map(square).sum::<f64>(),
    )
    .sqrt()
}

/// What to multiply a gradient with so that its norm is at most `limit`.
pub fn clip(norm: f64, limit: f64) -> f64 {
    if norm > limit { limit / norm } else { 1.0 }
}

/// The learning rate: a line from 0 up to `peak` over `warmup` steps, then half a cosine down to `last * peak`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// The highest rate.
    pub peak: f64,
    /// Steps of warm-up; never more than half of all.
    pub warmup: u64,
    /// All steps.
    pub steps: u64,
    /// The last rate, as a part of the highest.
    pub last: f64,
}

impl Schedule {
    /// The rate of step `step`, counted from 0.
    pub fn rate(&self, step: u64) -> f64 {
        let warmup = self.warmup.min(self.steps / 2);
        if step < warmup {
            return self.peak * (step + 1) as f64 / warmup as f64;
        }
        let done = (step - warmup) as f64 / (self.steps - warmup).max(1) as f64;
        let cosine = (1.0 + (std::f64::consts::PI * done.min(1.0)).cos()) / 2.0;
        self.peak * (self.last + (1.0 - self.last) * cosine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedule_rises_then_falls() {
        let schedule = Schedule {
            peak: 2.0,
            warmup: 10,
            steps: 110,
            last: 0.1,
        };
        assert_eq!(
            (
                schedule.rate(0),
                schedule.rate(4),
                schedule.rate(9),
                schedule.rate(10)
            ),
            (0.2, 1.0, 2.0, 2.0)
        );
        assert!(
            (schedule.rate(60) - 1.1).abs() < 1e-12,
            "half way: the mean of peak and last"
        );
        assert!((schedule.rate(110) - 0.2).abs() < 1e-12);
        assert!((10..110).all(|step| schedule.rate(step) > schedule.rate(step + 1)));
        for steps in 1..5 {
            let short = Schedule { steps, ..schedule };
            assert!((0..steps).all(|step| short.rate(step) > 0.0 && short.rate(step) <= 2.0));
        }
    }

    /// The numbers of `torch.optim.AdamW(lr=0.1, betas=(0.9, 0.99), weight_decay=0.5)` after gradients 1, -2, 0.5 on a
    /// parameter of 1 (see `tests/golden/adamw.py`), then without decay.
    #[test]
    fn steps_are_those_of_pytorch() {
        let mut optimizer = AdamW::new(2);
        let mut parameters = [1.0, 1.0];
        for gradient in [1.0f32, -2.0, 0.5] {
            // The scale undoes what is done to the gradient.
            let gradient = [2.0 * gradient; 2];
            optimizer.step(
                &mut parameters,
                &gradient,
                0.5,
                0.1,
                0.5,
                [(1, true), (1, false)].into_iter(),
            );
        }
        for (found, expected) in parameters.iter().zip([0.815_535_7, 0.950_238_8]) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn norms_and_clipping() {
        let values: Vec<f32> = (0..10_001).map(|i| (i % 7) as f32 - 3.0).collect();
        let expected = values
            .iter()
            .map(|v| f64::from(*v).powi(2))
            .sum::<f64>()
            .sqrt();
        assert!((norm(&values) - expected).abs() < 1e-3);
        assert_eq!(
            (clip(0.5, 1.0), clip(4.0, 1.0), norm(&[])),
            (1.0, 0.25, 0.0)
        );
        assert!(norm(&[1.0, f32::NAN]).is_nan());
    }
}

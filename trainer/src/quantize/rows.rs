//! Rows of weights in i8, each with a scale of its own.
//!
//! A row's accumulator counts in units of `u`, the row's scale times 2^-15. The unit is chosen last and exactly: it is the one
//! that the row's integer multiplier and shift mean, so the only error is that of rounding each weight.

use super::rounding::Rounding;
use super::{QuantizeError, TensorReport, padded};
use pipsqueak::encode::Rows;
use pipsqueak::fixed::{MAX_SHIFT, MULTIPLIER_END, Scale};

/// Quantizes rows one by one.
pub(super) struct RowsBuilder<'r> {
    name: String,
    rows: Rows,
    /// Fraction bits of the outputs.
    bits: u32,
    /// How errors are made up for; else to nearest.
    rounding: Option<&'r Rounding>,
    scales: Vec<f64>,
    squares: [f64; 2],
}

impl<'r> RowsBuilder<'r> {
    pub(super) fn new(name: String, columns: Vec<usize>, bits: u32) -> Self {
        Self {
            name,
            rows: Rows {
                columns,
                ..Rows::default()
            },
            bits,
            rounding: None,
            scales: vec![],
            squares: [0.0; 2],
        }
    }

    /// Rounds as `rounding` says.
    pub(super) fn rounded_by(self, rounding: Option<&'r Rounding>) -> Self {
        Self { rounding, ..self }
    }

    /// Adds a row of real weights on a vector in Q15. `step` is what one step of a token's i8 adds; gives the token's factor.
    pub(super) fn push(
        &mut self,
        weights: &[f32],
        bias: f64,
        step: f64,
    ) -> Result<i32, QuantizeError> {
        let largest = weights
            .iter()
            .map(|w| f64::from(w.abs()))
            .fold(0.0, f64::max);
        let refused = QuantizeError::Value {
            tensor: self.name.clone(),
            row: self.scales.len(),
            value: largest.max(bias.abs()),
        };
        if !(largest < 256.0 && bias.abs() < 65536.0) {
            return Err(refused);
        }
        // A row of zeros has a bias to hold and nothing else.
        let mut least = if largest > 0.0 {
            largest / 127.0
        } else {
            1.0 / 127.0
        };
        loop {
            let (scale, weight) = self.scale(least).ok_or_else(|| refused.clone())?;
            let unit = weight / 32768.0;
            let nearest = |&w: &f32| (f64::from(w) / weight).round().clamp(-127.0, 127.0) as i8;
            let quantized: Vec<i8> = match self.rounding {
                Some(rounding) => rounding.round(weights, weight),
                None => weights.iter().map(nearest).collect(),
            };
            let norm: f64 = quantized.iter().map(|&w| f64::from(w).abs()).sum();
            let half = if scale.shift() > 0 {
                f64::from(1u32 << (scale.shift() - 1))
            } else {
                0.0
            };
            let bias = (bias / unit).round() + half;
            let factor = (step / unit).round();
            // The range certificate, as the image's check has it.
            if norm * 32768.0 + bias.abs() + factor.abs() * 128.0 > f64::from(i32::MAX) {
                least = weight * 1.01;
                continue;
            }
            for (&w, &q) in weights.iter().zip(&quantized) {
                self.squares[0] += (f64::from(q) * weight - f64::from(w)).powi(2);
                self.squares[1] += f64::from(w).powi(2);
            }
            self.rows.weights.extend(quantized);
            self.rows.bias.push(bias as i32);
            self.rows.scale.push(scale);
            self.scales.push(weight);
            return Ok(factor as i32);
        }
    }

    /// The integer scale whose weights' step is at least `least`, and that step.
    fn scale(&self, least: f64) -> Option<(Scale, f64)> {
        // Accumulator times 2^-15 times the step, to `bits` fraction bits, is multiplier * 2^-(15 + shift).
        let factor = least * f64::from(1u32 << self.bits);
        // The largest shift whose multiplier fits; small steps are met by a smaller multiplier.
        let shift = (0..=MAX_SHIFT).rev().find(|&shift| {
            (factor * f64::from(1u32 << shift)).ceil() < f64::from(MULTIPLIER_END)
        })?;
        let multiplier = (factor * f64::from(1u32 << shift)).ceil();
        let scale = Scale::new(multiplier as u16, shift as u8);
        Some((
            scale,
            multiplier / f64::from(1u32 << shift) / f64::from(1u32 << self.bits),
        ))
    }

    pub(super) fn finish(self, tensors: &mut Vec<TensorReport>) -> Rows {
        let rows = self.rows.bias.len();
        let columns = self.rows.columns.iter().sum();
        let padded_columns: usize = self.rows.columns.iter().map(|&c| padded(c)).sum();
        tensors.push(TensorReport {
            name: self.name,
            shape: [rows, columns],
            bytes: padded(rows) * (padded_columns + 8),
            scale: span(&self.scales),
            relative_error: (self.squares[0] / self.squares[1].max(1e-30)).sqrt(),
        });
        self.rows
    }
}

pub(super) fn span(values: &[f64]) -> [f64; 2] {
    values.iter().fold([f64::MAX, f64::MIN], |[low, high], &v| {
        [low.min(v), high.max(v)]
    })
}

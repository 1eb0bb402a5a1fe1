//! Rows of weights in 8 bits, each with a scale of its own, or in 4, or in both, on the grid of [`GridRow`].
//!
//! A row's accumulator counts in units of `u`, the row's scale times 2^-15. The unit is chosen last and exactly: it is the one
//! that the row's integer multiplier and shift mean, so the only error is that of rounding each weight.

use super::grid::{GridRow, exact_unit};
use super::rounding::Rounding;
use super::{QuantizeError, TensorReport, padded};
use crate::network::{Grids, TensorGrid};
use crate::quantize::formats::{INT8, WeightFormats};
use pipsqueak::RowFormat;
use pipsqueak::encode::QuantizedMatrix;

/// The formats of the weights of a layer, and the grids that its network brings for it.
#[derive(Clone, Copy)]
pub(super) struct Width<'g> {
    pub formats: WeightFormats,
    /// By the names of tensors without `prefix`.
    pub grids: Option<&'g Grids>,
    pub prefix: &'g str,
}

impl<'g> Width<'g> {
    /// int8, without grids.
    pub const INT8: Self = Self {
        formats: INT8,
        grids: None,
        prefix: "",
    };

    /// The grid that is given for a tensor of these formats.
    fn grid(&self, tensor: &str) -> Option<&'g TensorGrid> {
        let name = tensor.strip_prefix(self.prefix)?;
        let grid = self.grids?.get(name)?;
        (grid.formats() == self.formats).then_some(grid)
    }

    /// Whether the grids that are given for the first layer, of so many `units`, are of weights over its input too, as they
    /// are where that is a vector. None without such grids.
    pub(super) fn reads_vector(&self, units: usize) -> Option<bool> {
        let given = self.grids?.iter();
        given
            .filter(|(name, grid)| name.starts_with("layer 0 ") && grid.formats() == self.formats)
            .map(|(_, grid)| grid.is_joint(units))
            .reduce(|any, joint| any || joint)
    }
}

/// Quantizes rows one by one.
pub(super) struct RowsBuilder<'r> {
    name: String,
    rows: QuantizedMatrix,
    /// Fraction bits of the outputs.
    bits: u32,
    /// Unless all weights are int8, the grid, as it grows; and the one that is given.
    grid: Option<TensorGrid>,
    given: Option<&'r TensorGrid>,
    /// How errors are made up for; else to nearest.
    rounding: Option<&'r Rounding>,
    scales: Vec<f64>,
    squares: [f64; 2],
}

/// A row in integers.
struct Row {
    unit: f64,
    /// Of groups.
    scales: Vec<u8>,
    weights: Vec<i8>,
    /// What a step of each weight is worth.
    steps: Vec<f64>,
}

impl<'r> RowsBuilder<'r> {
    /// `columns` are those over the input and over the state; `bits` are the fraction bits of the outputs.
    pub(super) fn new(name: String, columns: [usize; 2], bits: u32, width: Width<'r>) -> Self {
        Self {
            given: width.grid(&name),
            grid: (width.formats != INT8).then(|| TensorGrid::of(width.formats)),
            name,
            rows: QuantizedMatrix {
                format: RowFormat {
                    formats: width.formats,
                    columns,
                },
                ..QuantizedMatrix::default()
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
            row: self.rows.bias.len(),
            value: largest.max(bias.abs()),
        };
        if !(largest < 256.0 && bias.abs() < 65536.0) {
            return Err(refused);
        }
        // The row's bias and a token's factor in a unit.
        let bits = self.bits;
        let beside = |unit: f64| {
            let accumulated = unit / 32768.0;
            let shift = exact_unit(unit, bits).map_or(0, |(scale, _)| scale.shift());
            let half = if shift > 0 {
                f64::from(1u32 << (shift - 1))
            } else {
                0.0
            };
            let bias = (bias / accumulated).round() + half;
            (bias, (step / accumulated).round())
        };
        // The range certificate, as the image's check has it: what it leaves to the weights.
        let norm = |unit: f64| {
            let (bias, factor) = beside(unit);
            (f64::from(i32::MAX) - bias.abs() - factor.abs() * 128.0) / 32768.0
        };
        let row = match (&self.grid, self.given) {
            (None, _) => self.eight(weights, largest, norm).ok_or(refused.clone())?,
            (Some(_), None) => self.searched(weights, norm).ok_or(refused.clone())?,
            (Some(_), Some(given)) => self.on_grid(weights, given, norm)?,
        };
        let (bias, factor) = beside(row.unit);
        let (scale, _) = exact_unit(row.unit, bits).ok_or(refused)?;
        for ((&w, &q), step) in weights.iter().zip(&row.weights).zip(&row.steps) {
            self.squares[0] += (f64::from(q) * step - f64::from(w)).powi(2);
            self.squares[1] += f64::from(w).powi(2);
        }
        if let Some(grid) = &mut self.grid {
            // Exact: a multiplier has 14 bits.
            grid.units.push(row.unit as f32);
            grid.scales.extend_from_slice(&row.scales);
        }
        let worth = |scale: &u8| row.unit * f64::from(*scale);
        match row.scales.is_empty() {
            true => self.scales.push(row.unit),
            false => self.scales.extend(row.scales.iter().map(worth)),
        }
        self.rows.weights.extend(row.weights);
        self.rows.scales.extend(row.scales);
        self.rows.bias.push(bias as i32);
        self.rows.multiplier.push(scale);
        Ok(factor as i32)
    }

    /// A row of 8 bits whose sum of magnitudes is at most `norm` of its unit.
    fn eight(&self, weights: &[f32], largest: f64, norm: impl Fn(f64) -> f64) -> Option<Row> {
        // A row of zeros has a bias to hold and nothing else.
        let mut least = if largest > 0.0 {
            largest / 127.0
        } else {
            1.0 / 127.0
        };
        loop {
            let (_, unit) = exact_unit(least, self.bits)?;
            let nearest = |&w: &f32| (f64::from(w) / unit).round().clamp(-127.0, 127.0) as i8;
            let steps = vec![unit; weights.len()];
            let quantized: Vec<i8> = match self.rounding {
                Some(rounding) => rounding.round(weights, &steps, |_| [-127, 127]),
                None => weights.iter().map(nearest).collect(),
            };
            let sum: f64 = quantized.iter().map(|&w| f64::from(w).abs()).sum();
            if sum <= norm(unit) {
                return Some(Row {
                    unit,
                    scales: vec![],
                    weights: quantized,
                    steps,
                });
            }
            least = unit * 1.01;
        }
    }

    /// A row on a grid that is searched.
    fn searched(&self, weights: &[f32], norm: impl Fn(f64) -> f64) -> Option<Row> {
        let columns = self.rows.format;
        let exact = |least: f64| Some(exact_unit(least, self.bits)?.1);
        let mut found = GridRow::search(weights, columns, exact, &norm)?;
        let steps = found.steps(columns);
        if let Some(rounding) = self.rounding {
            let groups = columns.scale_groups();
            let ranges: Vec<_> = groups.flat_map(|(n, range)| vec![range; n]).collect();
            let rounded = GridRow {
                weights: rounding.round(weights, &steps, |column| ranges[column]),
                ..found.clone()
            };
            if f64::from(rounded.norm(columns)) <= norm(found.unit) {
                found = rounded;
            }
        }
        Some(Row {
            unit: found.unit,
            scales: found.scales,
            weights: found.weights,
            steps,
        })
    }

    /// A row on its part of a grid that is given.
    fn on_grid(
        &self,
        weights: &[f32],
        given: &TensorGrid,
        norm: impl Fn(f64) -> f64,
    ) -> Result<Row, QuantizeError> {
        let index = self.rows.bias.len();
        let refused = |what| QuantizeError::Grid {
            tensor: self.name.clone(),
            row: index,
            what,
        };
        let columns = self.rows.format;
        let count = columns.scale_groups().count();
        let scales = given.scales.chunks_exact(count).nth(index);
        let (Some(&unit), Some(scales)) = (given.units.get(index), scales) else {
            return Err(refused("units or scales are missing"));
        };
        let unit = f64::from(unit);
        let is_exact = unit > 0.0 && exact_unit(unit, self.bits).is_some_and(|(_, u)| u == unit);
        if !is_exact || scales.contains(&0) {
            return Err(refused("a unit or a scale is none that an image holds"));
        }
        let row = GridRow::round(weights, columns, unit, scales.to_vec());
        if f64::from(row.norm(columns)) > norm(unit) {
            return Err(refused("its sums could leave 32 bits"));
        }
        Ok(Row {
            steps: row.steps(columns),
            unit,
            scales: row.scales,
            weights: row.weights,
        })
    }

    pub(super) fn finish(self, tensors: &mut Vec<TensorReport>) -> QuantizedMatrix {
        let rows = self.rows.bias.len();
        let columns = self.rows.format;
        let padded_format = RowFormat {
            columns: columns.columns.map(padded),
            ..columns
        };
        let words = padded_format.panel_len();
        tensors.push(TensorReport {
            name: self.name,
            shape: [rows, columns.num_columns()],
            bytes: padded(rows) * (words + 8),
            scale: span(&self.scales),
            relative_error: (self.squares[0] / self.squares[1].max(1e-30)).sqrt(),
            grid: self.grid,
        });
        self.rows
    }
}

pub(super) fn span(values: &[f64]) -> [f64; 2] {
    values.iter().fold([f64::MAX, f64::MIN], |[low, high], &v| {
        [low.min(v), high.max(v)]
    })
}

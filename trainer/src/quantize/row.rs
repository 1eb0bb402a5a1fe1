//! Rows of int8 weights with a scale each, or of int4 weights, or of both, with the scales of a [`GroupedRow`].
//!
//! The unit of a row's accumulator is the row's scale times 2^-15. The scale is exactly that of the row's integer multiplier and shift,
//! so the only error is that of rounding each weight.

use super::gptq::Gptq;
use super::grid::{GroupedRow, representable_scale};
use super::{QuantizeError, TensorReport, padded};
use crate::network::formats::{INT8, WeightFormats};
use crate::network::{GroupScales, TensorScales};
use pipsqueak::RowFormat;
use pipsqueak::encode::QuantizedMatrix;

/// The formats of the weights of a layer, and the group scales that its network brings for it.
#[derive(Clone, Copy)]
pub(super) struct TensorFormat<'g> {
    pub formats: WeightFormats,
    /// By the names of tensors without `prefix`.
    pub group_scales: Option<&'g GroupScales>,
    pub prefix: &'static str,
}

impl<'g> TensorFormat<'g> {
    /// int8, without group scales.
    pub const INT8: Self = Self {
        formats: INT8,
        group_scales: None,
        prefix: "",
    };

    /// The group scales that are given for a tensor in these formats.
    fn given(&self, tensor: &str) -> Option<&'g TensorScales> {
        let name = tensor.strip_prefix(self.prefix)?;
        let scales = self.group_scales?.get(name)?;
        (scales.formats() == self.formats).then_some(scales)
    }

    /// Whether the group scales that are given for layer `layer`, of `hidden_size` elements, are of weights over its input too, as they
    /// are where that is a vector. None without such scales.
    pub(super) fn reads_vector(&self, layer: &str, hidden_size: usize) -> Option<bool> {
        let layer = format!("{} ", layer.strip_prefix(self.prefix)?);
        let given = self.group_scales?.iter();
        given
            .filter(|(name, given)| name.starts_with(&layer) && given.formats() == self.formats)
            .map(|(_, given)| given.covers_input(hidden_size))
            .reduce(|any, covers| any || covers)
    }
}

/// Quantizes rows one by one.
pub(super) struct RowQuantizer<'r> {
    name: String,
    rows: QuantizedMatrix,
    /// Fraction bits of the outputs.
    bits: u32,
    /// Unless all weights are int8, the group scales of the rows so far; and those that are given.
    group_scales: Option<TensorScales>,
    given: Option<&'r TensorScales>,
    /// Without it weights are rounded to nearest.
    gptq: Option<&'r Gptq>,
    scales: Vec<f64>,
    /// Sums of squared errors and of squared weights.
    squares: [f64; 2],
}

/// A row in integers.
struct Row {
    scale: f64,
    group_scales: Vec<u8>,
    weights: Vec<i8>,
    /// Of each weight.
    weight_scales: Vec<f64>,
}

impl<'r> RowQuantizer<'r> {
    /// `columns` are those over the input and over the hidden state; `bits` are the fraction bits of the outputs.
    pub(super) fn new(
        name: String,
        columns: [usize; 2],
        bits: u32,
        format: TensorFormat<'r>,
    ) -> Self {
        Self {
            given: format.given(&name),
            group_scales: (format.formats != INT8).then(|| TensorScales::of(format.formats)),
            name,
            rows: QuantizedMatrix {
                format: RowFormat {
                    formats: format.formats,
                    columns,
                },
                ..QuantizedMatrix::default()
            },
            bits,
            gptq: None,
            scales: vec![],
            squares: [0.0; 2],
        }
    }

    /// Rounds by GPTQ.
    pub(super) fn with_gptq(self, gptq: Option<&'r Gptq>) -> Self {
        Self { gptq, ..self }
    }

    /// Adds a row of real weights on a vector in Q15. `token_scale` is the scale of a token's i8 value; returns it in the
    /// units of the row's accumulator.
    pub(super) fn push(
        &mut self,
        weights: &[f32],
        bias: f64,
        token_scale: f64,
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
        // The row's bias and the token scale in units of the accumulator.
        let bits = self.bits;
        let integers = |scale: f64| {
            let accumulated = scale / 32768.0;
            let shift =
                representable_scale(scale, bits).map_or(0, |(multiplier, _)| multiplier.shift());
            let half = if shift > 0 {
                f64::from(1u32 << (shift - 1))
            } else {
                0.0
            };
            let bias = (bias / accumulated).round() + half;
            (bias, (token_scale / accumulated).round())
        };
        // The accumulator bound of the runtime: what it leaves to the weights.
        let max_l1_norm = |scale: f64| {
            let (bias, token_scale) = integers(scale);
            (f64::from(i32::MAX) - bias.abs() - token_scale.abs() * 128.0) / 32768.0
        };
        let row = match (&self.group_scales, self.given) {
            (None, _) => self
                .int8(weights, largest, max_l1_norm)
                .ok_or(refused.clone())?,
            (Some(_), None) => self
                .search_grid(weights, max_l1_norm)
                .ok_or(refused.clone())?,
            (Some(_), Some(given)) => self.given_grid(weights, given, max_l1_norm)?,
        };
        let (bias, token_scale) = integers(row.scale);
        let (multiplier, _) = representable_scale(row.scale, bits).ok_or(refused)?;
        for ((&w, &q), scale) in weights.iter().zip(&row.weights).zip(&row.weight_scales) {
            self.squares[0] += (f64::from(q) * scale - f64::from(w)).powi(2);
            self.squares[1] += f64::from(w).powi(2);
        }
        if let Some(scales) = &mut self.group_scales {
            // Exact: a multiplier has 14 bits.
            scales.row_scales.push(row.scale as f32);
            scales.scales.extend_from_slice(&row.group_scales);
        }
        let group_scale = |scale: &u8| row.scale * f64::from(*scale);
        match row.group_scales.is_empty() {
            true => self.scales.push(row.scale),
            false => self.scales.extend(row.group_scales.iter().map(group_scale)),
        }
        self.rows.weights.extend(row.weights);
        self.rows.scales.extend(row.group_scales);
        self.rows.bias.push(bias as i32);
        self.rows.multiplier.push(multiplier);
        Ok(token_scale as i32)
    }

    /// An int8 row whose sum of magnitudes is at most `max_l1_norm` of its scale.
    fn int8(&self, weights: &[f32], largest: f64, max_l1_norm: impl Fn(f64) -> f64) -> Option<Row> {
        // A row of zeros has a bias to hold and nothing else.
        let mut least = if largest > 0.0 {
            largest / 127.0
        } else {
            1.0 / 127.0
        };
        loop {
            let (_, scale) = representable_scale(least, self.bits)?;
            let nearest = |&w: &f32| (f64::from(w) / scale).round().clamp(-127.0, 127.0) as i8;
            let weight_scales = vec![scale; weights.len()];
            let quantized: Vec<i8> = match self.gptq {
                Some(gptq) => gptq.round(weights, &weight_scales, |_| [-127, 127]),
                None => weights.iter().map(nearest).collect(),
            };
            let sum: f64 = quantized.iter().map(|&w| f64::from(w).abs()).sum();
            if sum <= max_l1_norm(scale) {
                return Some(Row {
                    scale,
                    group_scales: vec![],
                    weights: quantized,
                    weight_scales,
                });
            }
            least = scale * 1.01;
        }
    }

    /// A row with group scales that are searched.
    fn search_grid(&self, weights: &[f32], max_l1_norm: impl Fn(f64) -> f64) -> Option<Row> {
        let columns = self.rows.format;
        let representable = |least: f64| Some(representable_scale(least, self.bits)?.1);
        let mut found = GroupedRow::search(weights, columns, representable, &max_l1_norm)?;
        let weight_scales = found.weight_scales(columns);
        if let Some(gptq) = self.gptq {
            let groups = columns.scale_groups();
            let ranges: Vec<_> = groups.flat_map(|(n, range)| vec![range; n]).collect();
            let rounded = GroupedRow {
                weights: gptq.round(weights, &weight_scales, |column| ranges[column]),
                ..found.clone()
            };
            if f64::from(rounded.l1_norm(columns)) <= max_l1_norm(found.row_scale) {
                found = rounded;
            }
        }
        Some(Row {
            scale: found.row_scale,
            group_scales: found.scales,
            weights: found.weights,
            weight_scales,
        })
    }

    /// A row with group scales that are given.
    fn given_grid(
        &self,
        weights: &[f32],
        given: &TensorScales,
        max_l1_norm: impl Fn(f64) -> f64,
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
        let (Some(&scale), Some(scales)) = (given.row_scales.get(index), scales) else {
            return Err(refused("scales are missing"));
        };
        let scale = f64::from(scale);
        let is_exact = scale > 0.0
            && representable_scale(scale, self.bits).is_some_and(|(_, exact)| exact == scale);
        if !is_exact || scales.contains(&0) {
            return Err(refused("a scale is none that a model file holds"));
        }
        let row = GroupedRow::round(weights, columns, scale, scales.to_vec());
        if f64::from(row.l1_norm(columns)) > max_l1_norm(scale) {
            return Err(refused("its accumulator could overflow"));
        }
        Ok(Row {
            weight_scales: row.weight_scales(columns),
            scale,
            group_scales: row.scales,
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
            group_scales: self.group_scales,
        });
        self.rows
    }
}

pub(super) fn span(values: &[f64]) -> [f64; 2] {
    values.iter().fold([f64::MAX, f64::MIN], |[low, high], &v| {
        [low.min(v), high.max(v)]
    })
}

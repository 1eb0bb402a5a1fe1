//! Quantization-aware training: 4-bit weights are quantized in the forward and backward pass, while the optimizer updates the
//! float weights (the straight-through estimator, Bengio et al. 2013).

use std::ops::Range;

use super::config::QuantizationConfig;
use super::model_config::ModelConfig;
use crate::nn::simd::vectorized;
use crate::quantize::best_scale;
use pipsqueak::{GROUP_SIZE, INT4_RANGE};

/// A matrix among flat parameters, whose rows are quantized.
struct Matrix {
    /// `[rows][columns]`
    range: Range<usize>,
    columns: usize,
    /// The embedding that it reads, `[V][columns]`, if it reads one.
    embedding: Option<Range<usize>>,
}

/// Quantizes the 4-bit matrices among flat parameters, and dequantizes them again (fake quantization).
pub struct FakeQuantizer {
    matrices: Vec<Matrix>,
    quantized: Vec<f32>,
}

impl FakeQuantizer {
    /// For the matrices of `model` that have 4 bits by `quantization`: those of the layers, an encoder's too, and of the output
    /// layer, unless it is the embedding. Embeddings and initial states have 8 bits in every model file.
    pub fn new(quantization: &QuantizationConfig, model: &ModelConfig) -> Self {
        let layout = model.layout();
        let mut matrices = Vec::new();
        let encoder = model
            .encoder
            .iter()
            .map(|encoder| (layout.encoder.start, encoder));
        let stacks = encoder.chain([(layout.stack.start, &model.stack)]);
        for (start, stack) in stacks.filter(|_| quantization.weight_bits == 4) {
            let (table, layers) = stack.layout();
            let table = table.start + start..table.end + start;
            for (layer, range) in layers.into_iter().enumerate() {
                let (inputs, hidden) = (stack.input_size(layer), stack.hidden_size);
                let (both, _) = stack.cells[layer].parameters(inputs, hidden);
                let rows = both / (inputs + hidden);
                let w = start + range.start..start + range.start + rows * inputs;
                let u = w.end..w.end + rows * hidden;
                let input = |embedding| Matrix {
                    range: w,
                    columns: inputs,
                    embedding,
                };
                // The rows of a tied output layer have one scale for all columns: the grid does not depend on it.
                let table = (!model.tie_embeddings).then(|| table.clone());
                match (layer, stack.embedding_dim) {
                    // A one-hot token picks a row of an 8-bit table.
                    (0, None) => {}
                    // What 8 bits cost is too little to be trained for.
                    (0, Some(_)) if quantization.is_mixed() => {}
                    (0, Some(_)) => matrices.push(input(table)),
                    _ => matrices.push(input(None)),
                }
                matrices.push(Matrix {
                    range: u,
                    columns: hidden,
                    embedding: None,
                });
            }
        }
        if quantization.output_weight_bits == 4 && !model.tie_embeddings {
            matrices.push(Matrix {
                range: layout.output,
                columns: model.output_inputs(),
                embedding: None,
            });
        }
        Self {
            matrices,
            quantized: Vec::new(),
        }
    }

    /// `parameters` with the 4-bit matrices on their grids.
    ///
    /// # Panics
    /// If the number of parameters is not that of the model.
    pub fn quantize(&mut self, parameters: &[f32]) -> &[f32] {
        self.quantized.clear();
        self.quantized.extend(parameters);
        for Matrix {
            range,
            columns,
            embedding,
        } in &self.matrices
        {
            let rows = self.quantized[range.clone()].chunks_exact_mut(*columns);
            match embedding {
                None => rows.for_each(quantize_row),
                Some(table) => {
                    let scales = column_scales(&parameters[table.clone()], *columns);
                    rows.for_each(|row| quantize_scaled_row(row, &scales));
                }
            }
        }
        &self.quantized
    }
}

/// The scale of each column of an embedding, which the model file holds in i8.
fn column_scales(table: &[f32], columns: usize) -> Vec<f32> {
    let largest = |c| table.iter().skip(c).step_by(columns).map(|x| x.abs());
    let scale = |c| largest(c).fold(1e-9, f32::max);
    (0..columns).map(scale).collect()
}

/// Quantizes a row over an embedding, whose column scales are folded into the row in a model file.
fn quantize_scaled_row(row: &mut [f32], scales: &[f32]) {
    row.iter_mut()
        .zip(scales)
        .for_each(|(w, scale)| *w *= scale);
    quantize_row(row);
    row.iter_mut()
        .zip(scales)
        .for_each(|(w, scale)| *w /= scale);
}

/// Quantizes a row of weights group by group.
fn quantize_row(row: &mut [f32]) {
    vectorized(
        #[inline(always)]
        || row.chunks_mut(GROUP_SIZE).for_each(quantize_group),
    );
}

/// Quantizes to the 4-bit grid with the smallest error: that of the model file, but that scales there are multiples of a unit.
#[inline(always)]
fn quantize_group(group: &mut [f32]) {
    let step = best_scale(group);
    if step == 0.0 {
        return;
    }
    let ([low, high], inverse) = (INT4_RANGE.map(f32::from), 1.0 / step);
    for w in group {
        *w = (*w * inverse).round_ties_even().clamp(low, high) * step;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::tokenizer::Tokenizer;
    use crate::training::presets;

    #[test]
    fn a_first_layer_of_mixed_widths_keeps_its_input_weights() {
        let round = |input_bits, layers| {
            let mut config = presets::text(Tokenizer::CHAR, Some(8), 1_000);
            (config.model.embedding_dim, config.model.layers) = (5, layers);
            config.quantization.weight_bits = 4;
            config.quantization.input_weight_bits = input_bits;
            let shape = config.language_model(7);
            let parameters = shape.initial_parameters(3);
            let mut quantizer = FakeQuantizer::new(&config.quantization, &shape);
            let rounded = quantizer.quantize(&parameters).to_vec();
            let (_, places) = shape.stack.layout();
            let changed = |layer: usize| {
                let (range, inputs) = (places[layer].clone(), shape.stack.input_size(layer));
                let (before, after) = (&parameters[range.clone()], &rounded[range]);
                let at = 3 * 8 * inputs;
                [
                    before[..at] != after[..at],
                    before[at..at + 3 * 64] != after[at..at + 3 * 64],
                ]
            };
            (0..layers).map(changed).collect::<Vec<_>>()
        };
        assert_eq!(round(None, 2), [[true, true]; 2]);
        assert_eq!(round(Some(4), 2), [[true, true]; 2]);
        assert_eq!(round(Some(8), 2), [[false, true], [true, true]]);
    }

    #[test]
    fn a_group_is_on_a_grid_of_16_values_and_no_scale_of_the_search_errs_less() {
        let weights: Vec<f32> = (0..32)
            .map(|i| ((i * 37 % 64) as f32 - 31.0) / 50.0)
            .collect();
        let mut rounded = weights.clone();
        quantize_group(&mut rounded);
        let mut values = rounded.clone();
        values.sort_by(f32::total_cmp);
        values.dedup();
        assert!(values.len() <= 16, "{values:?}");
        let error = |rounded: &[f32]| -> f32 {
            weights
                .iter()
                .zip(rounded)
                .map(|(a, b)| (a - b).powi(2))
                .sum()
        };
        for tried in 0..16 {
            let step = 0.64 / 7.0 * (1.0 - 0.04 * tried as f32);
            let naive: Vec<f32> = weights
                .iter()
                .map(|w| (w / step).round().clamp(-8.0, 7.0) * step)
                .collect();
            assert!(error(&rounded) <= error(&naive) + 1e-6);
        }
    }
}

//! Weights rounded to 4 bits while they are trained: what goes forward and back is on the grid, what the optimizer moves is
//! not (the straight-through estimator, Bengio et al. 2013).

use std::ops::Range;

use super::settings::TrainSettings;
use super::stack::StackShape;
use crate::nn::simd::vectorized;
use crate::quantize::best_scale;
use pipsqueak::{GROUP_SIZE, INT4_RANGE};

/// A matrix among flat parameters, whose rows are rounded.
struct Rows {
    /// `[rows][columns]`
    range: Range<usize>,
    columns: usize,
    /// The embedding that it reads, `[V][columns]`, if it reads one.
    embedding: Option<Range<usize>>,
}

/// Rounds matrices among flat parameters.
pub struct Rounder {
    matrices: Vec<Rows>,
    rounded: Vec<f32>,
}

impl Rounder {
    /// Rounds what has 4 bits by `settings`: of the layers of `stacks`, each with the place of its first parameter, and of
    /// `head`, the place of its weights `[C][H]` over the last stack, unless they are the embedding's. An embedding is never
    /// rounded: it is i8 in every image.
    ///
    /// # Panics
    /// If there is no stack.
    pub fn new(
        settings: &TrainSettings,
        stacks: &[(usize, &StackShape)],
        head: Option<Range<usize>>,
    ) -> Self {
        let mut matrices = Vec::new();
        // The rows of a tied head have one scale for all columns: the grid does not depend on it.
        let is_scaled = head.is_some();
        let stacks_of_4_bits = stacks.iter().filter(|_| settings.bits == 4);
        for &(start, stack) in stacks_of_4_bits {
            let (table, layers) = stack.places();
            let table = table.start + start..table.end + start;
            for (layer, place) in layers.into_iter().enumerate() {
                let (inputs, hidden) = (stack.inputs(layer), stack.hidden);
                let (both, _) = stack.cells[layer].parameters(inputs, hidden);
                let rows = both / (inputs + hidden);
                let w = start + place.start..start + place.start + rows * inputs;
                let u = w.end..w.end + rows * hidden;
                let input = |embedding| Rows {
                    range: w,
                    columns: inputs,
                    embedding,
                };
                match (layer, stack.embedding) {
                    // A one-hot token picks a row of a table of i8.
                    (0, None) => {}
                    // What 8 bits cost is too little to be trained for.
                    (0, Some(_)) if settings.is_mixed() => {}
                    (0, Some(_)) => matrices.push(input(is_scaled.then(|| table.clone()))),
                    _ => matrices.push(input(None)),
                }
                matrices.push(Rows {
                    range: u,
                    columns: hidden,
                    embedding: None,
                });
            }
        }
        if let Some(range) = head.filter(|_| settings.head_bits == 4) {
            let (_, below) = stacks.last().expect("at least one stack");
            matrices.push(Rows {
                range,
                columns: below.hidden,
                embedding: None,
            });
        }
        Self {
            matrices,
            rounded: Vec::new(),
        }
    }

    /// `parameters` with those weights rounded that have 4 bits in an image.
    ///
    /// # Panics
    /// If there are not as many as the stacks and the head have.
    pub fn round(&mut self, parameters: &[f32]) -> &[f32] {
        self.rounded.clear();
        self.rounded.extend(parameters);
        for Rows {
            range,
            columns,
            embedding,
        } in &self.matrices
        {
            let rows = self.rounded[range.clone()].chunks_exact_mut(*columns);
            match embedding {
                None => rows.for_each(round_row),
                Some(table) => {
                    let scales = column_scales(&parameters[table.clone()], *columns);
                    rows.for_each(|row| round_folded(row, &scales));
                }
            }
        }
        &self.rounded
    }
}

/// The scale of each column of an embedding, which is i8 of it.
fn column_scales(table: &[f32], columns: usize) -> Vec<f32> {
    let largest = |c| table.iter().skip(c).step_by(columns).map(|x| x.abs());
    let scale = |c| largest(c).fold(1e-9, f32::max);
    (0..columns).map(scale).collect()
}

/// Rounds a row over an embedding, whose scales its weights hold in an image.
fn round_folded(row: &mut [f32], scales: &[f32]) {
    row.iter_mut()
        .zip(scales)
        .for_each(|(w, scale)| *w *= scale);
    round_row(row);
    row.iter_mut()
        .zip(scales)
        .for_each(|(w, scale)| *w /= scale);
}

/// Rounds a row of weights group by group.
fn round_row(row: &mut [f32]) {
    vectorized(
        #[inline(always)]
        || row.chunks_mut(GROUP_SIZE).for_each(round_group),
    );
}

/// Rounds to the grid of 4 bits whose step errs least: that of the image, but that there steps are whole multiples of a unit.
#[inline(always)]
fn round_group(group: &mut [f32]) {
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

    #[test]
    fn a_first_layer_of_mixed_widths_keeps_its_input_weights() {
        let round = |input_bits, layers| {
            let settings = TrainSettings {
                embedding: 5,
                layers,
                bits: 4,
                input_bits,
                ..TrainSettings::for_units(8, 1_000)
            };
            let shape = settings.shape(7);
            let parameters = shape.initial(3);
            let rounded = shape.rounder(&settings).round(&parameters).to_vec();
            let (_, places) = shape.stack.places();
            let changed = |layer: usize| {
                let (range, inputs) = (places[layer].clone(), shape.stack.inputs(layer));
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
        round_group(&mut rounded);
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

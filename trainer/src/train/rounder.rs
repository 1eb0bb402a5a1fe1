//! Weights rounded to 4 bits while they are trained: what goes forward and back is on the grid, what the optimizer moves is
//! not (the straight-through estimator, Bengio et al. 2013).

use super::model::Shape;
use super::settings::TrainSettings;
use crate::math::vectorized;
use crate::quantize::best_step;
use pipsqueak::{GROUP, RANGE};

/// Rounds a language model's weights.
pub struct Rounder {
    shape: Shape,
    layers: bool,
    input: bool,
    head: bool,
    rounded: Vec<f32>,
}

impl Rounder {
    /// For networks of `shape`; rounds the weights that have 4 bits as `settings` say.
    pub fn new(shape: Shape, settings: &TrainSettings) -> Self {
        Self {
            shape,
            layers: settings.bits == 4,
            input: !settings.is_mixed(),
            head: settings.head_bits == 4,
            rounded: Vec::new(),
        }
    }

    /// `parameters` with those weights rounded that have 4 bits in an image.
    ///
    /// # Panics
    /// If there are not as many as the shape has.
    pub fn round(&mut self, parameters: &[f32]) -> &[f32] {
        self.rounded.clear();
        self.rounded.extend(parameters);
        let (hidden, shape) = (self.shape.hidden, &self.shape);
        if self.layers {
            // An embedding is i8 of a scale per column, which the weights on it hold.
            let columns = shape.embedding_of(parameters).map(|(table, columns)| {
                let largest = |c| table.iter().skip(c).step_by(columns).map(|x| x.abs());
                let scale = |c| largest(c).fold(1e-9, f32::max);
                (0..columns).map(scale).collect::<Vec<f32>>()
            });
            for (layer, range) in shape.layer_ranges().into_iter().enumerate() {
                let inputs = shape.inputs(layer);
                let (matrices, _) = shape.layers[layer].parameters(inputs, hidden);
                let rows = matrices / (inputs + hidden);
                let (w, u) = self.rounded[range][..matrices].split_at_mut(rows * inputs);
                match (layer, &columns) {
                    // A one-hot token picks a row of a table of i8.
                    (0, None) => {}
                    // What 8 bits cost is too little to be trained for.
                    (0, Some(_)) if !self.input => {}
                    (0, Some(columns)) => {
                        let mut folded = vec![0.0; inputs];
                        for row in w.chunks_exact_mut(inputs) {
                            let pairs = row.iter().zip(columns);
                            let values = pairs.map(|(w, scale)| w * scale);
                            folded.iter_mut().zip(values).for_each(|(to, w)| *to = w);
                            round_row(&mut folded);
                            let pairs = folded.iter().zip(columns);
                            let values = pairs.map(|(w, scale)| w / scale);
                            row.iter_mut().zip(values).for_each(|(to, w)| *to = w);
                        }
                    }
                    _ => w.chunks_exact_mut(inputs).for_each(round_row),
                }
                u.chunks_exact_mut(hidden).for_each(round_row);
            }
        }
        if self.head && !shape.tied {
            let range = shape.head_range();
            self.rounded[range]
                .chunks_exact_mut(hidden)
                .for_each(round_row);
        }
        &self.rounded
    }
}

/// Rounds a row of weights group by group.
fn round_row(row: &mut [f32]) {
    vectorized(
        #[inline(always)]
        || row.chunks_mut(GROUP).for_each(round_group),
    );
}

/// Rounds to the grid of 4 bits whose step errs least: that of the image, but that there steps are whole multiples of a unit.
#[inline(always)]
fn round_group(group: &mut [f32]) {
    let step = best_step(group);
    if step == 0.0 {
        return;
    }
    let ([low, high], inverse) = (RANGE.map(f32::from), 1.0 / step);
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
            let rounded = Rounder::new(shape.clone(), &settings)
                .round(&parameters)
                .to_vec();
            let changed = |layer: usize| {
                let (range, inputs) = (shape.layer_ranges()[layer].clone(), shape.inputs(layer));
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

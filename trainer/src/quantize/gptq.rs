//! GPTQ: which way each weight is rounded.
//!
//! Rounded to nearest, the errors of a row's weights add up by chance. Where second moments of the inputs are known, the error of each
//! weight is made up for by the weights that are rounded after it, so that the row's output errs least (Frantar et al. 2022).

use crate::network::LayerInput;
use crate::network::{Hook, Inputs, Network, Op};
use std::ops::Range;

/// Longer vectors are rounded to nearest: the moments of all pairs take time.
const MAX_SIZE: usize = 1024;
/// Part of the mean diagonal element that is added to each: the samples are not all that comes.
const DAMPING: f64 = 0.01;

/// The Hessian of each recurrent layer, by layer; none for other layers and for those that are too wide.
pub(super) struct Hessians(Vec<Option<Hessian>>);

/// The second moments of a layer's input and, after it, its hidden state; of a one-hot input's state alone.
pub(super) struct Hessian {
    size: usize,
    /// `[size][size]`, the lower triangle.
    sums: Vec<f64>,
}

impl Hessians {
    /// Those of `network` as it runs on `samples`.
    pub fn of(network: &Network, samples: &[Inputs]) -> Self {
        let is_one_hot = |layer: usize| {
            let op = &network.layers()[layer].op;
            matches!(
                op,
                Op::Token {
                    embedding: None,
                    ..
                }
            )
        };
        let layers = network.layers().iter().enumerate();
        let mut hessians = Self(
            layers
                .map(|(index, layer)| {
                    let cell = layer.cell()?;
                    let inputs = match layer.inputs[..] {
                        [id] if is_one_hot(id.layer) => 0,
                        _ => network.input_size(index),
                    };
                    Hessian::new(inputs + cell.hidden())
                })
                .collect(),
        );
        for inputs in samples {
            network.run_with_hook(inputs, &mut hessians);
        }
        hessians
    }

    /// That of layer `index`.
    pub fn get(&self, index: usize) -> Option<&Hessian> {
        self.0[index].as_ref()
    }
}

impl Hook for Hessians {
    fn before_recurrent(&mut self, layer: usize, x: LayerInput, h: &[f32]) {
        if let Some(hessian) = &mut self.0[layer] {
            hessian.observe(x, h);
        }
    }
}

impl Hessian {
    fn new(size: usize) -> Option<Self> {
        let sums = vec![0.0; size * size];
        (size <= MAX_SIZE).then_some(Self { size, sums })
    }

    fn observe(&mut self, x: LayerInput, h: &[f32]) {
        let x = match x {
            LayerInput::OneHot(_) => &[],
            LayerInput::Vector(x) => x,
        };
        let joint: Vec<f64> = x.iter().chain(h).map(|&value| value.into()).collect();
        for (i, a) in joint.iter().enumerate().filter(|(_, a)| **a != 0.0) {
            let row = &mut self.sums[i * self.size..][..=i];
            row.iter_mut()
                .zip(&joint)
                .for_each(|(sum, b)| *sum += a * b);
        }
    }

    /// Where its last `units` elements stand.
    pub fn state(&self, units: usize) -> Range<usize> {
        self.size - units..self.size
    }
}

/// The rounding of rows over one vector.
pub(super) struct Gptq {
    size: usize,
    /// The columns in the order of rounding: those of the largest inputs first, whose errors most others can make up for.
    act_order: Vec<usize>,
    /// In that order the upper triangle U with `U^T U` the inverse of the Hessian, `[size][size]`.
    upper: Vec<f64>,
}

impl Gptq {
    /// For rows over the elements `part`, whose weights are folded with `scales`.
    pub fn new(hessian: &Hessian, part: Range<usize>, scales: &[f64]) -> Option<Self> {
        let size = part.len();
        let at = |i: usize, j: usize| {
            let (low, high) = (part.start + i.min(j), part.start + i.max(j));
            hessian.sums[high * hessian.size + low] / (scales[i] * scales[j])
        };
        let mean = (0..size).map(|i| at(i, i)).sum::<f64>() / size.max(1) as f64;
        let mut act_order: Vec<usize> = (0..size).collect();
        act_order.sort_by(|&i, &j| at(j, j).total_cmp(&at(i, i)));
        let mut matrix = vec![0.0; size * size];
        for i in 0..size {
            for j in 0..=i {
                let damping = if i == j { DAMPING * mean } else { 0.0 };
                matrix[i * size + j] = at(act_order[i], act_order[j]) + damping;
            }
        }
        let lower = cholesky(matrix, size)?;
        let lower = cholesky(inverse(&lower, size), size)?;
        let mut upper = vec![0.0; size * size];
        for i in 0..size {
            for j in 0..=i {
                upper[j * size + i] = lower[i * size + j];
            }
        }
        Some(Self {
            size,
            act_order,
            upper,
        })
    }

    /// `weights` as multiples of `scales`, each within the range of its column.
    pub fn round(
        &self,
        weights: &[f32],
        scales: &[f64],
        range: impl Fn(usize) -> [i8; 2],
    ) -> Vec<i8> {
        let mut wanted: Vec<f64> = self.act_order.iter().map(|&c| weights[c].into()).collect();
        let mut quantized = vec![0; self.size];
        for (place, &column) in self.act_order.iter().enumerate() {
            let row = &self.upper[place * self.size..][..self.size];
            let (scale, [least, most]) = (scales[column], range(column));
            let rounded = (wanted[place] / scale)
                .round()
                .clamp(least.into(), most.into());
            let error = (wanted[place] - rounded * scale) / row[place];
            let after = wanted[place + 1..].iter_mut().zip(&row[place + 1..]);
            after.for_each(|(wanted, upper)| *wanted -= error * upper);
            quantized[column] = rounded as i8;
        }
        quantized
    }
}

/// The lower triangle L with `L L^T` the symmetric `matrix`, of which the lower triangle is read; none if it is not positive.
fn cholesky(mut matrix: Vec<f64>, size: usize) -> Option<Vec<f64>> {
    for i in 0..size {
        let (before, row) = matrix.split_at_mut(i * size);
        for j in 0..i {
            let other = &before[j * size..][..=j];
            let dot: f64 = row[..j].iter().zip(other).map(|(a, b)| a * b).sum();
            row[j] = (row[j] - dot) / other[j];
        }
        let square = row[i] - row[..i].iter().map(|a| a * a).sum::<f64>();
        if square.is_nan() || square <= 0.0 {
            return None;
        }
        row[i] = square.sqrt();
    }
    Some(matrix)
}

/// The inverse of `L L^T`, its lower triangle, for a lower triangle L.
fn inverse(lower: &[f64], size: usize) -> Vec<f64> {
    // The columns of L^-1, as rows.
    let mut columns = vec![0.0; size * size];
    for column in 0..size {
        let x = &mut columns[column * size..][..size];
        for i in column..size {
            let row = &lower[i * size..][..=i];
            let dot: f64 = row[column..i]
                .iter()
                .zip(&x[column..i])
                .map(|(a, b)| a * b)
                .sum();
            x[i] = (f64::from(u8::from(i == column)) - dot) / row[i];
        }
    }
    let mut quantized = vec![0.0; size * size];
    for i in 0..size {
        for j in 0..=i {
            let (a, b) = (&columns[i * size..][..size], &columns[j * size..][..size]);
            // Both begin with zeros.
            quantized[i * size + j] = a[i..].iter().zip(&b[i..]).map(|(a, b)| a * b).sum();
        }
    }
    quantized
}

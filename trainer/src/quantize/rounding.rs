//! Which way each weight is rounded.
//!
//! Rounded to nearest, the errors of a row's weights add up by chance. Where it is known how the inputs go together, the
//! error of each weight is made up for by those that are rounded after it, so that the row's output errs least on what comes
//! in: GPTQ (Frantar et al. 2022), by the second moments of the inputs.

use crate::network::{Feeds, Network, Signal};
use std::ops::Range;

/// Larger vectors are rounded to nearest: the moments of all pairs take time.
const MOST: usize = 1024;
/// Part of the mean moment that is added to each element's own: what was seen is not all that comes.
const DAMPING: f64 = 0.01;

/// The second moments of what comes into each layer.
pub(super) struct Moments {
    /// None where the layer is too wide.
    pub layers: Vec<Option<Moment>>,
    /// The encoder's.
    pub encoder: Option<Box<Moments>>,
}

/// The second moments of a layer's input and, after it, its hidden state; of a one-hot input's state alone.
pub(super) struct Moment {
    size: usize,
    /// `[size][size]`, those up to the diagonal.
    sums: Vec<f64>,
}

impl Moments {
    /// Those of `network` as it runs on `samples`.
    pub fn of(network: &Network, samples: &[Feeds]) -> Self {
        let onehot = matches!(
            network.input,
            crate::network::Input::Tokens {
                embedding: None,
                ..
            }
        );
        let layers = network.layers.iter().enumerate();
        let mut layers: Vec<Option<Moment>> = layers
            .map(|(index, layer)| {
                let inputs = if onehot && index == 0 {
                    0
                } else {
                    layer.inputs()
                };
                Moment::new(inputs + layer.hidden())
            })
            .collect();
        for feeds in samples {
            network.run_watched(feeds, &mut |index, x, h| {
                if let Some(moment) = &mut layers[index] {
                    moment.add(x, h);
                }
            });
        }
        let encoder = network.encoder.as_deref().map(|encoder| {
            let feeds = samples.iter().filter_map(|feeds| feeds.encoder.as_deref());
            let feeds: Vec<Feeds> = feeds.cloned().collect();
            Box::new(Self::of(encoder, &feeds))
        });
        Self { layers, encoder }
    }
}

impl Moment {
    fn new(size: usize) -> Option<Self> {
        let sums = vec![0.0; size * size];
        (size <= MOST).then_some(Self { size, sums })
    }

    fn add(&mut self, x: Signal, h: &[f32]) {
        let x = match x {
            Signal::OneHot(_) => &[],
            Signal::Vector(x) => x,
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

/// How the error of a weight goes over to those after it.
pub(super) struct Rounding {
    size: usize,
    /// The weights in the order of rounding: first those of the largest inputs, whose errors most others can make up for.
    order: Vec<usize>,
    /// In that order the upper triangle U with `U^T U` the inverse of the moments, `[size][size]`.
    upper: Vec<f64>,
}

impl Rounding {
    /// For rows over the elements `part`, whose weights are folded with `scales`.
    pub fn new(moment: &Moment, part: Range<usize>, scales: &[f64]) -> Option<Self> {
        let size = part.len();
        let at = |i: usize, j: usize| {
            let (low, high) = (part.start + i.min(j), part.start + i.max(j));
            moment.sums[high * moment.size + low] / (scales[i] * scales[j])
        };
        let mean = (0..size).map(|i| at(i, i)).sum::<f64>() / size.max(1) as f64;
        let mut order: Vec<usize> = (0..size).collect();
        order.sort_by(|&i, &j| at(j, j).total_cmp(&at(i, i)));
        let mut matrix = vec![0.0; size * size];
        for i in 0..size {
            for j in 0..=i {
                let damping = if i == j { DAMPING * mean } else { 0.0 };
                matrix[i * size + j] = at(order[i], order[j]) + damping;
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
        Some(Self { size, order, upper })
    }

    /// `weights` in `steps` of their own, each within the range of its column.
    pub fn round(
        &self,
        weights: &[f32],
        steps: &[f64],
        range: impl Fn(usize) -> [i8; 2],
    ) -> Vec<i8> {
        let mut wanted: Vec<f64> = self.order.iter().map(|&c| weights[c].into()).collect();
        let mut made = vec![0; self.size];
        for (place, &column) in self.order.iter().enumerate() {
            let row = &self.upper[place * self.size..][..self.size];
            let (step, [least, most]) = (steps[column], range(column));
            let rounded = (wanted[place] / step)
                .round()
                .clamp(least.into(), most.into());
            let error = (wanted[place] - rounded * step) / row[place];
            let after = wanted[place + 1..].iter_mut().zip(&row[place + 1..]);
            after.for_each(|(wanted, upper)| *wanted -= error * upper);
            made[column] = rounded as i8;
        }
        made
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
    let mut made = vec![0.0; size * size];
    for i in 0..size {
        for j in 0..=i {
            let (a, b) = (&columns[i * size..][..size], &columns[j * size..][..size]);
            // Both begin with zeros.
            made[i * size + j] = a[i..].iter().zip(&b[i..]).map(|(a, b)| a * b).sum();
        }
    }
    made
}

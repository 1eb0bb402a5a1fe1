//! The vanilla RNN (Elman), `h' = float.tanh(W x + U h + b)`. A recurrent bias would only add to `b`.

use super::recurrence::{Gates, Gradients, Recurrence, State, split};
use crate::network::{self, Matrix};
use crate::nn::simd::Float;
use crate::nn::tensor::{LANES, Lanes};

/// The layer.
pub type Rnn = Recurrence<RnnGates, 1, 6, 6>;

/// The arithmetic.
pub struct RnnGates;

impl Gates<1> for RnnGates {
    /// `h'`
    type Kept = Lanes;
    const HAS_CELL: bool = false;
    const APART: usize = 0;

    #[inline(always)]
    fn forward(
        float: Float,
        x: &[Lanes; 1],
        u: &[Lanes; 1],
        before: State,
        kept: &mut Lanes,
    ) -> State {
        for i in 0..LANES {
            kept[i] = float.tanh(x[0][i] + u[0][i]);
        }
        State { h: *kept, ..before }
    }

    #[inline(always)]
    fn backward(kept: &Lanes, _: State, d: State) -> Gradients<1> {
        let mut sum = [0.0; LANES];
        for i in 0..LANES {
            sum[i] = d.h[i] * (1.0 - kept[i] * kept[i]);
        }
        Gradients {
            input: [sum],
            recurrent: [sum],
            before: State {
                h: [0.0; LANES],
                ..d
            },
        }
    }
}

/// Makes `U` orthogonal, by Gram and Schmidt on its random rows: it neither shrinks nor stretches any direction of the state, so
/// that what is remembered, and the gradient, live for as many steps as tanh lets them. (A. Saxe et al., "Exact solutions
/// to the nonlinear dynamics of learning in deep linear neural networks", 2014.) A uniform `U` nearly halves both with each
/// step: its eigenvalues lie within `1 / sqrt(3)`.
pub(super) fn initialize(weights: &mut [f32], inputs: usize, units: usize) {
    let u = &mut weights[units * inputs..][..units * units];
    for row in 0..units {
        let (done, rest) = u.split_at_mut(row * units);
        let row = &mut rest[..units];
        // A second pass takes away what rounding left of the first.
        for _ in 0..2 {
            for other in done.chunks_exact(units) {
                let overlap: f32 = row.iter().zip(other).map(|(a, b)| a * b).sum();
                row.iter_mut()
                    .zip(other)
                    .for_each(|(a, b)| *a -= overlap * b);
            }
            let length = row.iter().map(|a| a * a).sum::<f32>().sqrt();
            row.iter_mut()
                .for_each(|a| *a /= length.max(f32::MIN_POSITIVE));
        }
    }
}

pub(super) fn layer(weights: &[f32], inputs: usize, units: usize) -> network::Rnn {
    let [w, u, b, _] = split::<RnnGates, 1>(weights, inputs, units);
    network::Rnn {
        w: Matrix::new(units, inputs, w.to_vec()),
        r: Matrix::new(units, units, u.to_vec()),
        wb: b.to_vec(),
        rb: vec![0.0; units],
        activation: network::Activation::Tanh,
    }
}

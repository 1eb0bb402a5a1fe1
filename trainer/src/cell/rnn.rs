//! The vanilla RNN (Elman), `h' = tanh(W x + U h + b)`.
//!
//! Weights, flat: `W [H][I]`, `U [H][H]`, `b [H]`. A recurrent bias would only add to `b`.

use super::{Cell, Handed, Input, sums_backward};
use crate::gemm::{MatrixMut, MatrixRef, Target, multiply};
use crate::math::{tanh, vectorized};
use crate::network::{self, Matrix};
use crate::series::Series;

/// H units over I inputs, T steps, B rows of the batch.
pub struct Rnn {
    inputs: usize,   // I
    units: usize,    // H
    steps: usize,    // T
    batch: usize,    // B
    state: Vec<f32>, // [H][B]
    carry: Vec<f32>, // [H][B]: gradient by the state, on its way back in time
    h: Series,       // [H], slot 0: the state before; each step's sum until the step is done
    d_sums: Series,  // [H]: gradient by the sums
}

struct Weights<'a> {
    w: &'a [f32],
    u: &'a [f32],
    b: &'a [f32],
}

impl<'a> Weights<'a> {
    fn split(weights: &'a [f32], inputs: usize, units: usize) -> Self {
        let (w, rest) = weights.split_at(units * inputs);
        let (u, b) = rest.split_at(units * units);
        assert_eq!(
            b.len(),
            units,
            "weights of an RNN with {inputs} inputs and {units} units"
        );
        Self { w, u, b }
    }
}

/// Weights in matrices and in biases.
pub(super) fn parameters(inputs: usize, units: usize) -> (usize, usize) {
    (units * (inputs + units), units)
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
    let Weights { w, u, b } = Weights::split(weights, inputs, units);
    network::Rnn {
        w: Matrix::new(units, inputs, w.to_vec()),
        r: Matrix::new(units, units, u.to_vec()),
        wb: b.to_vec(),
        rb: vec![0.0; units],
        activation: network::Activation::Tanh,
    }
}

impl Rnn {
    /// A state of zeros.
    pub fn new(inputs: usize, units: usize, steps: usize, batch: usize) -> Self {
        let values = || vec![0.0; units * batch];
        let series = || Series::new(units, steps, batch);
        Self {
            inputs,
            units,
            steps,
            batch,
            state: values(),
            carry: values(),
            h: series(),
            d_sums: series(),
        }
    }

    /// Step `slot - 1`, whose sums, without the biases, are in `h`; moves the state on.
    fn step(&mut self, slot: usize, b: &[f32]) {
        vectorized(
            #[inline(always)]
            || {
                for (j, (state, b)) in self.state.chunks_exact_mut(self.batch).zip(b).enumerate() {
                    for (h, state) in self.h.at_mut(j, slot).iter_mut().zip(state) {
                        *h = tanh(*h + b);
                        *state = *h;
                    }
                }
            },
        );
    }

    /// Gradient by the sums of step `slot - 1`, from `above` and `carry`.
    fn step_backward(&mut self, slot: usize, above: &Series) {
        vectorized(
            #[inline(always)]
            || {
                for (j, carry) in self.carry.chunks_exact(self.batch).enumerate() {
                    let gradients = carry.iter().zip(above.at(j, slot));
                    let sums = self.d_sums.at_mut(j, slot).iter_mut();
                    for ((d, h), (carry, above)) in sums.zip(self.h.at(j, slot)).zip(gradients) {
                        *d = (carry + above) * (1.0 - h * h);
                    }
                }
            },
        );
    }
}

impl Cell for Rnn {
    fn forward(&mut self, weights: &[f32], input: Input) {
        let (units, batch) = (self.units, self.batch);
        let Weights { w, u, b } = Weights::split(weights, self.inputs, units);
        input.project(w, &mut self.h);
        self.h.start_from(&self.state);
        let u = MatrixRef::new(u, units, units);
        for slot in 1..=self.steps {
            multiply(
                self.h.slot_mut(slot),
                Target::Add,
                u,
                MatrixRef::new(&self.state, units, batch),
            );
            self.step(slot, b);
        }
    }

    fn output(&self) -> &Series {
        &self.h
    }

    fn states_after(&self, steps: &[usize]) -> Vec<f32> {
        self.h.slots(steps)
    }

    fn backward(
        &mut self,
        weights: &[f32],
        input: Input,
        above: &Series,
        handed: Option<Handed>,
        gradient: &mut [f32],
        below: Option<&mut Series>,
    ) {
        let (inputs, units, batch) = (self.inputs, self.units, self.batch);
        let Weights { w, u, .. } = Weights::split(weights, inputs, units);
        let u = MatrixRef::new(u, units, units).transposed();
        self.carry.fill(0.0);
        for slot in (1..=self.steps).rev() {
            if let Some(handed) = handed {
                handed.add_to(&mut self.carry, slot);
            }
            self.step_backward(slot, above);
            multiply(
                MatrixMut::new(&mut self.carry, units, batch),
                Target::Replace,
                u,
                self.d_sums.slot(slot),
            );
        }
        sums_backward(&self.d_sums, &self.h, w, input, gradient, below);
    }

    fn start_gradient(&self) -> &[f32] {
        &self.carry
    }

    fn state(&self) -> &[f32] {
        &self.state
    }

    fn state_mut(&mut self) -> &mut [f32] {
        &mut self.state
    }
}

//! The GRU, gates in the order `z, r, h`:
//!
//! ```text
//! z = sigmoid(Wz x + Wbz + Uz h)      u  = Uh h + Rbh
//! r = sigmoid(Wr x + Wbr + Ur h)      n  = tanh(Wh x + Wbh + r * u)
//!                                     h' = n + z * (h - n)
//! ```
//!
//! Weights, flat: `W [3H][I]`, `U [3H][H]`, `Wb [3H]`, `Rbh [H]`. The recurrent biases of z and r would only add to `Wb`.

use super::{Cell, Handed, Input, biases_backward};
use crate::gemm::{MatrixMut, MatrixRef, Target, multiply};
use crate::math::{sigmoid, tanh, vectorized};
use crate::network::{self, Matrix};
use crate::series::Series;

/// H units over I inputs, T steps, B rows of the batch.
pub struct Gru {
    inputs: usize,       // I
    units: usize,        // H
    steps: usize,        // T
    batch: usize,        // B
    state: Vec<f32>,     // [H][B]
    recurrent: Vec<f32>, // [3H][B]: forward U h of one step, backward its gradient
    carry: Vec<f32>,     // [H][B]: gradient by the state, on its way back in time
    projected: Series,   // [3H]: W x
    gates: Vec<f32>,     // [T][H][4][B]: z, r, n, u, in the order that both passes walk
    h: Series,           // [H], slot 0: the state before
    d_recurrent: Series, // [3H]: gradient by Uz h, Ur h, u
    d_candidate: Series, // [H]: gradient by Wh x
}

struct Weights<'a> {
    w: &'a [f32],
    u: &'a [f32],
    wb: &'a [f32],
    rbh: &'a [f32],
}

impl<'a> Weights<'a> {
    fn split(weights: &'a [f32], inputs: usize, units: usize) -> Self {
        let (w, rest) = weights.split_at(3 * units * inputs);
        let (u, rest) = rest.split_at(3 * units * units);
        let (wb, rbh) = rest.split_at(3 * units);
        assert_eq!(
            rbh.len(),
            units,
            "weights of a GRU with {inputs} inputs and {units} units"
        );
        Self { w, u, wb, rbh }
    }
}

/// Weights in matrices and in biases.
pub(super) fn parameters(inputs: usize, units: usize) -> (usize, usize) {
    (3 * units * (inputs + units), 4 * units)
}

pub(super) fn layer(weights: &[f32], inputs: usize, units: usize) -> network::Gru {
    let Weights { w, u, wb, rbh } = Weights::split(weights, inputs, units);
    let mut rb = vec![0.0; 3 * units];
    rb[2 * units..].copy_from_slice(rbh);
    network::Gru {
        w: Matrix::new(3 * units, inputs, w.to_vec()),
        r: Matrix::new(3 * units, units, u.to_vec()),
        wb: wb.to_vec(),
        rb,
        linear_before_reset: true,
        activations: network::Activations::default(),
    }
}

impl Gru {
    /// A state of zeros.
    pub fn new(inputs: usize, units: usize, steps: usize, batch: usize) -> Self {
        let series = |features| Series::new(features, steps, batch);
        Self {
            inputs,
            units,
            steps,
            batch,
            state: vec![0.0; units * batch],
            recurrent: vec![0.0; 3 * units * batch],
            carry: vec![0.0; units * batch],
            projected: series(3 * units),
            gates: vec![0.0; steps * units * 4 * batch],
            h: series(units),
            d_recurrent: series(3 * units),
            d_candidate: series(units),
        }
    }

    /// The gates of step `slot - 1`, from `projected` and `recurrent`; moves the state on.
    fn gates(&mut self, slot: usize, wb: &[f32], rbh: &[f32]) {
        let (units, batch) = (self.units, self.batch);
        let kept = self.gates[(slot - 1) * units * 4 * batch..].chunks_exact_mut(4 * batch);
        vectorized(
            #[inline(always)]
            || {
                for (j, kept) in (0..units).zip(kept) {
                    let rows = [j, units + j, 2 * units + j];
                    gates(
                        rows.map(|row| self.projected.at(row, slot)),
                        rows.map(|row| &self.recurrent[row * batch..][..batch]),
                        rows.map(|row| wb[row]),
                        rbh[j],
                        kept,
                        &mut self.state[j * batch..][..batch],
                    );
                    self.h
                        .at_mut(j, slot)
                        .copy_from_slice(&self.state[j * batch..][..batch]);
                }
            },
        );
    }

    /// Gradients by the gates' sums in step `slot - 1`, from `above` and `carry`; `carry` becomes the part of the gradient by
    /// the state before that goes past the gates.
    fn gates_backward(&mut self, slot: usize, above: &Series) {
        let (units, batch) = (self.units, self.batch);
        let (dz, rest) = self.recurrent.split_at_mut(units * batch);
        let (dr, du) = rest.split_at_mut(units * batch);
        let kept = self.gates[(slot - 1) * units * 4 * batch..].chunks_exact(4 * batch);
        vectorized(
            #[inline(always)]
            || {
                for (j, kept) in (0..units).zip(kept) {
                    let row = j * batch..(j + 1) * batch;
                    let (dz, dr, du) = (
                        &mut dz[row.clone()],
                        &mut dr[row.clone()],
                        &mut du[row.clone()],
                    );
                    gates_backward(
                        kept,
                        self.h.at(j, slot - 1),
                        above.at(j, slot),
                        &mut self.carry[row],
                        dz,
                        dr,
                        du,
                        self.d_candidate.at_mut(j, slot),
                    );
                    for (gate, d) in [dz, dr, du].into_iter().enumerate() {
                        self.d_recurrent
                            .at_mut(gate * units + j, slot)
                            .copy_from_slice(d);
                    }
                }
            },
        );
    }

    /// Adds the gradients by `W`, `U` and the biases.
    fn weights_backward(&self, input: Input, gradient: &mut [f32]) {
        let (inputs, units) = (self.inputs, self.units);
        let (w, rest) = gradient.split_at_mut(3 * units * inputs);
        let (u, rest) = rest.split_at_mut(3 * units * units);
        let (wb, rbh) = rest.split_at_mut(3 * units);
        // z and r have the same gradient on both sides of the sum, the candidate has not.
        let (w_zr, w_n) = w.split_at_mut(2 * units * inputs);
        let (wb_zr, wb_n) = wb.split_at_mut(2 * units);
        input.weights_backward(&self.d_recurrent, w_zr, inputs);
        input.weights_backward(&self.d_candidate, w_n, inputs);
        biases_backward(&self.d_recurrent, 0, wb_zr);
        biases_backward(&self.d_candidate, 0, wb_n);
        biases_backward(&self.d_recurrent, 2 * units, rbh);
        multiply(
            MatrixMut::new(u, 3 * units, units),
            Target::Add,
            self.d_recurrent.steps(),
            self.h.steps_before().transposed(),
        );
    }
}

/// One unit's gates: `x` and `uh` are the input's and the recurrent products of z, r, h, each `[batch]`, `kept` is `[4][batch]`,
/// `h` is `[batch]`. As a function of its own, so that the compiler knows that what it writes is nothing that it reads.
#[inline(always)]
fn gates(
    x: [&[f32]; 3],
    uh: [&[f32]; 3],
    [bz, br, bh]: [f32; 3],
    bu: f32,
    kept: &mut [f32],
    h: &mut [f32],
) {
    let batch = h.len();
    let ([xz, xr, xh], [uz, ur, uh]) = (x.map(|x| &x[..batch]), uh.map(|u| &u[..batch]));
    let (zr, nu) = kept.split_at_mut(2 * batch);
    let ((z, r), (n, u)) = (zr.split_at_mut(batch), nu.split_at_mut(batch));
    let (n, u) = (&mut n[..batch], &mut u[..batch]);
    for i in 0..batch {
        z[i] = sigmoid(xz[i] + bz + uz[i]);
        r[i] = sigmoid(xr[i] + br + ur[i]);
        u[i] = uh[i] + bu;
        n[i] = tanh(xh[i] + bh + r[i] * u[i]);
        h[i] = n[i] + z[i] * (h[i] - n[i]);
    }
}

/// One unit's gradients; `kept` is `[4][batch]`, all else `[batch]`: `carry` is the gradient by `h'` from later steps, then that by `h` but for the
/// recurrent product.
#[allow(clippy::too_many_arguments)]
#[inline(always)]
fn gates_backward(
    kept: &[f32],
    before: &[f32],
    above: &[f32],
    carry: &mut [f32],
    dz: &mut [f32],
    dr: &mut [f32],
    du: &mut [f32],
    dn: &mut [f32],
) {
    let batch = carry.len();
    let [z, r, n, u] = [0, 1, 2, 3].map(|gate| &kept[gate * batch..][..batch]);
    let (before, above) = (&before[..batch], &above[..batch]);
    let (dz, dr, du, dn) = (
        &mut dz[..batch],
        &mut dr[..batch],
        &mut du[..batch],
        &mut dn[..batch],
    );
    for i in 0..batch {
        let dh = carry[i] + above[i];
        let d = dh * (1.0 - z[i]) * (1.0 - n[i] * n[i]);
        dn[i] = d;
        du[i] = d * r[i];
        dr[i] = d * u[i] * r[i] * (1.0 - r[i]);
        dz[i] = dh * (before[i] - n[i]) * z[i] * (1.0 - z[i]);
        carry[i] = dh * z[i];
    }
}

impl Cell for Gru {
    fn forward(&mut self, weights: &[f32], input: Input) {
        let (units, batch) = (self.units, self.batch);
        let Weights { w, u, wb, rbh } = Weights::split(weights, self.inputs, units);
        input.project(w, &mut self.projected);
        self.h.start_from(&self.state);
        let u = MatrixRef::new(u, 3 * units, units);
        for slot in 1..=self.steps {
            let recurrent = MatrixMut::new(&mut self.recurrent, 3 * units, batch);
            multiply(
                recurrent,
                Target::Replace,
                u,
                MatrixRef::new(&self.state, units, batch),
            );
            self.gates(slot, wb, rbh);
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
        let u = MatrixRef::new(u, 3 * units, units).transposed();
        self.carry.fill(0.0);
        for slot in (1..=self.steps).rev() {
            if let Some(handed) = handed {
                handed.add_to(&mut self.carry, slot);
            }
            self.gates_backward(slot, above);
            let carry = MatrixMut::new(&mut self.carry, units, batch);
            multiply(
                carry,
                Target::Add,
                u,
                MatrixRef::new(&self.recurrent, 3 * units, batch),
            );
        }
        self.weights_backward(input, gradient);
        if let Some(below) = below {
            let (zr, n) = w.split_at(2 * units * inputs);
            let zr = MatrixRef::new(zr, 2 * units, inputs).transposed();
            multiply(
                below.steps_mut(),
                Target::Replace,
                zr,
                self.d_recurrent.rows(0, 2 * units),
            );
            let n = MatrixRef::new(n, units, inputs).transposed();
            multiply(below.steps_mut(), Target::Add, n, self.d_candidate.steps());
        }
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

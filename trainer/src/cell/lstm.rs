//! The LSTM, gates in the order `i, o, f, c`:
//!
//! ```text
//! i = sigmoid(Wi x + Ui h + bi)      g  = tanh(Wc x + Uc h + bc)
//! o = sigmoid(Wo x + Uo h + bo)      c' = f * c + i * g
//! f = sigmoid(Wf x + Uf h + bf)      h' = o * tanh(c')
//! ```
//!
//! Weights, flat: `W [4H][I]`, `U [4H][H]`, `b [4H]`. Recurrent biases would only add to `b`.

use super::{Cell, Handed, Input, sums_backward};
use crate::gemm::{MatrixMut, MatrixRef, Target, multiply};
use crate::math::{sigmoid, tanh, vectorized};
use crate::network::{self, Matrix};
use crate::series::Series;

/// H units over I inputs, T steps, B rows of the batch.
pub struct Lstm {
    inputs: usize,   // I
    units: usize,    // H
    steps: usize,    // T
    batch: usize,    // B
    state: Vec<f32>, // [2H][B]: h, c
    carry: Vec<f32>, // [2H][B]: gradient by h and c, on its way back in time
    sums: Series,    // [4H]: forward the gates' sums, biases apart, backward the gradient by them
    gates: Vec<f32>, // [T][H][6][B]: i, o, f, g, c, tanh(c'), in the order that both passes walk
    h: Series,       // [H], slot 0: the state before
}

struct Weights<'a> {
    w: &'a [f32],
    u: &'a [f32],
    b: &'a [f32],
}

impl<'a> Weights<'a> {
    fn split(weights: &'a [f32], inputs: usize, units: usize) -> Self {
        let (w, rest) = weights.split_at(4 * units * inputs);
        let (u, b) = rest.split_at(4 * units * units);
        assert_eq!(
            b.len(),
            4 * units,
            "weights of an LSTM with {inputs} inputs and {units} units"
        );
        Self { w, u, b }
    }
}

/// Weights in matrices and in biases.
pub(super) fn parameters(inputs: usize, units: usize) -> (usize, usize) {
    (4 * units * (inputs + units), 4 * units)
}

pub(super) fn layer(weights: &[f32], inputs: usize, units: usize) -> network::Lstm {
    let Weights { w, u, b } = Weights::split(weights, inputs, units);
    network::Lstm {
        w: Matrix::new(4 * units, inputs, w.to_vec()),
        r: Matrix::new(4 * units, units, u.to_vec()),
        wb: b.to_vec(),
        rb: vec![0.0; 4 * units],
        activations: network::Activations::default(),
    }
}

impl Lstm {
    /// A state of zeros.
    pub fn new(inputs: usize, units: usize, steps: usize, batch: usize) -> Self {
        Self {
            inputs,
            units,
            steps,
            batch,
            state: vec![0.0; 2 * units * batch],
            carry: vec![0.0; 2 * units * batch],
            sums: Series::new(4 * units, steps, batch),
            gates: vec![0.0; steps * units * 6 * batch],
            h: Series::new(units, steps, batch),
        }
    }

    /// The gates of step `slot - 1`, from `sums`; moves the state on.
    fn gates(&mut self, slot: usize, b: &[f32]) {
        let (units, batch) = (self.units, self.batch);
        let kept = self.gates[(slot - 1) * units * 6 * batch..].chunks_exact_mut(6 * batch);
        let (h, c) = self.state.split_at_mut(units * batch);
        vectorized(
            #[inline(always)]
            || {
                for (j, kept) in (0..units).zip(kept) {
                    let rows = [j, units + j, 2 * units + j, 3 * units + j];
                    let h = &mut h[j * batch..][..batch];
                    gates(
                        rows.map(|row| self.sums.at(row, slot)),
                        rows.map(|row| b[row]),
                        kept,
                        h,
                        &mut c[j * batch..][..batch],
                    );
                    self.h.at_mut(j, slot).copy_from_slice(h);
                }
            },
        );
    }

    /// Gradients by the gates' sums in step `slot - 1`, from `above` and `carry`; `carry` becomes the gradient by `c` before,
    /// and no longer holds that by `h`.
    fn gates_backward(&mut self, slot: usize, above: &Series) {
        let (units, batch) = (self.units, self.batch);
        let kept = self.gates[(slot - 1) * units * 6 * batch..].chunks_exact(6 * batch);
        let (dh, dc) = self.carry.split_at_mut(units * batch);
        vectorized(
            #[inline(always)]
            || {
                for (j, kept) in (0..units).zip(kept) {
                    let row = j * batch..(j + 1) * batch;
                    let rows = [j, units + j, 2 * units + j, 3 * units + j];
                    let d = self.sums.at_each_mut(rows, slot);
                    gates_backward(kept, above.at(j, slot), &dh[row.clone()], &mut dc[row], d);
                }
            },
        );
    }
}

/// One unit's gates: `sums` are those of i, o, f, c, each `[batch]`, `kept` is `[6][batch]`, `h` and `c` are `[batch]`. As a
/// function of its own, so that the compiler knows that what it writes is nothing that it reads.
#[inline(always)]
fn gates(
    sums: [&[f32]; 4],
    [bi, bo, bf, bc]: [f32; 4],
    kept: &mut [f32],
    h: &mut [f32],
    c: &mut [f32],
) {
    let batch = h.len();
    let [si, so, sf, sc] = sums.map(|sum| &sum[..batch]);
    let (io, rest) = kept.split_at_mut(2 * batch);
    let (fg, ct) = rest.split_at_mut(2 * batch);
    let (i, o) = io.split_at_mut(batch);
    let (f, g) = fg.split_at_mut(batch);
    let (before, t) = ct.split_at_mut(batch);
    let (c, t) = (&mut c[..batch], &mut t[..batch]);
    for k in 0..batch {
        i[k] = sigmoid(si[k] + bi);
        o[k] = sigmoid(so[k] + bo);
        f[k] = sigmoid(sf[k] + bf);
        g[k] = tanh(sc[k] + bc);
        before[k] = c[k];
        c[k] = f[k] * c[k] + i[k] * g[k];
        t[k] = tanh(c[k]);
        h[k] = o[k] * t[k];
    }
}

/// One unit's gradients by the sums of i, o, f, c; `kept` is `[6][batch]`, all else `[batch]`: `above` and `dh` are the two
/// parts of the gradient by `h'`, `dc` is the gradient by `c'` from later steps, then that by `c`.
#[inline(always)]
fn gates_backward(
    kept: &[f32],
    above: &[f32],
    dh: &[f32],
    dc: &mut [f32],
    [di, d_o, df, dg]: [&mut [f32]; 4],
) {
    let batch = dc.len();
    let [i, o, f, g, c, t] = [0, 1, 2, 3, 4, 5].map(|gate| &kept[gate * batch..][..batch]);
    let (above, dh) = (&above[..batch], &dh[..batch]);
    let (di, d_o, df, dg) = (
        &mut di[..batch],
        &mut d_o[..batch],
        &mut df[..batch],
        &mut dg[..batch],
    );
    for k in 0..batch {
        let dh = above[k] + dh[k];
        let d = dc[k] + dh * o[k] * (1.0 - t[k] * t[k]);
        di[k] = d * g[k] * i[k] * (1.0 - i[k]);
        d_o[k] = dh * t[k] * o[k] * (1.0 - o[k]);
        df[k] = d * c[k] * f[k] * (1.0 - f[k]);
        dg[k] = d * i[k] * (1.0 - g[k] * g[k]);
        dc[k] = d * f[k];
    }
}

impl Cell for Lstm {
    fn forward(&mut self, weights: &[f32], input: Input) {
        let (units, batch) = (self.units, self.batch);
        let Weights { w, u, b } = Weights::split(weights, self.inputs, units);
        input.project(w, &mut self.sums);
        self.h.start_from(&self.state);
        let u = MatrixRef::new(u, 4 * units, units);
        for slot in 1..=self.steps {
            multiply(
                self.sums.slot_mut(slot),
                Target::Add,
                u,
                MatrixRef::new(&self.state, units, batch),
            );
            self.gates(slot, b);
        }
    }

    fn output(&self) -> &Series {
        &self.h
    }

    fn states_after(&self, steps: &[usize]) -> Vec<f32> {
        let (units, batch) = (self.units, self.batch);
        let mut states = self.h.slots(steps);
        // Each step has kept the cell state before it; the last one left its own in the state.
        for unit in 0..units {
            states.extend(steps.iter().enumerate().map(|(row, &step)| {
                if step == self.steps {
                    self.state[(units + unit) * batch + row]
                } else {
                    self.gates[((step * units + unit) * 6 + 4) * batch + row]
                }
            }));
        }
        states
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
        let u = MatrixRef::new(u, 4 * units, units).transposed();
        self.carry.fill(0.0);
        for slot in (1..=self.steps).rev() {
            if let Some(handed) = handed {
                handed.add_to(&mut self.carry, slot);
            }
            self.gates_backward(slot, above);
            multiply(
                MatrixMut::new(&mut self.carry, units, batch),
                Target::Replace,
                u,
                self.sums.slot(slot),
            );
        }
        sums_backward(&self.sums, &self.h, w, input, gradient, below);
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

//! Initial states computed from a feature vector: `tanh(W x + b)`, forward and backward over one shard of a batch.

use crate::nn::gemm::{Outer, Packed};
use crate::nn::simd::products;
use crate::nn::tensor::Series;

/// `tanh(w x + b)`: `w [S][F]`, `b [S]`, `x [F][B]`, the result `[S][B]`.
pub(super) fn forward(w: &[f32], b: &[f32], x: &[f32], batch: usize) -> Vec<f32> {
    let x = one_step(x, batch);
    let mut state = Series::new(b.len(), 0, batch);
    let mut packed = Packed::default();
    packed.pack_rows(w, x.features());
    products(
        x.is_narrow(),
        #[inline(always)]
        |float| {
            for group in 0..x.groups() {
                let state = state.block_mut(0, group);
                packed.multiply(float, x.block(0, group), state);
                for (lanes, b) in state.iter_mut().zip(b) {
                    lanes
                        .iter_mut()
                        .for_each(|value| *value = float.tanh(*value + b));
                }
            }
        },
    );
    state.slot(0)
}

/// Adds the gradients with respect to `w` and `b` of [`forward`] to `dw` and `db`. `state` is its result, `grad` the gradient
/// with respect to it, `[S][B]`.
pub(super) fn backward(state: &[f32], grad: &mut [f32], x: &[f32], dw: &mut [f32], db: &mut [f32]) {
    let batch = state.len() / db.len();
    for (d, state) in grad.iter_mut().zip(state) {
        *d *= 1.0 - state * state;
    }
    for (row, db) in grad.chunks_exact(batch).zip(&mut *db) {
        *db += row.iter().sum::<f32>();
    }
    let (d, x) = (one_step(grad, batch), one_step(x, batch));
    let mut sum = Outer::new(d.features(), x.features());
    let groups = (0..x.groups()).map(|group| (d.block(0, group), x.block(0, group)));
    let blocks: Vec<_> = groups.collect();
    products(
        x.is_narrow(),
        #[inline(always)]
        |float| sum.add(float, &blocks),
    );
    sum.drain_to(dw);
}

/// `x`, `[F][B]`, as one step.
fn one_step(x: &[f32], batch: usize) -> Series {
    let mut series = Series::new(x.len() / batch, 0, batch);
    series.set_slot(0, x);
    series
}

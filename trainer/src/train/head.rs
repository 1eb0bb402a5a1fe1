//! The last layer of a classifier of tokens: `logits = W h + b`, the softmax's loss, and all gradients.

use crate::gemm::{MatrixMut, MatrixRef, Target, multiply};
use crate::math::{exp, sum, vectorized};
use crate::series::Series;

/// A target that is none: what stands there has no loss and no gradient. No token has this id.
pub const NO_TARGET: u16 = u16::MAX;

/// `logits = w h + b` of all steps: `w [V][H]`, `b [V]`, `h [H]`, `logits [V]`.
///
/// # Panics
/// If the shapes do not fit each other.
pub fn forward(w: &[f32], b: &[f32], h: &Series, logits: &mut Series) {
    let w = MatrixRef::new(w, logits.features(), h.features());
    multiply(logits.steps_mut(), Target::Replace, w, h.steps());
    vectorized(
        #[inline(always)]
        || {
            for (token, bias) in b.iter().enumerate() {
                let row = logits.row_mut(token);
                row.iter_mut().for_each(|logit| *logit += bias);
            }
        },
    );
}

/// The sum of the losses of all predictions, in nats, from their logits, which become the gradient by them: probabilities,
/// less 1 at the targets, `[steps][batch]`.
///
/// # Panics
/// If the length does not fit, or a target is not below V and not [`NO_TARGET`].
pub fn loss(logits: &mut Series, targets: &[u16]) -> f64 {
    let batch = logits.batch();
    assert_eq!(
        targets.len(),
        logits.row(0).len(),
        "targets of all steps and rows"
    );
    let mut loss = 0.0;
    let (mut max, mut total) = (vec![0f32; batch], vec![0f32; batch]);
    for (t, targets) in targets.chunks_exact(batch).enumerate() {
        let slot = t + 1;
        max.fill(f32::MIN);
        total.fill(0.0);
        vectorized(
            #[inline(always)]
            || {
                for token in 0..logits.features() {
                    max.iter_mut()
                        .zip(logits.at(token, slot))
                        .for_each(|(max, logit)| *max = max.max(*logit));
                }
            },
        );
        for ((column, target), max) in targets.iter().enumerate().zip(&max) {
            if *target != NO_TARGET {
                loss -= f64::from(logits.at(usize::from(*target), slot)[column] - max);
            }
        }
        vectorized(
            #[inline(always)]
            || {
                for token in 0..logits.features() {
                    for ((logit, max), total) in logits
                        .at_mut(token, slot)
                        .iter_mut()
                        .zip(&max)
                        .zip(&mut total)
                    {
                        *logit = exp(*logit - max);
                        *total += *logit;
                    }
                }
            },
        );
        for (total, target) in total.iter_mut().zip(targets) {
            if *target == NO_TARGET {
                *total = 0.0;
            } else {
                loss += f64::from(*total).ln();
                *total = 1.0 / *total;
            }
        }
        vectorized(
            #[inline(always)]
            || {
                for token in 0..logits.features() {
                    logits
                        .at_mut(token, slot)
                        .iter_mut()
                        .zip(&total)
                        .for_each(|(p, total)| *p *= total);
                }
            },
        );
        for (column, target) in targets.iter().enumerate() {
            if *target != NO_TARGET {
                logits.at_mut(usize::from(*target), slot)[column] -= 1.0;
            }
        }
    }
    loss
}

/// Adds the gradient by `w` to `dw`, from `d`, that by the logits.
///
/// # Panics
/// If the shapes do not fit each other.
pub fn weights_backward(d: &Series, h: &Series, dw: &mut [f32]) {
    let dw = MatrixMut::new(dw, d.features(), h.features());
    multiply(dw, Target::Add, d.steps(), h.steps().transposed());
}

/// Adds the gradient by `b` to `db`, from `d`, that by the logits.
pub fn biases_backward(d: &Series, db: &mut [f32]) {
    for (token, db) in db.iter_mut().enumerate() {
        *db += vectorized(
            #[inline(always)]
            || sum(d.row(token)),
        );
    }
}

/// `dh`, the gradient by `h`, from `d`, that by the logits.
///
/// # Panics
/// If the shapes do not fit each other.
pub fn input_backward(w: &[f32], d: &Series, dh: &mut Series) {
    let w = MatrixRef::new(w, d.features(), dh.features()).transposed();
    multiply(dh.steps_mut(), Target::Replace, w, d.steps());
}

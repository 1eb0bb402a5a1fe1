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

/// Soft targets: what teachers took each prediction for.
#[derive(Clone, Debug)]
pub struct Soft<'a> {
    /// Their part in the mixture with the plain targets, 0 to 1.
    pub weight: f32,
    /// The probabilities of all tokens in 1/65,535, for each prediction, `[steps][batch]`.
    pub probabilities: Vec<&'a [u16]>,
}

/// Makes the gradient by the logits that by the loss of a mixture of plain and soft targets.
///
/// # Panics
/// If a length does not fit, or a target is not below V.
pub fn soften(gradient: &mut Series, targets: &[u16], soft: &Soft) {
    let batch = gradient.batch();
    assert_eq!(targets.len(), soft.probabilities.len(), "soft targets");
    let one = soft.weight / f32::from(u16::MAX);
    let mut turned: Vec<f32> = vec![0.0; gradient.features() * batch];
    let steps = targets
        .chunks_exact(batch)
        .zip(soft.probabilities.chunks_exact(batch));
    for (t, (targets, probabilities)) in steps.enumerate() {
        // Turned over once, so that what follows runs along rows.
        for (column, row) in probabilities.iter().enumerate() {
            let values = turned.iter_mut().skip(column).step_by(batch);
            values
                .zip(*row)
                .for_each(|(to, p)| *to = f32::from(*p) * one);
        }
        for (token, soft) in turned.chunks_exact(batch).enumerate() {
            let gradient = gradient.at_mut(token, t + 1).iter_mut();
            gradient.zip(soft).for_each(|(d, soft)| *d -= soft);
        }
        for (column, target) in targets.iter().enumerate() {
            gradient.at_mut(usize::from(*target), t + 1)[column] += soft.weight;
        }
    }
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
